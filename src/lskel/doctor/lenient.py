"""The running kernel as one that goes on where something is missing, and remembers what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lskel.bpf.inputs import MemberIndex, TypeSize
from lskel.errors import LskelError
from lskel.runtime.attach_point import AttachPoint
from lskel.runtime.inputs import RunningTypes
from lskel.runtime.kconfig import Config, Source, this_machine
from lskel.runtime.kernel import RunningKernel
from lskel.runtime.program import ProgramDefinition

if TYPE_CHECKING:
    from lskel.runtime.kernel import KernelTypes


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


class LenientKernel(RunningKernel):
    """Answers as the running kernel does, and 0 where it has no answer: then `lacks` has the error.

    By what was asked for: a `TypeSize`, a `MemberIndex`, or the name of a program.
    """

    def __init__(self) -> None:
        self.lacks: dict[object, LskelError] = {}
        self._types = RunningTypes()

    @property
    def kconfig(self) -> Source:
        """Values that are missing are 0."""
        return _Guessing(this_machine())

    @property
    def types(self) -> KernelTypes:
        """Types, those that are missing as well."""
        return self

    def type_size(self, type_: str) -> int:
        """Bytes of a struct of the kernel."""
        with self._noted(TypeSize(type_)):
            return self._types.type_size(type_)
        return 0

    def member_index(self, type_: str, member: str) -> int:
        """The number of a member in a struct of the kernel."""
        with self._noted(MemberIndex(type_, member)):
            return self._types.member_index(type_, member)
        return 0

    def attach_point(
        self, program: ProgramDefinition, target: str, held: ExitStack, *, trust_pins: bool
    ) -> AttachPoint:
        """What a program attaches to."""
        with self._noted(program.name):
            return self._types.attach_point(program, target, held, trust_pins=trust_pins)
        return AttachPoint(0, 0)

    @contextmanager
    def _noted(self, asked: object) -> Iterator[None]:
        try:
            yield
        except LskelError as error:
            self.lacks[asked] = error
