"""The blob: all data of a loader program, with a list of its regions."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from lskel.errors import LimitExceeded

ALIGNMENT = 8
# The blob is the value of an array map; the loader uses 32-bit offsets.
MAX_SIZE = 64 << 20


class RegionKind(Enum):
    """The content of a range of the blob."""

    FD_ARRAY = "fd_array"
    STATUS = "status"
    FDS = "fds"
    ATTR = "attr"
    DATA = "data"
    FOUND = "found"
    STATE = "state"
    CONTEXT = "context"
    RECORDS = "records"
    PADDING = "padding"


class Region(NamedTuple):
    """Bytes [offset, offset + size) of the blob; `op` and `field` are what they belong to.

    `op` is -1 if the range does not belong to a single operation.
    """

    offset: int
    size: int
    kind: RegionKind
    op: int = -1
    field: str = ""


class Blob:
    """A blob under construction, in aligned pieces."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.regions: list[Region] = []
        self._shared: dict[bytes, int] = {}

    def add(
        self, content: bytes, size: int, kind: RegionKind, op: int = -1, field: str = ""
    ) -> int:
        """Append `content`, zero-padded to `size`; returns its offset in bytes."""
        offset = len(self.data)
        padded = -(-size // ALIGNMENT) * ALIGNMENT
        if offset + padded > MAX_SIZE:
            raise LimitExceeded(
                f"the loader's data exceed {MAX_SIZE >> 20} MiB",
                limit=MAX_SIZE,
                actual=offset + padded,
                hint="shrink the global data, or let it begin as zeros (not constants)",
            )
        self.data += content
        self.data += bytes(padded - len(content))
        self.regions.append(Region(offset, size, kind, op, field))
        return offset

    def share(self, content: bytes, op: int, field: str) -> int:
        """Like `add` for read-only data: equal content is stored once."""
        offset = self._shared.get(content)
        if offset is None:
            offset = self.add(content, len(content), RegionKind.DATA, op, field)
            self._shared[content] = offset
        else:
            self.regions.append(Region(offset, len(content), RegionKind.DATA, op, field))
        return offset
