"""Standard output with its own exception type for errors."""

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
    """Standard output cannot be written. Not an OSError, so it is not mistaken for a file's."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror or error}")
        self.errno = error.errno


class _Output(io.RawIOBase):
    """Writes to an fd; None if it was closed when the process started."""

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
        if self._failed:  # already reported; the interpreter flushes again at exit
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
    """Make `sys.stdout` raise OutputError on errors.

    Characters that it cannot encode are escaped. A replaced `sys.stdout` is left alone.
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
