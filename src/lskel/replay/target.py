"""What depends on the machine that a trace is replayed on."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from lskel.bpf.enums import MapType
from lskel.errors import UsageError
from lskel.object.maps import RING_BUFFERS, ring_buffer_size
from lskel.runtime.cpus import possible_cpus
from lskel.trace import MapCreate, Trace


class Target(NamedTuple):
    """A machine: its possible CPUs, and its page size in bytes."""

    cpus: int
    page_size: int

    def max_entries(self, op: MapCreate) -> int:
        """A map's size there, where it depends on the machine."""
        if op.type == MapType.PERF_EVENT_ARRAY and op.max_entries == 0:
            return self.cpus
        if op.type in RING_BUFFERS:
            return ring_buffer_size(op.max_entries, self.page_size)
        return op.max_entries


def this_machine() -> Target:
    """The machine that this process runs on."""
    return Target(len(possible_cpus()), os.sysconf("SC_PAGE_SIZE"))


def check_byte_order(trace: Trace) -> None:
    """UsageError where the trace is for machines of the other byte order."""
    if trace.order != sys.byteorder:
        raise UsageError(
            f"'{trace.name}' is for {trace.order}-endian machines, "
            f"this one is {sys.byteorder}-endian",
            hint="compile with -target bpfel or bpfeb",
        )
