"""What depends on the machine that a trace is replayed on."""

from __future__ import annotations

import os
import sys

from lskel.bpf.enums import MapType
from lskel.errors import UsageError
from lskel.object.maps import RING_BUFFERS, ring_buffer_size
from lskel.runtime.cpus import possible_cpus
from lskel.trace import MapCreate, Trace


def check_byte_order(trace: Trace) -> None:
    """UsageError where the trace is for machines of the other byte order."""
    if trace.order != sys.byteorder:
        raise UsageError(
            f"'{trace.name}' is for {trace.order}-endian machines, "
            f"this one is {sys.byteorder}-endian",
            hint="compile with -target bpfel or bpfeb",
        )


def max_entries(op: MapCreate) -> int:
    """The map's size on this machine: CPUs and page size are known only here."""
    if op.type == MapType.PERF_EVENT_ARRAY and op.max_entries == 0:
        return len(possible_cpus())
    if op.type in RING_BUFFERS:
        return ring_buffer_size(op.max_entries, os.sysconf("SC_PAGE_SIZE"))
    return op.max_entries
