"""Which instructions of a loader program touch its blob or its context, and where.

Loaders make addresses by adding constants to the blob's address. So following registers along the
text is enough; where code can be jumped to, only what is assigned once stays known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.cursor import ByteOrder

_FETCH = 0x01
_CMPXCHG = 0xF0 | _FETCH
_SCRATCH = range(6)


class Area(Enum):
    """What an address points into."""

    BLOB = "blob"
    CONTEXT = "ctx"


class Place(NamedTuple):
    """`offset` bytes into an area."""

    area: Area
    offset: int


class Touch(NamedTuple):
    """What an instruction does with a place: it reads or writes there, or makes its address."""

    place: Place
    accesses: bool


def touches(code: bytes, order: ByteOrder) -> dict[int, Touch]:
    """What the instructions do, by the index of their first slot."""
    insns = dict(_insns(code, order))
    targets, entries = _joins(insns)
    writes = Counter(register for insn in insns.values() for register in _written(insn))
    known = {1: Place(Area.CONTEXT, 0)}
    found = {}
    for index, insn in insns.items():
        if index in entries:
            known = {}
        elif index in targets:
            known = {reg: place for reg, place in known.items() if writes[reg] == 1}
        accessed = _accessed(insn, known)
        made = _made(insn, i.read(code, index + 1, order) if i.is_wide(insn) else None, known)
        for register in _written(insn):
            known.pop(register, None)
        if made is not None:
            known[insn.dst] = made
        following = insns.get(index + 1)
        # The address is complete only once the constant is added.
        if made is not None and following is not None and _adds(following, insn.dst):
            continue
        if (place := accessed or made) is not None:
            found[index] = Touch(place, accessed is not None)
    return found


def _insns(code: bytes, order: ByteOrder) -> Iterator[tuple[int, Insn]]:
    """The instructions by their first slot; a wide one that is cut off does not count."""
    index, end = 0, i.count(code)
    while index < end:
        insn = i.read(code, index, order)
        width = 2 if i.is_wide(insn) else 1
        if index + width <= end:
            yield index, insn
        index += width


def _joins(insns: dict[int, Insn]) -> tuple[set[int], set[int]]:
    """Where jumps lead to, and where functions start."""
    targets, entries = set(), set()
    for index, insn in insns.items():
        cls = insn.op & 0x07
        if i.is_wide(insn) and insn.src == Pseudo.FUNC:
            entries.add(index + 1 + insn.imm)
        elif insn.op == i.OP_CALL:
            if insn.src == CallKind.SUBPROGRAM:
                entries.add(index + 1 + insn.imm)
        elif cls in (i.JMP, i.JMP32) and insn.op != i.OP_EXIT:
            far = insn.op == i.JMP32 | i.JA
            targets.add(index + 1 + (insn.imm if far else insn.off))
    return targets, entries


def _written(insn: Insn) -> tuple[int, ...]:
    """The registers that the instruction changes."""
    cls = insn.op & 0x07
    if insn.op == i.OP_CALL:
        return tuple(_SCRATCH)
    if cls == i.STX and insn.op & 0xE0 == i.ATOMIC and insn.imm & _FETCH:
        return (0,) if insn.imm == _CMPXCHG else (insn.src,)
    return (insn.dst,) if cls in (i.ALU, i.ALU64, i.LD, i.LDX) else ()


def _accessed(insn: Insn, known: dict[int, Place]) -> Place | None:
    cls = insn.op & 0x07
    if cls not in (i.LDX, i.ST, i.STX):
        return None
    return _moved(known.get(insn.src if cls == i.LDX else insn.dst), insn.off)


def _made(insn: Insn, second: Insn | None, known: dict[int, Place]) -> Place | None:
    """The place whose address the instruction leaves in its destination."""
    if second is not None:
        is_blob = insn.src == Pseudo.MAP_IDX_VALUE and insn.imm == 0
        return Place(Area.BLOB, second.imm) if is_blob else None
    if insn.op == i.ALU64 | i.MOV | i.X and not insn.off:
        return known.get(insn.src)
    return _moved(known.get(insn.dst), insn.imm) if _adds(insn, insn.dst) else None


def _adds(insn: Insn, register: int) -> bool:
    return insn.op == i.ALU64 | i.ADD | i.K and insn.dst == register


def _moved(place: Place | None, distance: int) -> Place | None:
    return None if place is None else place._replace(offset=place.offset + distance)
