"""Values: bytes described by BTF as plain Python, as text for people, and as JSON.

A `Decoder` is worked out once for a type: everything about the layout is checked then, against
BTF alone, so that decoding checks no more than that there are enough bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from functools import singledispatch
from typing import NamedTuple, TypeAlias

from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.btf.c import type_name
from lskel.btf.layout import Bits, Nesting, bitfield
from lskel.btf.types import TypeId
from lskel.cursor import mark
from lskel.errors import BadObject

# How many Python objects one value may become: so many, and some more for each of its bytes. Only
# BTF made with ill intent needs more (arrays of empty structs, unions of unions of unions).
MAX_PARTS = 1 << 20
MAX_PARTS_A_BYTE = 64

_FLOATS = {2: "e", 4: "f", 8: "d"}
_INTS = {1: "B", 2: "H", 4: "I", 8: "Q"}

Buffer: TypeAlias = bytes | bytearray | memoryview
_Read = Callable[[Buffer, int], "Value"]


class Pointer(int):
    """An address; prints as hexadecimal."""

    def __repr__(self) -> str:
        return f"{int(self):#x}"


class EnumValue(str):
    """The name of an enumerator; `value` is its number."""

    __slots__ = ("value",)
    value: int

    def __new__(cls, name: str, value: int) -> EnumValue:
        self = super().__new__(cls, name)
        self.value = value
        return self

    def __repr__(self) -> str:
        return f"EnumValue({str(self)!r}, {self.value})"


Value: TypeAlias = "int | float | str | bytes | list[Value] | dict[str, Value]"
"""bool and `Pointer` are ints, `EnumValue` is a str; bytes: a float too wide for Python."""
Json: TypeAlias = "int | float | str | list[Json] | dict[str, Json]"


class _Field(NamedTuple):
    name: str
    offset: int
    read: _Read


class _Plan(NamedTuple):
    """How to read a type: its size in bytes, and how many Python objects come of it."""

    read: _Read
    size: int
    parts: int
    fields: tuple[_Field, ...] = ()


class Decoder:
    """Decodes values of one type. BadObject where the type is broken or cannot be a value.

    ints and bit-fields become int or bool, characters and enumerators without a name int, arrays
    of char str (up to the first NUL), other arrays list, structs and unions dict in the order of
    their members (those of anonymous ones among them), a DATASEC a dict of its variables.
    """

    def __init__(self, btf: Btf, type_id: TypeId) -> None:
        self._name = type_name(btf, type_id)
        plan = _Planner(btf).plan(type_id)
        if plan.parts > MAX_PARTS + MAX_PARTS_A_BYTE * plan.size:
            raise BadObject(f"BTF: '{self._name}' [{type_id}] has {plan.parts} parts")
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
                return _Plan(self._int(found), found.size, 1)
            case t.Ptr():
                unsigned = self._integer(POINTER_SIZE, signed=False)
                return _Plan(lambda data, at: Pointer(unsigned(data, at)), POINTER_SIZE, 1)
            case t.Enum():
                integer = self._integer(found.size, found.signed)
                return _Plan(_named(found, integer), found.size, 1)
            case t.Float():
                return _Plan(self._float(found.size), found.size, 1)
            case t.Array():
                return self._array(found)
            case t.Composite():
                return self._composite(type_id, found)
            case t.Var():
                return self.plan(found.type)
            case t.Datasec():
                return self._datasec(found)
            case _:
                raise BadObject(
                    f"BTF: there are no values of {found.kind.name} '{found.name}' [{type_id}]"
                )

    def _integer(self, size: int, signed: bool) -> Callable[[Buffer, int], int]:
        order = self._btf.order
        return lambda data, at: int.from_bytes(data[at : at + size], order, signed=signed)

    def _int(self, found: t.Int) -> _Read:
        integer = self._integer(found.size, found.signed)
        if found.is_bool:
            return lambda data, at: bool(integer(data, at))
        return integer

    def _float(self, size: int) -> _Read:
        if size not in _FLOATS:
            return lambda data, at: bytes(data[at : at + size])
        unpack = struct.Struct(mark(self._btf.order) + _FLOATS[size]).unpack_from
        return lambda data, at: float(unpack(data, at)[0])

    def _array(self, found: t.Array) -> _Plan:
        count = found.nelems
        element = self.plan(found.type)
        size = count * element.size
        behind = self._btf[self._btf.resolve(found.type)]
        if isinstance(behind, t.Int) and _is_text(behind):
            return _Plan(lambda data, at: _text(data[at : at + size]), size, 1)
        if isinstance(behind, t.Int) and behind.size in _INTS and not behind.is_bool:
            code = _INTS[behind.size]
            form = f"{mark(self._btf.order)}{count}{code.lower() if behind.signed else code}"
            return _Plan(lambda data, at: list(struct.unpack_from(form, data, at)), size, 1 + count)
        read, step = element.read, element.size
        return _Plan(
            lambda data, at: [read(data, at + number * step) for number in range(count)],
            size,
            1 + count * element.parts,
        )

    def _composite(self, type_id: TypeId, found: t.Composite) -> _Plan:
        fields: list[_Field] = []
        parts = 1
        for member in found.members:
            for field, width, cost in self._member(member):
                if field.offset + width > found.size:
                    raise BadObject(
                        f"BTF: member '{member.name}' of {found.kind.name} '{found.name}' "
                        f"[{type_id}] ends behind its {found.size} bytes"
                    )
                fields.append(field)
                parts += cost
        return _fields(fields, found.size, parts)

    def _member(self, member: t.Member) -> Iterator[tuple[_Field, int, int]]:
        """The fields that a member becomes, each with its size in bytes and its parts."""
        bits = bitfield(self._btf, member)
        if bits is not None:
            first, shift = divmod(bits.offset, 8)
            width = -(-(shift + bits.width) // 8)
            if member.name:
                read = self._bits(member.type, Bits(shift, bits.width), width)
                yield _Field(member.name, first, read), width, 1
            return
        offset = member.bit_offset // 8
        plan = self.plan(member.type)
        if member.name:
            yield _Field(member.name, offset, plan.read), plan.size, plan.parts
            return
        # Members of an anonymous struct or union; other members without a name are padding.
        for name, inner, read in plan.fields:
            yield _Field(name, offset + inner, read), plan.size - inner, plan.parts

    def _bits(self, type_id: TypeId, bits: Bits, width: int) -> _Read:
        found = self._btf[self._btf.resolve(type_id)]
        order = self._btf.order
        shift = bits.offset if order == "little" else 8 * width - bits.offset - bits.width
        mask = (1 << bits.width) - 1
        sign = (mask + 1) >> 1 if isinstance(found, t.Int | t.Enum) and found.signed else 0

        def integer(data: Buffer, at: int) -> int:
            value = int.from_bytes(data[at : at + width], order) >> shift & mask
            return (value ^ sign) - sign

        if isinstance(found, t.Enum):
            return _named(found, integer)
        if isinstance(found, t.Int) and found.is_bool:
            return lambda data, at: bool(integer(data, at))
        return integer

    def _datasec(self, found: t.Datasec) -> _Plan:
        fields: list[_Field] = []
        parts, end = 1, found.size
        for variable in found.vars:
            var = self._btf[variable.type]
            # Extern functions and typeless externs have no value.
            if isinstance(var, t.Var) and self._btf.resolve(var.type) != t.VOID:
                plan = self.plan(var.type)
                fields.append(_Field(var.name, variable.offset, plan.read))
                parts += plan.parts
                end = max(end, variable.offset + plan.size)
        return _fields(fields, end, parts)


def _fields(fields: list[_Field], size: int, parts: int) -> _Plan:
    def read(data: Buffer, at: int) -> Value:
        return {name: read_field(data, at + offset) for name, offset, read_field in fields}

    return _Plan(read, size, parts, tuple(fields))


def _named(found: t.Enum, integer: Callable[[Buffer, int], int]) -> _Read:
    # BTF may hold the same number signed and unsigned (old compilers): compare the bits.
    mask = (1 << 8 * found.size) - 1
    names: dict[int, EnumValue] = {}
    for name, number in found.values:
        names.setdefault(number & mask, EnumValue(name, number))

    def read(data: Buffer, at: int) -> Value:
        number = integer(data, at)
        return names.get(number & mask, number)

    return read


def _is_text(element: t.Int) -> bool:
    """Whether an array of it is text: C's `char`, not its signed and unsigned kin (bytes)."""
    return element.size == 1 and (
        element.name == "char" or bool(element.encoding & t.IntEncoding.CHAR)
    )


def _text(data: Buffer) -> str:
    return bytes(data).partition(b"\0")[0].decode("utf-8", "backslashreplace")


@singledispatch
def _format(value: object, max_items: int) -> str:
    raise TypeError(f"{type(value).__name__} is not a decoded value")
