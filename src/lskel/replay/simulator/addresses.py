"""Addresses of maps and their elements, for programs."""

from __future__ import annotations

from lskel.errors import NotFound
from lskel.replay.simulator.memory import Memory, MemoryRegion
from lskel.replay.simulator.syscall.maps import SimulatedMap

# The size of the opaque struct bpf_map.
_HANDLE_SIZE = 8


class Addresses:
    """Allocates an address per object on demand; `close` removes all."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._maps: dict[int, SimulatedMap] = {}
        self._handles: dict[SimulatedMap, MemoryRegion] = {}
        self._elements: dict[tuple[SimulatedMap, bytes], MemoryRegion] = {}

    def of_map(self, found: SimulatedMap) -> int:
        """The address of the map itself."""
        if found not in self._handles:
            region = self._memory.map(
                f"map '{found.name}'", bytearray(_HANDLE_SIZE), writable=False
            )
            self._handles[found] = region
            self._maps[region.base] = found
        return self._handles[found].base

    def map_at(self, address: int) -> SimulatedMap:
        """The map at an address; NotFound if none."""
        found = self._maps.get(address)
        if found is None:
            raise NotFound(f"{address:#x} is not the address of a map")
        return found

    def of_element(self, owner: SimulatedMap, key: bytes, element: bytearray) -> int:
        """The address of an element's bytes."""
        region = self._elements.get((owner, key))
        if region is None or region.data is not element:
            region = self._memory.map(f"value of map '{owner.name}'", element)
            self._elements[owner, key] = region
        return region.base

    def close(self) -> None:
        """Remove all addresses."""
        for region in (*self._handles.values(), *self._elements.values()):
            self._memory.unmap(region)
