"""Reading input within the budget: files, pipes, standard input."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lskel import budget
from lskel.errors import LskelError, UsageError

_CHUNK = 1 << 20
# Opening these may have side effects, or reading them may never end.
_NOT_READ: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def read_input(path: str | os.PathLike[str]) -> bytes:
    """The content of a file or pipe; UsageError if it cannot be read.

    A pipe without a writer is refused at once. LimitExceeded if it is too large.
    """
    with _explained():
        mode = Path(path).stat().st_mode
        for is_kind, kind in _NOT_READ:
            if is_kind(mode):
                raise UsageError(f"expected a file, got {kind}")
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:  # noqa: PTH123 - an fd
            begin = b""
            if stat.S_ISFIFO(mode):
                first = file.read(_CHUNK)
                if first == b"":
                    raise UsageError("pipe has no writer")
                begin = first or b""  # None: the writer has not written yet
                os.set_blocking(fd, True)
            return _read(file, begin)


def read_standard_input() -> bytes:
    """The content of standard input, of any kind; errors as for `read_input`."""
    if sys.stdin is None:
        raise UsageError("closed")
    with _explained():
        return _read(sys.stdin.buffer)


def _read(stream: BinaryIO | io.FileIO, begin: bytes = b"") -> bytes:
    allowance = budget.Allowance(budget.INPUT, "bytes in one file")
    content = io.BytesIO()
    chunk = begin or stream.read(_CHUNK)
    while chunk:
        allowance.spend(len(chunk))
        content.write(chunk)
        chunk = stream.read(_CHUNK)
    return content.getvalue()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if isinstance(error, LskelError):
            raise
        raise UsageError(getattr(error, "strerror", "") or str(error)) from error
