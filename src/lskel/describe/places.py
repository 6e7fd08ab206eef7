"""Which instructions of a loader program touch its blob or its context, and where.

Loaders make addresses by adding constants to the blob's address, or offsets that they read, or
places of elements in a table. So following registers along the text is enough; where jumps meet,
what is the same on all ways stays known. Of ways back, only what its function assigns once is.
"""

from __future__ import annotations

from bisect import bisect_right
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
_FAR = i.JMP32 | i.JA
# What does not go on to the next instruction.
_NEVER_PASSED = (i.OP_EXIT, i.JMP | i.JA, _FAR)


class Area(Enum):
    """What an address points into."""

    BLOB = "blob"
    CONTEXT = "ctx"
    ELEMENT = "element"
    POINTED = "pointed"


class Place(NamedTuple):
    """`offset` bytes into an area.

    Of an element of a table in the blob, `offset` is where it would be if it were the first. What
    is pointed to lies in the blob, `offset` bytes from the offset that is kept at `kept`.
    """

    area: Area
    offset: int
    kept: Place | None = None


class _Number(NamedTuple):
    """A number to add to the blob's address: what was read at `kept`, else an index; and more."""

    more: int
    kept: Place | None = None


_Known = dict[int, Place | _Number]


class Touch(NamedTuple):
    """What an instruction does with a place: it reads or writes there, or makes its address."""

    place: Place
    accesses: bool


def touches(code: bytes, order: ByteOrder) -> dict[int, Touch]:
    """What the instructions do, by the index of their first slot."""
    insns = dict(_insns(code, order))
    entries = _entries(insns)
    starts = sorted(entries)
    writes = Counter(
        (bisect_right(starts, index), register)
        for index, insn in insns.items()
        for register in _written(insn)
    )
    ways = _Ways(insns)
    known: _Known | None = {1: Place(Area.CONTEXT, 0)}
    found = {}
    for index, insn in insns.items():
        known = ways.met(index, known)
        if index in entries or known is None:
            known = {}
        elif index in ways.back:
            function = bisect_right(starts, index)
            known = {reg: place for reg, place in known.items() if writes[function, reg] == 1}
        accessed = _accessed(insn, known)
        made = _made(insn, i.read(code, index + 1, order) if i.is_wide(insn) else None, known)
        for register in _written(insn):
            known.pop(register, None)
        if made is not None:
            known[insn.dst] = made
        known = ways.leave(index, insn, known)
        following = insns.get(index + 1)
        # The address is complete only once the constant is added.
        if accessed is None and following is not None and _adds(following, insn.dst):
            continue
        if isinstance(place := accessed or made, Place):
            found[index] = Touch(place, accessed is not None)
    return found


class _Ways:
    """What is known on the ways that meet at an instruction; None on a way that there is not."""

    def __init__(self, insns: dict[int, Insn]) -> None:
        self._known: dict[int, _Known] = {}
        self.back = {
            target
            for index, insn in insns.items()
            if (target := _target(index, insn)) is not None and target <= index
        }

    def met(self, index: int, known: _Known | None) -> _Known | None:
        """What is the same on all ways to here, of which `known` is the one along the text."""
        jumped = self._known.pop(index, None)
        if known is None or jumped is None:
            return jumped if known is None else known
        return dict(known.items() & jumped.items())

    def leave(self, index: int, insn: Insn, known: _Known) -> _Known | None:
        """What is known at the next instruction along the text."""
        target = _target(index, insn)
        if target is not None and target > index:
            self._known[target] = self.met(target, dict(known)) or {}
        return None if insn.op in _NEVER_PASSED else known


def _insns(code: bytes, order: ByteOrder) -> Iterator[tuple[int, Insn]]:
    """The instructions by their first slot; a wide one that is cut off does not count."""
    index, end = 0, i.count(code)
    while index < end:
        insn = i.read(code, index, order)
        width = 2 if i.is_wide(insn) else 1
        if index + width <= end:
            yield index, insn
        index += width


def _entries(insns: dict[int, Insn]) -> set[int]:
    """Where functions start."""
    return {
        index + 1 + insn.imm
        for index, insn in insns.items()
        if (i.is_wide(insn) and insn.src == Pseudo.FUNC)
        or (insn.op == i.OP_CALL and insn.src == CallKind.SUBPROGRAM)
    }


def _target(index: int, insn: Insn) -> int | None:
    """Where the instruction jumps to; None where it does not."""
    cls = insn.op & 0x07
    if cls not in (i.JMP, i.JMP32) or insn.op in (i.OP_EXIT, i.OP_CALL):
        return None
    return index + 1 + (insn.imm if insn.op == _FAR else insn.off)


def _written(insn: Insn) -> tuple[int, ...]:
    """The registers that the instruction changes."""
    cls = insn.op & 0x07
    if insn.op == i.OP_CALL:
        return tuple(_SCRATCH)
    if cls == i.STX and insn.op & 0xE0 == i.ATOMIC and insn.imm & _FETCH:
        return (0,) if insn.imm == _CMPXCHG else (insn.src,)
    return (insn.dst,) if cls in (i.ALU, i.ALU64, i.LD, i.LDX) else ()


def _accessed(insn: Insn, known: _Known) -> Place | None:
    cls = insn.op & 0x07
    if cls not in (i.LDX, i.ST, i.STX):
        return None
    base = known.get(insn.src if cls == i.LDX else insn.dst)
    return base._replace(offset=base.offset + insn.off) if isinstance(base, Place) else None


def _made(insn: Insn, second: Insn | None, known: _Known) -> Place | _Number | None:
    """The place whose address the instruction leaves in its destination, or part of one."""
    if second is not None:
        is_blob = insn.src == Pseudo.MAP_IDX_VALUE and insn.imm == 0
        return Place(Area.BLOB, second.imm) if is_blob else None
    if insn.op & 0x07 == i.LDX:
        return _read(_accessed(insn, known))
    if insn.op == i.ALU64 | i.MOV | i.X and not insn.off:
        return known.get(insn.src)
    if insn.op == i.ALU64 | i.LSH | i.K:
        return _Number(0)
    held = known.get(insn.dst)
    if insn.op == i.ALU64 | i.ADD | i.X:
        return _sum(held, known.get(insn.src))
    return _moved(held, insn.imm) if _adds(insn, insn.dst) else None


def _read(place: Place | None) -> _Number | None:
    """What lies at a place; what is kept where such an offset leads is no offset itself."""
    return None if place is None or place.kept is not None else _Number(0, place)


def _sum(held: Place | _Number | None, base: Place | _Number | None) -> Place | None:
    """The address of the blob, added to a number."""
    if not isinstance(held, _Number) or not isinstance(base, Place) or base.area is not Area.BLOB:
        return None
    area = Area.ELEMENT if held.kept is None else Area.POINTED
    return Place(area, base.offset + held.more, held.kept)


def _adds(insn: Insn, register: int) -> bool:
    return insn.op == i.ALU64 | i.ADD | i.K and insn.dst == register


def _moved(held: Place | _Number | None, distance: int) -> Place | _Number | None:
    if isinstance(held, _Number):
        return held._replace(more=held.more + distance)
    return None if held is None else held._replace(offset=held.offset + distance)
