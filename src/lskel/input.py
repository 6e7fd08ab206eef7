"""Reading files whole, as far as the budget goes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from lskel import budget
from lskel.errors import UsageError

_CHUNK = 1 << 20


def read_file(path: str | os.PathLike[str]) -> bytes:
    """All of a file; UsageError where it cannot be read, LimitExceeded where it is too large."""
    with _explained(), open(path, "rb") as file:  # noqa: PTH123, for str and PathLike alike
        return _read(file)


def read_stream(stream: BinaryIO) -> bytes:
    """What is left in an open file; errors as those of `read_file`."""
    with _explained():
        return _read(stream)


def _read(stream: BinaryIO) -> bytes:
    allowance = budget.Allowance(budget.INPUT, "bytes in one file")
    content = io.BytesIO()
    while chunk := stream.read(_CHUNK):
        allowance.spend(len(chunk))
        content.write(chunk)
    return content.getvalue()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from error
