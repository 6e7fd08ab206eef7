"""The max_entries of maps for which it depends on the machine."""

from __future__ import annotations

from lskel.bpf.enums import MapType
from lskel.catalog.map_types import RING_BUFFERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Machine(Protocol):
        """The machine properties that sizes depend on."""

        @property
        def cpus(self) -> int:
            """Number of possible CPUs; 0 if not known yet."""

        @property
        def page_size(self) -> int:
            """In bytes."""


class _AnyMachine:
    """At compile time: the smallest page size."""

    cpus = 0
    page_size = 4096


ANY_MACHINE = _AnyMachine()


def ring_buffer_size(size: int, page_size: int) -> int:
    """The size rounded up to a power of two of pages, as the kernel requires; 0 stays 0."""
    if size == 0 or size > 1 << 31:
        return size
    pages = -(-size // page_size)
    return page_size << (pages - 1).bit_length()


def entries_on(map_type: int, max_entries: int, machine: Machine) -> int:
    """max_entries on a machine."""
    if map_type == MapType.PERF_EVENT_ARRAY and max_entries == 0:
        return machine.cpus
    if map_type in RING_BUFFERS:
        return ring_buffer_size(max_entries, machine.page_size)
    return max_entries
