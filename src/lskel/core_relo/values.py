"""The number that a relocation puts into its instruction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lskel.btf import types as t
from lskel.btf.types import VOID, TypeId
from lskel.core_relo.access import Access
from lskel.core_relo.records import CoreKind
from lskel.errors import BadObject

_MASK = 0xFFFFFFFFFFFFFFFF


class CoreValue(NamedTuple):
    """The number (64 bits). `size` and `type` are those of a field that is read at this offset.

    `is_exact`: the compiler's instruction has the same number as the object's BTF; not so for
    bit-fields, whose load the compiler chooses, nor for type ids, which linking changes.
    """

    number: int
    size: int = 0
    type: TypeId = VOID
    is_exact: bool = True


def value_of(kind: CoreKind, access: Access | None) -> CoreValue | None:
    """The value; None if the instruction cannot be relocated without what is accessed.

    What does not exist is 0 as a type, and as a question of existence.
    """
    if access is None:
        return CoreValue(0) if kind in _ZERO_IF_MISSING else None
    return _VALUES[kind](access)


_ZERO_IF_MISSING = frozenset(CoreKind) - {
    *(CoreKind.BYTE_OFF, CoreKind.BYTE_SZ, CoreKind.SIGNED),
    *(CoreKind.LSHIFT_U64, CoreKind.RSHIFT_U64, CoreKind.ENUMVAL_VALUE),
}


class _Field(NamedTuple):
    """The load that reads a field: where, how many bytes, and which bits of them."""

    type: TypeId
    byte_offset: int
    byte_size: int
    first_bit: int
    bits: int
    is_bitfield: bool


def _field(access: Access) -> _Field:
    """The field of the last step. BadObject if no load of up to 8 bytes has all bits."""
    btf, step = access.btf, access.steps[-1]
    if not step.name:
        size = btf.size_of(step.type)
        return _Field(step.type, access.bit_offset // 8, size, 0, size * 8, False)
    member = btf.get(step.type, t.CompositeType).members[step.number]
    type_id = btf.resolve(member.type)
    size = btf.size_of(type_id)
    if not member.bitfield_size:
        return _Field(type_id, access.bit_offset // 8, size, 0, size * 8, False)
    if not size:
        raise BadObject(f"BTF: type [{type_id}] of bit-field '{member.name}' has no size")
    while True:
        start = access.bit_offset // 8 // size * size
        first_bit = access.bit_offset - start * 8
        if first_bit + member.bitfield_size <= size * 8:
            return _Field(type_id, start, size, first_bit, member.bitfield_size, True)
        if size >= 8:
            raise BadObject(f"bit-field '{member.name}' does not fit a load of 8 bytes")
        size *= 2


def _byte_offset(access: Access) -> CoreValue:
    field = _field(access)
    if field.is_bitfield:
        return CoreValue(field.byte_offset, is_exact=False)
    return CoreValue(field.byte_offset, field.byte_size, field.type)


def _byte_size(access: Access) -> CoreValue:
    field = _field(access)
    return CoreValue(field.byte_size, is_exact=not field.is_bitfield)


def _named(access: Access) -> _Field:
    if not access.steps[-1].name:
        raise BadObject("only the offset and size of an array's element can be relocated")
    return _field(access)


def _signed(access: Access) -> CoreValue:
    found = access.btf[_named(access).type]
    return CoreValue(int(isinstance(found, t.Int | t.Enum) and found.signed))


def _left_shift(access: Access) -> CoreValue:
    """By how much the field's first bit is shifted out of a u64."""
    field = _named(access)
    if access.btf.order == "little":
        shift = 64 - field.first_bit - field.bits
    else:
        shift = (8 - field.byte_size) * 8 + field.first_bit
    return CoreValue(shift & _MASK, is_exact=not field.is_bitfield)


def _right_shift(access: Access) -> CoreValue:
    return CoreValue(64 - _named(access).bits & _MASK)


def _exists(access: Access) -> CoreValue:
    return CoreValue(1)


def _type_id(access: Access) -> CoreValue:
    return CoreValue(access.root, is_exact=False)


def _type_size(access: Access) -> CoreValue:
    return CoreValue(access.btf.size_of(access.root))


def _enumerator(access: Access) -> CoreValue:
    """Values of 32 bits are sign-extended, also those of unsigned enums, as in the kernel."""
    step = access.steps[0]
    found = access.btf.get(step.type, t.Enum)
    value = found.values[step.number][1]
    if not isinstance(found, t.Enum64) and value >= 1 << 31:
        value -= 1 << 32
    return CoreValue(value & _MASK)


_VALUES: Mapping[CoreKind, Callable[[Access], CoreValue]] = {
    CoreKind.BYTE_OFF: _byte_offset,
    CoreKind.BYTE_SZ: _byte_size,
    CoreKind.FIELD_EXISTS: _exists,
    CoreKind.SIGNED: _signed,
    CoreKind.LSHIFT_U64: _left_shift,
    CoreKind.RSHIFT_U64: _right_shift,
    CoreKind.LOCAL_TYPE_ID: _type_id,
    CoreKind.TARGET_TYPE_ID: _type_id,
    CoreKind.TYPE_EXISTS: _exists,
    CoreKind.TYPE_SIZE: _type_size,
    CoreKind.TYPE_MATCHES: _exists,
    CoreKind.ENUMVAL_EXISTS: _exists,
    CoreKind.ENUMVAL_VALUE: _enumerator,
}
