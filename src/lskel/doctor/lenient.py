"""The machine as a target that goes on where something is missing, and remembers what."""

from __future__ import annotations

from dataclasses import dataclass, field

from lskel.errors import LskelError
from lskel.object.sections import SectionSpec
from lskel.replay.this_machine import ThisMachine
from lskel.runtime.attach_point import AttachPoint
from lskel.runtime.kconfig import Config, Source
from lskel.trace import MemberIndex, TypeSize


@dataclass(frozen=True, slots=True)
class _Guessing:
    """A configuration in which nothing is missing."""

    known: Source
    unknown_is_zero: bool = True

    @property
    def config(self) -> Config:
        return self.known.config

    @property
    def kernel_version(self) -> int | None:
        return self.known.kernel_version

    @property
    def has_bpf_cookie(self) -> bool | None:
        return self.known.has_bpf_cookie

    @property
    def has_syscall_wrapper(self) -> bool | None:
        return self.known.has_syscall_wrapper


@dataclass(frozen=True, slots=True)
class Lenient:
    """Answers as the machine does, and 0 where it has no answer: then `lacks` has the error.

    By what was asked for: a `TypeSize`, a `MemberIndex`, or the name of a section and a target.
    """

    machine: ThisMachine
    lacks: dict[object, LskelError] = field(default_factory=dict)

    @property
    def cpus(self) -> int:
        """Number of possible CPUs."""
        return self.machine.cpus

    @property
    def page_size(self) -> int:
        """In bytes."""
        return self.machine.page_size

    @property
    def kconfig(self) -> Source:
        """Values that are missing are 0."""
        return _Guessing(self.machine.kconfig)

    def type_size(self, type_: str) -> int:
        """Bytes of a struct of the kernel."""
        try:
            return self.machine.type_size(type_)
        except LskelError as error:
            self.lacks[TypeSize(type_)] = error
            return 0

    def member_index(self, type_: str, member: str) -> int:
        """The number of a member in a struct of the kernel."""
        try:
            return self.machine.member_index(type_, member)
        except LskelError as error:
            self.lacks[MemberIndex(type_, member)] = error
            return 0

    def attach_point(self, spec: SectionSpec, target: str) -> AttachPoint:
        """What a program attaches to."""
        try:
            return self.machine.attach_point(spec, target)
        except LskelError as error:
            self.lacks[spec.name, target] = error
            return AttachPoint(0, 0)
