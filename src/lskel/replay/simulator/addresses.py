"""Addresses that a program gets for maps and for their elements."""

from __future__ import annotations

from lskel import budget
from lskel.errors import NotFound
from lskel.replay.simulator.memory import Memory, Region
from lskel.replay.simulator.syscall.maps import Map

# What a program sees of struct bpf_map is of no use to it.
_HANDLE_SIZE = 8


class Addresses:
    """Gives addresses on demand, the same for the same thing, and takes all away by `close`.

    LimitExceeded where that takes more than is left of `elements`.
    """

    def __init__(self, memory: Memory, elements: budget.Allowance) -> None:
        self._memory = memory
        self._budget = elements
        self._maps: dict[int, Map] = {}
        self._handles: dict[Map, Region] = {}
        self._elements: dict[tuple[Map, bytes], Region] = {}

    def of_map(self, found: Map) -> int:
        """The address that stands for the map itself."""
        if found not in self._handles:
            region = self._map(f"map '{found.name}'", bytearray(_HANDLE_SIZE), writable=False)
            self._handles[found] = region
            self._maps[region.base] = found
        return self._handles[found].base

    def map_at(self, address: int) -> Map:
        """The map that an address stands for; NotFound."""
        found = self._maps.get(address)
        if found is None:
            raise NotFound(f"{address:#x} is not the address of a map")
        return found

    def of_element(self, owner: Map, key: bytes, element: bytearray) -> int:
        """The address of an element's bytes."""
        region = self._elements.get((owner, key))
        if region is None or region.data is not element:
            region = self._map(f"value of map '{owner.name}'", element)
            self._elements[owner, key] = region
        return region.base

    def _map(self, name: str, data: bytearray, *, writable: bool = True) -> Region:
        self._budget.spend(budget.ELEMENT)
        return self._memory.map(name, data, writable=writable)

    def close(self) -> None:
        """Take all addresses away: the last one first, which costs the memory least."""
        regions = (*self._handles.values(), *self._elements.values())
        for region in sorted(regions, key=lambda region: region.base, reverse=True):
            self._memory.unmap(region)
