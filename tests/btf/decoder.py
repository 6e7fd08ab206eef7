"""Values: bytes described by BTF as plain Python, worked out without classes.

What `lskel.skeleton.types` and `lskel.runtime.values` make of them is compared with it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.btf.c import type_name
from lskel.btf.layout import BitField, Nesting, bitfield
from lskel.btf.types import TypeId
from lskel.cursor import mark
from lskel.errors import BadObject

_FLOATS = {2: "e", 4: "f", 8: "d"}
_INTS = {1: "B", 2: "H", 4: "I", 8: "Q"}

Buffer: TypeAlias = bytes | bytearray | memoryview
_Read = Callable[[Buffer, int], "Value"]


class EnumValue(str):
    """The name of an enumerator; `value` is its number."""

    __slots__ = ("value",)
    value: int

    def __new__(cls, name: str, value: int) -> EnumValue:
        self = super().__new__(cls, name)
        self.value = value
        return self


Value: TypeAlias = "int | float | str | bytes | list[Value] | dict[str, Value]"
"""`EnumValue` is a str; bytes: a float too wide for Python."""


class _Plan(NamedTuple):
    """How to read a type, and its size in bytes."""

    read: _Read
    size: int
    fields: tuple[_Field, ...] = ()


class _Field(NamedTuple):
    """A member or variable: its name, its offset in bytes, and how to read it from there."""

    name: str
    offset: int
    plan: _Plan


class Decoder:
    """Decodes values of one type.

    BadObject where the type is broken or cannot be a value.

    ints and bit-fields become int or bool, characters and enumerators without a name int, arrays
    of char str (up to the first NUL), other arrays list, structs and unions dict in the order of
    their members (those of anonymous ones among them), a DATASEC a dict of its variables.
    """

    def __init__(self, btf: Btf, type_id: TypeId) -> None:
        self._name = type_name(btf, type_id)
        plan = _Planner(btf).plan(type_id)
        self.size = plan.size
        self._read = plan.read

    def __call__(self, data: Buffer, offset: int = 0) -> Value:
        """The value that begins at `offset` (in bytes); BadObject where `data` is too short."""
        if not 0 <= offset <= len(data) - self.size:
            raise BadObject(
                f"'{self._name}' of {self.size} bytes at offset {offset} "
                f"is not within {len(data)} bytes"
            )
        return self._read(data, offset)


def decode(btf: Btf, type_id: TypeId, data: Buffer, offset: int = 0) -> Value:
    """One value; keep a `Decoder` to decode many of one type. Errors as of `Decoder`."""
    return Decoder(btf, type_id)(data, offset)


class _Planner:
    """Makes plans, one for each type that is met."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._plans: dict[TypeId, _Plan] = {}
        self._nesting = Nesting()

    def plan(self, type_id: TypeId) -> _Plan:
        type_id = self._btf.resolve(type_id)
        plan = self._plans.get(type_id)
        if plan is None:
            with self._nesting.inside(type_id):
                plan = self._make(type_id)
            self._plans[type_id] = plan
        return plan

    def _make(self, type_id: TypeId) -> _Plan:
        found = self._btf[type_id]
        match found:
            case t.Int():
                return _Plan(self._int(found), found.size)
            case t.Ptr():
                return _Plan(self._integer(POINTER_SIZE, signed=False), POINTER_SIZE)
            case t.Enum() if found.size in _INTS:
                integer = self._integer(found.size, found.signed)
                return _Plan(_named(found, integer), found.size)
            case t.Float():
                return _Plan(self._float(found.size), found.size)
            case t.ArrayType():
                return self._array(found)
            case t.CompositeType():
                return self._composite(type_id, found)
            case t.Var():
                return self.plan(found.type)
            case t.Datasec():
                return self._datasec(found)
            case _:
                raise BadObject(f"BTF: {found.kind.name} '{found.name}' [{type_id}] has no values")

    def _integer(self, size: int, signed: bool) -> Callable[[Buffer, int], int]:
        order = self._btf.order
        return lambda data, at: int.from_bytes(data[at : at + size], order, signed=signed)

    def _int(self, found: t.Int) -> _Read:
        integer = self._integer(found.size, found.signed)
        return _truth(integer) if found.is_bool else integer

    def _float(self, size: int) -> _Read:
        if size not in _FLOATS:
            return lambda data, at: bytes(data[at : at + size])
        unpack = struct.Struct(mark(self._btf.order) + _FLOATS[size]).unpack_from
        return lambda data, at: float(unpack(data, at)[0])

    def _array(self, found: t.ArrayType) -> _Plan:
        count = found.nelems
        element = self.plan(found.type)
        size = count * element.size
        behind = self._btf[self._btf.resolve(found.type)]
        if isinstance(behind, t.Int) and behind.is_text:
            return _Plan(lambda data, at: _text(data[at : at + size]), size)
        if isinstance(behind, t.Int) and behind.size in _INTS and not behind.is_bool:
            code = _INTS[behind.size]
            form = f"{mark(self._btf.order)}{count}{code.lower() if behind.signed else code}"
            return _Plan(lambda data, at: list(struct.unpack_from(form, data, at)), size)
        read, step = element.read, element.size
        return _Plan(
            lambda data, at: [read(data, at + number * step) for number in range(count)],
            size,
        )

    def _composite(self, type_id: TypeId, found: t.CompositeType) -> _Plan:
        fields: list[_Field] = []
        for member in found.members:
            fields += self._member(member)
        plan = _of_fields(fields, found.size)
        if any(field.offset + field.plan.size > found.size for field in fields):
            raise BadObject(
                f"BTF: {found.kind.name} '{found.name}' [{type_id}] has members "
                f"behind its {found.size} bytes"
            )
        return plan

    def _member(self, member: t.BtfMember) -> Iterable[_Field]:
        """The fields that a member becomes: itself, or those of an anonymous struct or union."""
        bits = bitfield(self._btf, member)
        if bits is None:
            first, plan = member.bit_offset // 8, self.plan(member.type)
        else:
            first, shift = divmod(bits.offset, 8)
            plan = self._bits(member.type, BitField(shift, bits.width))
        if member.name:
            return (_Field(member.name, first, plan),)
        # Other members without a name are padding: they have no fields.
        return (field._replace(offset=first + field.offset) for field in plan.fields)

    def _bits(self, type_id: TypeId, bits: BitField) -> _Plan:
        found = self._btf[self._btf.resolve(type_id)]
        order = self._btf.order
        width = -(-(bits.offset + bits.width) // 8)
        shift = bits.offset if order == "little" else 8 * width - bits.offset - bits.width
        mask = (1 << bits.width) - 1
        sign = (mask + 1) >> 1 if isinstance(found, t.Int | t.Enum) and found.signed else 0

        def integer(data: Buffer, at: int) -> int:
            value = int.from_bytes(data[at : at + width], order) >> shift & mask
            return (value ^ sign) - sign

        read: _Read = integer
        if isinstance(found, t.Enum):
            read = _named(found, integer)
        elif isinstance(found, t.Int) and found.is_bool:
            read = _truth(integer)
        return _Plan(read, width)

    def _datasec(self, found: t.Datasec) -> _Plan:
        fields: list[_Field] = []
        for variable in found.vars:
            var = self._btf[variable.type]
            # Extern functions and typeless externs have no value.
            if isinstance(var, t.Var) and self._btf.resolve(var.type) != t.VOID:
                fields.append(_Field(var.name, variable.offset, self.plan(var.type)))
        # As compiled, sections have size 0: the loader is to find it out.
        end = max((field.offset + field.plan.size for field in fields), default=0)
        return _of_fields(fields, max(found.size, end))


def _of_fields(fields: Sequence[_Field], size: int) -> _Plan:
    reads = [(field.name, field.offset, field.plan.read) for field in fields]

    def read(data: Buffer, at: int) -> Value:
        return {name: read_field(data, at + offset) for name, offset, read_field in reads}

    return _Plan(read, size, tuple(fields))


def _truth(integer: Callable[[Buffer, int], int]) -> _Read:
    return lambda data, at: bool(integer(data, at))


def _named(found: t.Enum, integer: Callable[[Buffer, int], int]) -> _Read:
    # BTF may hold the same number signed and unsigned (old compilers): compare the bits.
    mask = (1 << 8 * min(found.size, 8)) - 1
    names: dict[int, EnumValue] = {}
    for name, number in found.values:
        names.setdefault(number & mask, EnumValue(name, number))

    def read(data: Buffer, at: int) -> Value:
        number = integer(data, at)
        return names.get(number & mask, number)

    return read


def _text(data: Buffer) -> str:
    return bytes(data).partition(b"\0")[0].decode("utf-8", "backslashreplace")
