"""The blob: all the bytes a loader program works on, with a record of what lies where."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from lskel.errors import LimitExceeded

ALIGNMENT = 8
# The blob is the value of one array map; the loader addresses it by 32-bit offsets.
MAX_SIZE = 64 << 20


class RegionKind(Enum):
    """What a range of the blob holds."""

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
    """Bytes [offset, offset + size) of the blob; `op` and `field` say whose they are.

    `op` is -1 where the range belongs to no single operation.
    """

    offset: int
    size: int
    kind: RegionKind
    op: int = -1
    field: str = ""


class Blob:
    """Grows by aligned pieces."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.regions: list[Region] = []
        self._shared: dict[bytes, int] = {}

    def add(
        self, content: bytes, size: int, kind: RegionKind, op: int = -1, field: str = ""
    ) -> int:
        """Append `content`, zeros up to `size`; its offset in bytes."""
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
        """Like `add` for data that nothing writes to: equal content is stored once."""
        offset = self._shared.get(content)
        if offset is None:
            offset = self.add(content, len(content), RegionKind.DATA, op, field)
            self._shared[content] = offset
        else:
            self.regions.append(Region(offset, len(content), RegionKind.DATA, op, field))
        return offset
