"""`lskel` and `python -m lskel`: the command line.

Nothing but what Python has loaded already is imported, here and in `lskel` itself, before the
working directory is out of the path.
"""

import sys


def main() -> int:
    """Run the command line, which Ctrl-C may end while it is being imported."""
    try:
        from lskel.interrupt import INTERRUPTED, ends_at_once

        with ends_at_once():
            from lskel.cli import main as run
    except OSError as error:  # too few fds to read modules by
        raise SystemExit(f"lskel: {error.strerror}") from error
    try:
        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


def _leave_working_directory() -> None:
    """Take out what `-m` puts first: files there are data, not modules (as `python -P` has it)."""
    import os

    is_safe = getattr(sys.flags, "safe_path", bool(sys.flags.isolated))  # -P is of Python 3.11
    if is_safe or __spec__ is None or not sys.path:
        return
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib is not loaded yet
    except OSError:  # it was removed, and `-m` put nothing
        return
    if sys.path[0] in ("", here):
        del sys.path[0]


if __name__ == "__main__":
    _leave_working_directory()
    sys.exit(main())
