"""The simulator's memory: named regions, with every access checked."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from functools import partial

from lskel import budget
from lskel.cursor import ByteOrder
from lskel.errors import LskelError

# Regions start here, with gaps, so that an overrun does not hit a neighbour.
FIRST_ADDRESS = 0x1_0000_0000
GAP = 0x1_0000


@dataclass(eq=False, slots=True)
class MemoryRegion:
    """`data` at addresses [base, base + len(data)); shared with its owner."""

    name: str
    base: int
    data: bytearray
    writable: bool = True


class MemoryFault(LskelError):
    """An access outside all regions, or a write to a read-only one."""

    def __init__(
        self, address: int, size: int, *, write: bool, nearest: MemoryRegion | None
    ) -> None:
        verb = "write" if write else "read"
        where = ""
        if nearest is not None:
            inside = nearest.base <= address < nearest.base + len(nearest.data)
            where = (
                f": {nearest.name} has {len(nearest.data)} bytes, this is offset "
                f"{address - nearest.base}"
                + (", read-only" if write and inside and not nearest.writable else "")
            )
        super().__init__(f"invalid {verb} of {size} bytes at {address:#x}{where}")
        self.address = address
        self.size = size
        self.write = write
        self.nearest = nearest


@dataclass(slots=True)
class Memory:
    """Regions by address. Numbers are read and written in `order`.

    LimitExceeded if more bytes are copied than `budget.COPIED`.
    """

    order: ByteOrder
    copied: budget.Allowance = field(
        default_factory=partial(budget.Allowance, budget.COPIED, "bytes read and written")
    )
    _bases: list[int] = field(default_factory=list)
    _regions: dict[int, MemoryRegion] = field(default_factory=dict)
    _next: int = FIRST_ADDRESS

    def map(
        self, name: str, data: bytearray, *, writable: bool = True, base: int | None = None
    ) -> MemoryRegion:
        """Map `data` to an address, or to `base` below FIRST_ADDRESS, where nothing else is."""
        region = MemoryRegion(name, self._next if base is None else base, data, writable)
        if base is None:
            self._next += (len(data) + GAP + GAP - 1) // GAP * GAP
        insort(self._bases, region.base)
        self._regions[region.base] = region
        return region

    def unmap(self, region: MemoryRegion) -> None:
        """Unmap a region."""
        del self._bases[bisect_left(self._bases, region.base)]
        del self._regions[region.base]

    def find(self, address: int, size: int, *, write: bool = False) -> tuple[MemoryRegion, int]:
        """The region that contains [address, address + size), and the offset in it; MemoryFault."""
        index = bisect_right(self._bases, address) - 1
        region = self._regions[self._bases[index]] if index >= 0 else None
        if region is None:
            raise MemoryFault(address, size, write=write, nearest=None)
        offset = address - region.base
        if offset + size > len(region.data) or (write and not region.writable):
            raise MemoryFault(address, size, write=write, nearest=region)
        return region, offset

    def read(self, address: int, size: int) -> bytes:
        """The bytes at an address; empty for size 0."""
        if size == 0:
            return b""
        region, offset = self.find(address, size)
        self.copied.spend(size)
        return bytes(region.data[offset : offset + size])

    def write(self, address: int, content: bytes) -> None:
        """Replace the bytes at an address."""
        if content:
            region, offset = self.find(address, len(content), write=True)
            self.copied.spend(len(content))
            region.data[offset : offset + len(content)] = content

    def load(self, address: int, size: int) -> int:
        """An unsigned number."""
        region, offset = self.find(address, size)
        return int.from_bytes(region.data[offset : offset + size], self.order)

    def store(self, address: int, size: int, value: int) -> None:
        """Write the low `size` bytes of a number."""
        region, offset = self.find(address, size, write=True)
        region.data[offset : offset + size] = (value & ((1 << 8 * size) - 1)).to_bytes(
            size, self.order
        )
