"""What depends on the machine that a trace is replayed on."""

from __future__ import annotations

from typing import Protocol

from lskel.catalog.entries import entries_on
from lskel.object.sections import SectionSpec
from lskel.runtime.attach_point import AttachPoint
from lskel.runtime.kconfig import Source
from lskel.trace import MapCreate


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
    return entries_on(op.type, op.max_entries, target.page_size, target.cpus)
