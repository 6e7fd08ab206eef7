"""Why the kernel refuses to attach to a function with EBUSY.

Source: kernel/bpf/trampoline.c: a program is in a function's list once; a function that ftrace does
not manage has no instruction to patch; and ftrace has one direct call for a function.
"""

from __future__ import annotations

from lskel.bpf.enums import ProgType
from lskel.errors import LskelError
from lskel.runtime import objects
from lskel.runtime.attach.tracefs import ROOTS, read_tracefs
from lskel.runtime.info import btf_info, prog_info
from lskel.runtime.kernel_btf import KernelBtf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.btf.btf import Btf
    from lskel.runtime.info import ProgInfo

_TRACEABLE = "available_filter_functions"
_PATCHED = "enabled_functions"
_UNKNOWN = (
    f"it is already attached; or the function is not traceable (see {ROOTS[0]}/{_TRACEABLE}); or "
    f"something else patched it (see {_PATCHED} there)"
)


def why_busy(prog_fd: int) -> str:
    """The reason, as a hint, for a program of type TRACING, LSM or EXT."""
    try:
        return _why(prog_info(prog_fd))
    except LskelError:  # without CAP_SYS_ADMIN ids say nothing; tracefs may not be mounted
        return _UNKNOWN


def _why(program: ProgInfo) -> str:
    for number in objects.ids(objects.ObjectKind.LINK):
        with objects.by_id(objects.ObjectKind.LINK, number) as link:
            if objects.identity(link.fileno(), objects.ObjectKind.LINK).program == program.id:
                return f"it is already attached, by link {number}: close that first"
    with objects.by_id(objects.ObjectKind.BTF, program.attach_btf_obj_id) as fd:
        info = btf_info(fd.fileno())
        if not info.kernel:
            return _of_program(program)
        raw = b"" if info.name == "vmlinux" else btf_info(fd.fileno(), data=True).data
    name = _function(program.attach_btf_id, raw)
    if name not in _names(read_tracefs(_TRACEABLE, _TRACEABLE)):
        return f"'{name}' is not traceable: it is not in {ROOTS[0]}/{_TRACEABLE}"
    patched = _names(read_tracefs(_PATCHED, _PATCHED))
    if name in patched:
        return f"something else patched '{name}': {ROOTS[0]}/{_PATCHED} says '{patched[name]}'"
    return f"something else patched '{name}', which is a live patch or another tracer"


def _of_program(program: ProgInfo) -> str:
    if program.type == ProgType.EXT:
        return "another program replaces the function, or fentry or fexit programs are attached"
    return "another program replaces the function"


def _function(type_id: int, raw: bytes) -> str:
    """The name of a function in vmlinux, or in the BTF of a module."""
    from lskel.btf.types import Func, TypeId

    btf: Btf = KernelBtf().vmlinux
    if raw:
        from lskel.btf.btf import Btf

        btf = Btf(raw, btf)
    return btf.get(TypeId(type_id), Func).name


def _names(listed: str) -> dict[str, str]:
    """Lines of "NAME ..." by name."""
    return {line.partition(" ")[0]: line for line in listed.splitlines()}
