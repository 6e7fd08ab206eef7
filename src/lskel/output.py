"""Writing files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from lskel.errors import UsageError, at


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, or to a pipe or device; UsageError where it cannot be, and nothing changed."""
    target = Path(path)
    with at(os.fspath(path)):
        try:
            if target.exists() and not target.is_file():
                target.write_bytes(content)  # a pipe or a device is written to, not replaced
                return
            temporary = target.with_name(f".{target.name}.{os.getpid()}")
            try:
                temporary.write_bytes(content)
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}") from error
