"""Standard output, whose errors are told from all others."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(Exception):
    """Standard output cannot be written. No OSError, so that nothing takes it for one of a file."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror or error}")
        self.errno = error.errno


class _Output(io.RawIOBase):
    """Writes to an fd; None stands for one that was closed when the process began."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._failed = False

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._fd is not None and os.isatty(self._fd)

    def fileno(self) -> int:
        return super().fileno() if self._fd is None else self._fd

    def write(self, data: ReadableBuffer, /) -> int:
        if self._failed:  # it was said once; the interpreter flushes again when it ends
            return memoryview(data).nbytes
        try:
            if self._fd is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return os.write(self._fd, data)
        except OSError as error:
            self._failed = True
            raise OutputError(error) from error


@contextmanager
def standard_output() -> Iterator[None]:
    """Have `sys.stdout` raise OutputError, whoever writes to it.

    What it cannot encode is written as escapes. A `sys.stdout` that is not the process's own stays.
    """
    before = sys.stdout
    if before is not sys.__stdout__:
        yield
        return
    raw = _Output(None if before is None else before.fileno())
    encoding = "utf-8" if before is None else before.encoding
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace")
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = before
