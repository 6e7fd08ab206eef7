"""The attach target of a program that needs it at load time: a BTF id in the BTF of an fd."""

from __future__ import annotations

import errno
from contextlib import ExitStack

from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.catalog.attach_kinds import BY_NAME, AttachCall, attach_kind_row
from lskel.errors import NotFound, UsageError, at
from lskel.light_typing import NamedTuple
from lskel.runtime import objects
from lskel.runtime.info import btf_info, prog_info
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.program import Program, ProgramDefinition

_ID = "id:"
# Ids have 32 bits.
_ID_DIGITS = 10


class AttachPoint(NamedTuple):
    """An attach target: BTF id `btf_id` in the BTF of `fd`.

    `fd` is a BPF program or a module's BTF; 0 for vmlinux. `btf_id` is 0 for programs that attach
    to any functions of that BTF.
    """

    fd: int
    btf_id: int


def btf_name(program: ProgramDefinition, target: str) -> tuple[str, Kind]:
    """The name and kind of a program's target in the kernel's BTF."""
    row = BY_NAME.get(program.kind)
    assert row is not None and row.btf_target is not None
    return row.btf_target.prefix + target.rpartition(":")[2], row.btf_target.kind


def is_in_program(target: str) -> bool:
    """Whether a target is a function of a BPF program, given by pin or id."""
    return target.startswith((_ID, "/"))


def module_of(program: ProgramDefinition, target: str) -> str:
    """The module in whose BTF a program's functions are: of MODULE:FUNCTIONS, for fentry.multi etc.

    Empty if they are those of vmlinux, and for programs that are loaded for one function.
    """
    row = attach_kind_row(program.kind, program.type, program.attach_type)
    if row is None or row.call is not AttachCall.FUNCTIONS or ":" not in target:
        return ""
    return target.partition(":")[0]


def load_target(program: Program) -> str | None:
    """The target that a program is loaded for: the caller's, or in a module that its section names.

    None if there is none.
    """
    definition = program.definition
    if program.target is None and module_of(definition, definition.target):
        return definition.target
    return program.target


def in_module(module: str, kernel: KernelBtf, stack: ExitStack) -> AttachPoint:
    """The BTF of a module; `stack` closes its fd. NotFound if it is not loaded."""
    return AttachPoint(stack.enter_context(kernel.module(module)).fileno(), 0)


def in_kernel(name: str, kind: Kind, kernel: KernelBtf, stack: ExitStack) -> AttachPoint:
    """A type of the kernel or a module; `stack` closes the fd of the module's BTF.

    NotFound if no such type exists.
    """
    try:
        found = kernel.find(name, kind)
    except BpfError as error:
        if error.errno != errno.ENOENT:
            raise
        raise NotFound(f"no {kind.name.lower()} '{name}' in the kernel's BTF") from error
    if found.module is None:
        return AttachPoint(0, found.type_id)
    return AttachPoint(stack.enter_context(found.module).fileno(), found.type_id)


def in_program(
    target: str, function: str, stack: ExitStack, *, trust_pins: bool = False
) -> AttachPoint:
    """PROGRAM[:FUNCTION]: a function of a loaded program, by that program's BTF.

    PROGRAM is the path of its pin, or ``id:42``; `function` is the default if `target` names none.
    `stack` closes the program's fd. UsageError if the target is malformed, or if other users could
    have created the pin (unless `trust_pins`); NotFound if the program or function does not exist.
    """
    where = target.removeprefix(_ID)
    name, _, given = where.partition(":")
    with at(f"attach target '{target}'"):
        program = stack.enter_context(_program(name, is_id=where != target, trust_pins=trust_pins))
        function = given or function
        if not function:
            raise UsageError("no function in it", hint="use PROGRAM:FUNCTION")
        info = prog_info(program.fileno())
        if not info.btf_id:
            raise NotFound(f"program {info.id} '{info.name}' has no BTF")
        with objects.by_id(objects.ObjectKind.BTF, info.btf_id) as btf:
            raw = btf_info(btf.fileno(), data=True).data
        type_id = Btf(raw).find_kind(function, Kind.FUNC)
        if type_id is None:
            raise NotFound(f"program {info.id} '{info.name}' has no function '{function}'")
    return AttachPoint(program.fileno(), type_id)


def _program(name: str, *, is_id: bool, trust_pins: bool) -> Fd:
    try:
        if is_id:
            if not (name.isdecimal() and len(name) <= _ID_DIGITS):
                raise UsageError(f"'{name}' is not an id")
            return objects.by_id(objects.ObjectKind.PROG, int(name))
        return objects.obj_get(name, trust_pins=trust_pins)
    except BpfError as error:
        if error.errno != errno.ENOENT:
            raise
        raise NotFound(f"no such program: {error.strerror}") from error
