"""Reading what a user names: files, pipes, standard input."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from lskel.errors import UsageError

# What may do anything when it is opened, or has no end.
_NOT_READ: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def read_input(path: str | os.PathLike[str]) -> bytes:
    """What is in a file, or comes from a pipe; UsageError where it cannot be read.

    A pipe that nobody writes to is refused, and not waited for.
    """
    try:
        mode = Path(path).stat().st_mode
        for is_kind, kind in _NOT_READ:
            if is_kind(mode):
                raise UsageError(f"this is {kind}, not a file")
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:  # noqa: PTH123 - of an fd
            if not stat.S_ISFIFO(mode):
                return file.readall()
            begin = file.read(1 << 16)
            if begin == b"":
                raise UsageError("this is a pipe that nobody writes to")
            os.set_blocking(fd, True)
            return (begin or b"") + file.readall()
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from error


def read_standard_input() -> bytes:
    """What comes from standard input, whatever that is; UsageError where it cannot be read."""
    if sys.stdin is None:
        raise UsageError("there is none to read")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from error
