"""Running lskel in the test's own process, where a new one is not the point.

A process of its own costs a quarter of a second, most of it imports. Where signals, pipes, limits,
the environment or what is imported matter, tests run `LSKEL` of tests/cli/terminals.py.
"""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lskel.cli import main


@contextmanager
def captured(
    stdin: bytes = b"", *, together: bool = False
) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """What the block writes to standard output and standard error; `together` they are one."""
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = io.BytesIO(), io.BytesIO()
    ours = [io.TextIOWrapper(stream, "utf-8") for stream in (io.BytesIO(stdin), out, err)]
    sys.stdin, sys.stdout, sys.stderr = (ours[0], ours[1], ours[1]) if together else ours
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def run(*args: str | Path, stdin: bytes = b"", together: bool = False) -> tuple[int, str, str]:
    """The exit status, standard output and standard error of a command."""
    with captured(stdin, together=together) as (out, err):
        try:
            status = main([str(arg) for arg in args])
        finally:
            gc.enable()  # a command that ends with its process does without
        sys.stdout.flush()
        sys.stderr.flush()
        return status, out.getvalue().decode(errors="replace"), err.getvalue().decode()


def lskel(*args: str | Path, status: int = 0, stdin: bytes = b"") -> tuple[str, str]:
    """Standard output and error of a command that ends with this status."""
    found, out, err = run(*args, stdin=stdin)
    assert found == status, err
    assert "Traceback" not in err
    return out, err
