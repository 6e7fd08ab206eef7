"""Addresses that a program gets for maps and for their elements."""

from __future__ import annotations

from lskel.errors import NotFound
from lskel.replay.simulator.memory import Memory, Region
from lskel.replay.simulator.syscall.maps import Map

# What a program sees of struct bpf_map is of no use to it.
_HANDLE_SIZE = 8


class Addresses:
    """Gives addresses on demand, the same for the same thing, and takes all away by `close`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._maps: dict[int, Map] = {}
        self._handles: dict[Map, Region] = {}
        self._elements: dict[tuple[Map, bytes], Region] = {}

    def of_map(self, found: Map) -> int:
        """The address that stands for the map itself."""
        if found not in self._handles:
            region = self._memory.map(
                f"map '{found.name}'", bytearray(_HANDLE_SIZE), writable=False
            )
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
            region = self._memory.map(f"value of map '{owner.name}'", element)
            self._elements[owner, key] = region
        return region.base

    def close(self) -> None:
        """Take all addresses away."""
        for region in (*self._handles.values(), *self._elements.values()):
            self._memory.unmap(region)
