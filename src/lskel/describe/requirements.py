"""What a trace needs from the target machine: externs and inputs."""

from __future__ import annotations

from collections.abc import Iterator

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.btf.types import VOID
from lskel.object.model import Extern, ExternKind
from lskel.trace import (
    AttachBtfId,
    AttachFd,
    BtfFind,
    KsymFind,
    MapCreate,
    MemberIndex,
    ProgLoad,
    Trace,
    TypeMismatch,
    TypeSize,
)


def used_externs(trace: Trace, load: ProgLoad, btf: Btf | None) -> dict[int, Extern]:
    """The externs of a program's code, by instruction."""
    finds = dict.fromkeys(reloc.find.op for reloc in load.externs)
    found = {number: _extern(trace, number, btf) for number in finds if not _is_map(trace, number)}
    return {reloc.insn: found[reloc.find.op] for reloc in load.externs if reloc.find.op in found}


def jump_tables(trace: Trace, load: ProgLoad) -> dict[int, tuple[int, ...]]:
    """The entries of the jump tables in a program's code, by the instructions that load them."""
    return {
        reloc.insn: trace.jump_table(reloc.find.op)
        for reloc in load.externs
        if _is_map(trace, reloc.find.op)
    }


def _is_map(trace: Trace, number: int) -> bool:
    return isinstance(trace.ops[number], MapCreate)


def all_externs(trace: Trace, btf: Btf | None) -> Iterator[Extern]:
    """The externs of all programs, then the kconfig values; each once."""
    loads = [op for op in trace.ops if isinstance(op, ProgLoad)]
    yield from dict.fromkeys(
        extern for load in loads for extern in used_externs(trace, load, btf).values()
    )
    for var in trace.kconfig.vars if trace.kconfig else ():
        type_id = btf.find(var.name, t.Var) if btf else None
        yield Extern(var.name, ExternKind.KCONFIG, var.is_weak, type_id or VOID, kconfig=var)


def _extern(trace: Trace, number: int, btf: Btf | None) -> Extern:
    find = trace.ops[number]
    assert isinstance(find, BtfFind | KsymFind)
    if isinstance(find, KsymFind):
        return Extern(find.name, ExternKind.KSYM, find.is_weak, VOID, is_typeless=True)
    if find.kind is not Kind.FUNC:
        return Extern(find.name, ExternKind.KSYM, find.is_weak, VOID)
    type_id = btf.find(find.name, t.Func) if btf else None
    return Extern(find.name, ExternKind.KFUNC, find.is_weak, type_id or VOID)


def inputs(trace: Trace) -> tuple[str, ...]:
    """The numbers known only on the target, in words."""
    return tuple(input_words(trace, number) for number in range(len(trace.inputs)))


def input_words(trace: Trace, number: int) -> str:
    """An input, in words."""
    kind = trace.inputs[number]
    if isinstance(kind, TypeSize):
        return f"size of struct {kind.type}"
    if isinstance(kind, MemberIndex):
        return f"index of member {kind.member} in struct {kind.type}"
    if isinstance(kind, TypeMismatch):
        return f"whether the kernel has another type than: {kind.declared}"
    program = trace.programs[kind.slot].name
    what = {AttachFd: "fd", AttachBtfId: "BTF id"}[type(kind)]
    return f"{what} of the attach target of program '{program}'"
