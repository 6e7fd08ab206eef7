"""References of instructions by fd or fd_array index, and the starts of functions."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.cursor import ByteOrder


class Target(Enum):
    """What instructions refer to."""

    MAP = auto()
    VALUE = auto()
    BTF = auto()


class InsnReference(NamedTuple):
    """Instruction `insn` refers to a map, to an offset into its value, or to a module's BTF.

    `fd` is set where the fd is in the code, at the immediate of slot `at`; else `slot` is an index
    of fd_array. An fd of 0 means no BTF and is not a reference.
    """

    insn: int
    to: Target
    fd: int | None
    slot: int | None
    at: int = -1
    offset: int = 0


_BY_FD = {Pseudo.MAP_FD: Target.MAP, Pseudo.MAP_VALUE: Target.VALUE}
_BY_SLOT = {Pseudo.MAP_IDX: Target.MAP, Pseudo.MAP_IDX_VALUE: Target.VALUE}


def references(code: bytes, order: ByteOrder) -> Iterator[InsnReference]:
    """All references, in order of kind and then of instruction."""
    last = i.count(code) - 1
    for index in i.find(code, i.OP_LD_IMM64):
        if index == last:
            break
        insn, second = i.read(code, index, order), i.read(code, index + 1, order)
        if insn.src in _BY_FD:
            kind = _BY_FD[Pseudo(insn.src)]
            yield InsnReference(index, kind, insn.imm, None, index, second.imm)
        elif insn.src in _BY_SLOT:
            kind = _BY_SLOT[Pseudo(insn.src)]
            yield InsnReference(index, kind, None, insn.imm, offset=second.imm)
        elif insn.src == Pseudo.BTF_ID and second.imm:
            yield InsnReference(index, Target.BTF, second.imm, None, index + 1)
    for index, insn in calls(code, order, CallKind.KFUNC):
        if insn.off:
            yield InsnReference(index, Target.BTF, None, insn.off)


def calls(code: bytes, order: ByteOrder, kind: CallKind) -> Iterator[tuple[int, Insn]]:
    """The calls of a kind with their indexes."""
    for index in i.find(code, i.OP_CALL):
        insn = i.read(code, index, order)
        if insn.src == kind:
            yield index, insn


def function_starts(code: bytes, order: ByteOrder) -> list[int]:
    """The starts of functions, ascending: the program, and functions it calls or passes."""
    starts = {0}
    for index, insn in calls(code, order, CallKind.SUBPROGRAM):
        starts.add(index + 1 + insn.imm)
    for index in i.find(code, i.OP_LD_IMM64):
        insn = i.read(code, index, order)
        if insn.src == Pseudo.FUNC:
            starts.add(index + 1 + insn.imm)
    return sorted(starts)
