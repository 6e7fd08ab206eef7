"""Numbers that a loader is handed because only the target knows them: of types, of targets."""

from __future__ import annotations

from lskel.btf.kinds import Kind
from lskel.errors import UsageError, at
from lskel.named import NamedTuple
from lskel.runtime import kernel_struct
from lskel.runtime.attach_point import AttachPoint, in_kernel, in_program, is_in_program
from lskel.runtime.kernel_btf import KernelBtf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack

    from lskel.runtime.skeleton import Skeleton


class TypeSize(NamedTuple):
    """Bytes of the kernel's struct `type`; NotSupported where it has none."""

    type: str

    def __call__(self, skeleton: Skeleton, held: ExitStack) -> int:
        return kernel_struct.type_size(KernelBtf(), self.type)


class MemberIndex(NamedTuple):
    """The number of a member of the kernel's struct `type`, for the programs of these slots.

    NotSupported where there is none and one of the programs is loaded.
    """

    type: str
    member: str
    slots: tuple[int, ...]

    def __call__(self, skeleton: Skeleton, held: ExitStack) -> int:
        programs = list(skeleton.progs)
        if not any(programs[slot].autoload for slot in self.slots):
            return 0
        return kernel_struct.member_index(KernelBtf(), self.type, self.member)


class AttachFd(NamedTuple):
    """The fd of the program or BTF that holds what program `slot` attaches to.

    Types of the kernel are found by the name `prefix` + target, among those of `kind`; `is_program`
    says that the target is a function of a BPF program, whatever it looks like.
    """

    slot: int
    prefix: str
    kind: int
    is_program: bool

    def __call__(self, skeleton: Skeleton, held: ExitStack) -> int:
        point = _point(self, skeleton, held)
        return 0 if point is None else point.fd


class AttachBtfId(NamedTuple):
    """The BTF id, in what `AttachFd` is, of what program `slot` attaches to."""

    slot: int
    prefix: str
    kind: int
    is_program: bool

    def __call__(self, skeleton: Skeleton, held: ExitStack) -> int:
        point = _point(self, skeleton, held)
        return 0 if point is None else point.btf_id


def _point(
    wanted: AttachFd | AttachBtfId, skeleton: Skeleton, held: ExitStack
) -> AttachPoint | None:
    program = list(skeleton.progs)[wanted.slot]
    if not program.autoload:
        return None
    with at(f"program '{program.name}'"):
        target = program.target
        if target is None:
            raise UsageError(
                f"its section's name '{program.definition.kind}' does not say what it attaches to",
                hint="set its `target` before load(), or its `autoload` to False",
            )
        if wanted.is_program or is_in_program(target):
            function, trust = program.definition.target, skeleton.trust_pins
            return in_program(target, function, held, trust_pins=trust)
        name = wanted.prefix + target.rpartition(":")[2]
        return in_kernel(name, Kind(wanted.kind), KernelBtf(), held)
