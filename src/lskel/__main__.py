"""`lskel` and `python -m lskel`: the command line.

Until the working directory is removed from sys.path, this module and `lskel` import only modules
that Python has already loaded.
"""

import sys


def main() -> int:
    """Run the command line; Ctrl-C during its import ends the process."""
    try:
        from lskel.interrupt import INTERRUPTED, ends_at_once

        with ends_at_once():
            from lskel.cli import main as run
    except OSError as error:  # too few fds to read modules
        raise SystemExit(f"lskel: {error.strerror}") from error
    try:
        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


def _leave_working_directory() -> None:
    """Remove what `-m` puts first in sys.path, as `python -P` does: files there are data."""
    import os

    is_safe = getattr(sys.flags, "safe_path", bool(sys.flags.isolated))  # -P: since Python 3.11
    if is_safe or __spec__ is None or not sys.path:
        return
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib is not loaded yet
    except OSError:  # removed, so `-m` added nothing
        return
    if sys.path[0] in ("", here):
        del sys.path[0]


if __name__ == "__main__":
    _leave_working_directory()
    sys.exit(main())
