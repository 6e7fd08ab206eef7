"""How C lays out BTF types: bit-fields, natural alignment, and which structs must be packed.

BTF has the offsets of members, but not the attributes that caused them. The rules here are those of
the common 64-bit ABIs (System V x86-64, AAPCS64, BPF): a scalar is aligned to its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from lskel.btf import types as t
from lskel.btf.btf import MAX_DEPTH, Btf
from lskel.btf.types import TypeId
from lskel.errors import BadObject, LskelError

MAX_ALIGN = 16


class BitField(NamedTuple):
    """The position of a bit-field, in bits from the start of the struct, counted as in BTF.

    Bit 0 is the lowest bit of the first byte on little endian, the highest on big endian.
    """

    offset: int
    width: int


def bitfield(btf: Btf, member: t.BtfMember) -> BitField | None:
    """The position of a bit-field member, None for other members.

    Supports the encoding before Linux 4.20, in which the width is that of the integer type.
    BadObject if a bit-field is neither integer nor enum, or is wider than its type.
    """
    behind = btf[btf.resolve(member.type)]
    if member.bitfield_size:
        place = BitField(member.bit_offset, member.bitfield_size)
    elif isinstance(behind, t.Int) and (behind.offset or behind.bits != 8 * behind.size):
        place = BitField(member.bit_offset + behind.offset, behind.bits)
    elif member.bit_offset % 8 == 0:
        return None
    else:
        place = BitField(member.bit_offset, 8 * btf.size_of(member.type))
    if not isinstance(behind, t.Int | t.Enum) or not 0 < place.width <= 8 * behind.size:
        raise BadObject(
            f"BTF: member '{member.name}' of {place.width} bits at bit {place.offset} "
            f"is of {behind.kind.name} '{behind.name}' [{member.type}]"
        )
    return place


class Nesting:
    """Guard of a recursive walk over types: no type contains itself, and depth is limited.

    A type in which the walk failed is not entered again: it raises the same error.
    """

    def __init__(self, limit: int = MAX_DEPTH) -> None:
        self._limit = limit
        self._open: set[tuple[TypeId, bool]] = set()
        self._failed: dict[tuple[TypeId, bool], LskelError] = {}

    @contextmanager
    def inside(self, type_id: TypeId, mark: bool = False) -> Iterator[None]:
        """Enter a type; `mark` distinguishes two ways in which a walk may visit a type."""
        key = (type_id, mark)
        if key in self._failed:
            raise self._failed[key].with_traceback(None)
        if key in self._open:
            raise BadObject(f"BTF: type [{type_id}] contains itself")
        if len(self._open) >= self._limit:
            raise BadObject(f"BTF: type [{type_id}] is nested in more than {self._limit} types")
        self._open.add(key)
        try:
            yield
        except LskelError as error:
            self._failed[key] = error
            raise
        finally:
            self._open.discard(key)


class TypeLayout:
    """Alignment of the types of one `btf`; each struct is computed once."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._known: dict[TypeId, tuple[int, bool]] = {}
        self._nesting = Nesting()

    def align(self, type_id: TypeId) -> int:
        """Alignment in bytes in C without attributes other than `packed`."""
        element = self._btf.element(type_id)
        if isinstance(self._btf[element], t.CompositeType):
            return self._composite(element)[0]
        size = self._btf.size_of(element)
        return min(size & -size, MAX_ALIGN) or 1

    def is_packed(self, type_id: TypeId) -> bool:
        """Whether a STRUCT or UNION needs `packed` for the member offsets in BTF."""
        return self._composite(type_id)[1]

    def natural(self, end: int, member: t.BtfMember, *, packed: bool) -> int:
        """The bit offset that a compiler chooses for a member after `end` used bits."""
        bits = bitfield(self._btf, member)
        if bits is None:
            return round_up(end, 8 if packed else 8 * self.align(member.type))
        unit = 8 * self._btf.size_of(member.type)
        return end if packed or _within(unit, end, bits.width) else round_up(end, unit)

    def _composite(self, type_id: TypeId) -> tuple[int, bool]:
        known = self._known.get(type_id)
        if known is None:
            with self._nesting.inside(type_id):
                known = self._work_out(self._btf.get(type_id, t.CompositeType))
            self._known[type_id] = known
        return known

    def _work_out(self, found: t.CompositeType) -> tuple[int, bool]:
        aligns = [self.align(member.type) for member in found.members]
        widest = max(aligns, default=1)
        natural = found.size % widest == 0 and all(
            self._is_natural(member, align)
            for member, align in zip(found.members, aligns, strict=True)
        )
        return (widest, False) if natural else (1, True)

    def _is_natural(self, member: t.BtfMember, align: int) -> bool:
        bits = bitfield(self._btf, member)
        if bits is None:
            return member.bit_offset % (8 * align) == 0
        return _within(8 * self._btf.size_of(member.type), *bits)


def _within(unit: int, offset: int, width: int) -> bool:
    """Whether bits are within one unit, as for bit-fields in structs that are not packed."""
    return offset // unit == (offset + width - 1) // unit


def round_up(value: int, unit: int) -> int:
    """The next multiple of `unit`."""
    return -(-value // unit) * unit
