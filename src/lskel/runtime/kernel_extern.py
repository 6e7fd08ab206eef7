"""The types of kernel functions and variables, compared with those that an object declares.

As libbpf does (`bpf_object__resolve_ksyms_btf_id` in tools/lib/bpf/libbpf.c, Linux 7.3).
"""

from __future__ import annotations

from lskel.btf.kinds import Kind
from lskel.btf.shape import LETTERS, Shapes
from lskel.btf.types import RefType
from lskel.errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.bpf.inputs import TypeMismatch
    from lskel.btf.btf import Btf
    from lskel.btf.types import TypeId


def kind(asked: TypeMismatch) -> Kind:
    """The kind of the extern in BTF."""
    return Kind.FUNC if asked.is_function else Kind.VAR


def is_mismatch(asked: TypeMismatch, btf: Btf, type_id: TypeId) -> bool:
    """Whether the kernel's FUNC or VAR is of another type, and therefore counts as missing.

    NotSupported unless it is a weak function: it shows both types.
    """
    found = btf.get(type_id, RefType).type
    shape = Shapes(btf).of(found)
    if asked.shape and shape == asked.shape:
        return False
    if asked.is_function and asked.is_weak:
        return True
    # Imported on use: it is for messages only.
    from lskel.btf.c import type_name

    what = "kfunc" if asked.is_function else "kernel variable"
    theirs = type_name(btf, found, asked.name)
    hint = "declare it as this kernel does"
    if shape and asked.shape.replace(LETTERS[Kind.FWD], LETTERS[Kind.STRUCT]) == shape:
        hint = "a struct that is only declared is of another kind: define it, as `struct NAME {};`"
    elif asked.is_function:
        hint += f", or one declaration per kernel, each __weak: {asked.name}___old"
    raise NotSupported(
        f"{what} '{asked.name}': declared as `{asked.declared}`, in this kernel it is `{theirs}`",
        hint=hint,
    )
