"""The inputs of a loader: numbers known on the target only, looked up in its kernel."""

from __future__ import annotations

import errno

from lskel.bpf.enums import ProgType
from lskel.bpf.inputs import AttachBtfId, AttachFd, MemberIndex, TypeMismatch, TypeSize
from lskel.errors import NotFound, UsageError, at
from lskel.light_typing import NamedTuple
from lskel.runtime import kernel_extern, kernel_struct
from lskel.runtime.attach_point import (
    btf_name,
    in_kernel,
    in_module,
    in_program,
    is_in_program,
    load_target,
    module_of,
)
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.syscall import BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from lskel.runtime.attach_point import AttachPoint
    from lskel.runtime.kernel import Kernel, KernelTypes
    from lskel.runtime.program import Program, ProgramDefinition


class InputOf(NamedTuple):
    """An input of a loader, and the slots of the programs that use it; none if maps use it."""

    kind: TypeSize | MemberIndex | TypeMismatch | AttachFd | AttachBtfId
    programs: tuple[int, ...] = ()


class RunningTypes:
    """The types of the running kernel. BTF is read on first use."""

    def __init__(self) -> None:
        self._kernel = KernelBtf()

    def type_size(self, type_: str) -> int:
        """Size of a struct in bytes; NotSupported if it does not exist."""
        return kernel_struct.type_size(self._kernel, type_)

    def member_index(self, type_: str, member: str) -> int:
        """Index of a member in a struct; NotSupported if it does not exist."""
        return kernel_struct.member_index(self._kernel, type_, member)

    def is_mismatch(self, asked: TypeMismatch) -> bool:
        """Whether a weak function is of another type; NotSupported if it is not a weak one.

        What cannot be compared is left to the loader: BTF files may be missing in a container, and
        those of modules need CAP_SYS_ADMIN.
        """
        try:
            found = self._kernel.find(asked.name, kernel_extern.kind(asked))
        except BpfError as error:
            if error.errno not in (errno.ENOENT, errno.EPERM):
                raise
            return False
        except NotFound:
            return False
        if found.module is not None:
            found.module.close()
        return kernel_extern.is_mismatch(asked, found.btf, found.type_id)

    def attach_point(
        self, program: ProgramDefinition, target: str, held: ExitStack, *, trust_pins: bool
    ) -> AttachPoint:
        """A function, hook or tracepoint of the kernel, or a function of a BPF program.

        For programs of many functions: the module that has them.
        """
        if module := module_of(program, target):
            return in_module(module, self._kernel, held)
        if program.type == ProgType.EXT or is_in_program(target):
            return in_program(target, program.target, held, trust_pins=trust_pins)
        return in_kernel(*btf_name(program, target), self._kernel, held)


class Inputs:
    """The inputs of a loader."""

    def __init__(self, *inputs: InputOf) -> None:
        self.inputs = inputs

    def targets(self) -> set[int]:
        """The slots of the programs whose targets are needed."""
        kinds = (item.kind for item in self.inputs)
        return {kind.slot for kind in kinds if isinstance(kind, (AttachFd, AttachBtfId))}

    def values(
        self, programs: Sequence[Program], kernel: Kernel, held: ExitStack, *, trust_pins: bool
    ) -> tuple[int, ...]:
        """The numbers; 0 for inputs that no loaded program uses.

        `held` keeps fds open until the load. NotSupported or NotFound if the kernel lacks the type
        or target; UsageError if a program has no attach target.
        """
        types = kernel.types or RunningTypes()
        points = {
            slot: _point(programs[slot], types, held, trust_pins=trust_pins)
            for slot in sorted(self.targets())
            if programs[slot].autoload
        }

        def value(asked: InputOf) -> int:
            kind = asked.kind
            if asked.programs and not any(programs[slot].autoload for slot in asked.programs):
                return 0
            if isinstance(kind, TypeSize):
                return types.type_size(kind.type)
            if isinstance(kind, MemberIndex):
                return types.member_index(kind.type, kind.member)
            if isinstance(kind, TypeMismatch):
                return int(types.is_mismatch(kind))
            point = points[kind.slot]
            return point.btf_id if isinstance(kind, AttachBtfId) else point.fd

        return tuple(value(asked) for asked in self.inputs)


def _point(
    program: Program, types: KernelTypes, held: ExitStack, *, trust_pins: bool
) -> AttachPoint:
    with at(f"program '{program.name}'"):
        target = load_target(program)
        if target is None:
            raise no_target(program)
        return types.attach_point(program.definition, target, held, trust_pins=trust_pins)


def no_target(program: Program) -> UsageError:
    """The error for a program without an attach target."""
    lacks = "the program to attach to" if program.definition.target else "an attach target"
    return UsageError(
        f"section name '{program.definition.section}' does not name {lacks}",
        hint=f"set it: --target {program.name}=TARGET, in Python `target`; or disable autoload: "
        f"--no-autoload {program.name}, in Python `autoload`",
    )
