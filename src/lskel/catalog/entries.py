"""The size of maps whose max_entries depends on the machine."""

from __future__ import annotations

from lskel.bpf.enums import MapType
from lskel.catalog.map_types import RING_BUFFERS


def ring_buffer_size(size: int, page_size: int) -> int:
    """The size rounded up to what the kernel takes: a power of two of pages; 0 stays 0."""
    if size == 0 or size > 1 << 31:
        return size
    pages = -(-size // page_size)
    return page_size << (pages - 1).bit_length()


def entries_on(map_type: int, max_entries: int, page_size: int, cpus: int) -> int:
    """max_entries on a machine with pages of `page_size` bytes and so many possible CPUs."""
    if map_type == MapType.PERF_EVENT_ARRAY and max_entries == 0:
        return cpus
    if map_type in RING_BUFFERS:
        return ring_buffer_size(max_entries, page_size)
    return max_entries
