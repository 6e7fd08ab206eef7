"""What depends on the machine that a trace is replayed on."""

from __future__ import annotations

import sys
from typing import NamedTuple, Protocol

from lskel.bpf.enums import MapType
from lskel.errors import UsageError
from lskel.object.maps import RING_BUFFERS, ring_buffer_size
from lskel.object.sections import SectionSpec
from lskel.runtime.kconfig import Source
from lskel.trace import MapCreate, Trace


class AttachPoint(NamedTuple):
    """What a program attaches to: BTF id `btf_id` of what `fd` is.

    `fd` is that of a BPF program or of a module's BTF; 0 stands for vmlinux.
    """

    fd: int
    btf_id: int


class Target(Protocol):
    """A machine: its possible CPUs, its page size in bytes, and what its kernel knows."""

    @property
    def cpus(self) -> int:
        """Number of possible CPUs."""

    @property
    def page_size(self) -> int:
        """In bytes."""

    @property
    def kconfig(self) -> Source:
        """Its kernel's configuration."""

    def type_size(self, type_: str) -> int:
        """Bytes of a struct of its kernel; NotSupported where there is none."""

    def member_index(self, type_: str, member: str) -> int:
        """The number of a member in a struct of its kernel; NotSupported where there is none."""

    def attach_point(self, spec: SectionSpec, target: str) -> AttachPoint:
        """Where a program of section `spec` attaches, as `Options.targets` says it."""


def max_entries(op: MapCreate, target: Target) -> int:
    """A map's size on the target, where it depends on the machine."""
    if op.type == MapType.PERF_EVENT_ARRAY and op.max_entries == 0:
        return target.cpus
    if op.type in RING_BUFFERS:
        return ring_buffer_size(op.max_entries, target.page_size)
    return op.max_entries


def check_byte_order(trace: Trace) -> None:
    """UsageError where the trace is for machines of the other byte order."""
    if trace.order != sys.byteorder:
        raise UsageError(
            f"'{trace.name}' is for {trace.order}-endian machines, "
            f"this one is {sys.byteorder}-endian",
            hint="compile with -target bpfel or bpfeb",
        )
