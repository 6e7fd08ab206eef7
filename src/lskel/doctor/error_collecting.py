"""The running kernel, but missing inputs are recorded and replaced by 0."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lskel.bpf.inputs import MemberIndex, TypeMismatch, TypeSize
from lskel.errors import LskelError
from lskel.runtime.attach_point import AttachPoint
from lskel.runtime.inputs import RunningTypes
from lskel.runtime.kconfig import Config, KconfigSource, this_machine
from lskel.runtime.kernel import RunningKernel
from lskel.runtime.program import ProgramDefinition

if TYPE_CHECKING:
    from lskel.runtime.kernel import KernelTypes


@dataclass(frozen=True, slots=True)
class _LenientConfig:
    """A kernel configuration in which missing values are 0."""

    known: KconfigSource
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


class ErrorCollectingKernel(RunningKernel):
    """The running kernel, with 0 for what it lacks; `lacks` has the errors.

    The keys of `lacks` are a `TypeSize`, a `MemberIndex`, a `TypeMismatch`, or the name of a
    program.
    """

    def __init__(self) -> None:
        self.lacks: dict[object, LskelError] = {}
        self._types = RunningTypes()

    @property
    def kconfig(self) -> KconfigSource:
        """Missing values are 0."""
        return _LenientConfig(this_machine())

    @property
    def types(self) -> KernelTypes:
        """This object, which answers for missing types, too."""
        return self

    def type_size(self, type_: str) -> int:
        """The size of a kernel struct in bytes."""
        with self._noted(TypeSize(type_)):
            return self._types.type_size(type_)
        return 0

    def member_index(self, type_: str, member: str) -> int:
        """The index of a member in a kernel struct."""
        with self._noted(MemberIndex(type_, member)):
            return self._types.member_index(type_, member)
        return 0

    def is_mismatch(self, asked: TypeMismatch) -> bool:
        """Whether a weak function is of another type."""
        with self._noted(asked):
            return self._types.is_mismatch(asked)
        return False

    def attach_point(
        self, program: ProgramDefinition, target: str, held: ExitStack, *, trust_pins: bool
    ) -> AttachPoint:
        """The attach target of a program."""
        with self._noted(program.name):
            return self._types.attach_point(program, target, held, trust_pins=trust_pins)
        return AttachPoint(0, 0)

    @contextmanager
    def _noted(self, asked: object) -> Iterator[None]:
        try:
            yield
        except LskelError as error:
            self.lacks[asked] = error
