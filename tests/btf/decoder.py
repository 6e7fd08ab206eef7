"""Values: bytes described by BTF as plain Python, as text for people, and as JSON.

A `Decoder` is worked out once for a type: everything about the layout is checked then, against
BTF alone, so that decoding checks no more than that there are enough bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.btf.c import type_name
from lskel.btf.layout import Bits, Nesting, bitfield
from lskel.btf.types import TypeId
from lskel.cursor import mark
from lskel.errors import BadObject, at, printable

_FLOATS = {2: "e", 4: "f", 8: "d"}
_INTS = {1: "B", 2: "H", 4: "I", 8: "Q"}

Buffer: TypeAlias = bytes | bytearray | memoryview
_Read = Callable[[Buffer, int], "Value"]
_Handler = TypeVar("_Handler")


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


class _Plan(NamedTuple):
    """How to read a type: its size in bytes, and how many Python objects come of it."""

    read: _Read
    size: int
    parts: int
    fields: tuple[_Field, ...] = ()

    def checked(self, name: str, type_id: TypeId) -> _Plan:
        """The plan; LimitExceeded where far more comes of it than it has bytes."""
        limit = budget.VALUE_PARTS + budget.VALUE_PARTS_A_BYTE * self.size
        with at(f"BTF: '{name}' [{type_id}] of {self.size} bytes"):
            budget.check(self.parts, limit, "parts")
        return self


class _Field(NamedTuple):
    """A member or variable: its name, its offset in bytes, and how to read it from there."""

    name: str
    offset: int
    plan: _Plan


class Decoder:
    """Decodes values of one type.

    BadObject where the type is broken or cannot be a value, LimitExceeded where it has too many
    parts.

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
                plan = self._make(type_id).checked(self._btf[type_id].name, type_id)
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
            case t.Enum() if found.size in _INTS:
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
        return _truth(integer) if found.is_bool else integer

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
        if isinstance(behind, t.Int) and behind.is_text:
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
        for member in found.members:
            fields += self._member(member)
            with at(f"BTF: {found.kind.name} '{found.name}' [{type_id}]"):
                budget.check(len(fields), budget.MEMBERS, "members")
        plan = _of_fields(fields, found.size)
        if any(field.offset + field.plan.size > found.size for field in fields):
            raise BadObject(
                f"BTF: {found.kind.name} '{found.name}' [{type_id}] has members "
                f"behind its {found.size} bytes"
            )
        return plan

    def _member(self, member: t.Member) -> Iterable[_Field]:
        """The fields that a member becomes: itself, or those of an anonymous struct or union."""
        bits = bitfield(self._btf, member)
        if bits is None:
            first, plan = member.bit_offset // 8, self.plan(member.type)
        else:
            first, shift = divmod(bits.offset, 8)
            plan = self._bits(member.type, Bits(shift, bits.width))
        if member.name:
            return (_Field(member.name, first, plan),)
        # Other members without a name are padding: they have no fields.
        return (field._replace(offset=first + field.offset) for field in plan.fields)

    def _bits(self, type_id: TypeId, bits: Bits) -> _Plan:
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
        return _Plan(read, width, 1)

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

    parts = 1 + sum(field.plan.parts for field in fields)
    return _Plan(read, size, parts, tuple(fields))


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


def format_value(value: Value, *, max_items: int = 64) -> str:
    """One line for people: ``{pid=1, comm="bash", state=RUNNING, next=0xffff888100000000}``.

    Of a longer list the first `max_items` are printed, and how many more there are. What cannot be
    printed is escaped.
    """
    return printable(_text_of(value, max_items))


def to_json(value: Value) -> Json:
    """What `json.dumps` takes: enumerators by name; as text pointers, bytes, infinity and NaN."""
    return _handler(_JSONS, value)(value)


def _handler(table: Mapping[type, _Handler], value: Value) -> _Handler:
    for cls in type(value).__mro__:
        if cls in table:
            return table[cls]
    raise TypeError(f"{type(value).__name__} is no decoded value")


def _text_of(value: Value, max_items: int) -> str:
    return _handler(_TEXTS, value)(value, max_items)


def _list_text(value: list[Value], max_items: int) -> str:
    texts = [_text_of(item, max_items) for item in value[:max_items]]
    if len(value) > max_items:
        texts.append(f"... {len(value) - max_items} more")
    return f"[{', '.join(texts)}]"


def _dict_text(value: dict[str, Value], max_items: int) -> str:
    texts = (f"{name}={_text_of(part, max_items)}" for name, part in value.items())
    return f"{{{', '.join(texts)}}}"


_TEXTS: dict[type, Callable[[Any, int], str]] = {
    bool: lambda value, _: "true" if value else "false",
    int: lambda value, _: f"{value:d}",
    Pointer: lambda value, _: f"{value:#x}",
    float: lambda value, _: repr(value),
    str: lambda value, _: json.dumps(value, ensure_ascii=False),
    EnumValue: lambda value, _: str(value),
    bytes: lambda value, _: f"0x{value.hex()}",
    list: _list_text,
    dict: _dict_text,
}
_JSONS: dict[type, Callable[[Any], Json]] = {
    int: lambda value: value,
    Pointer: lambda value: f"{value:#x}",
    float: lambda value: value if math.isfinite(value) else repr(value),
    str: str,
    bytes: lambda value: f"0x{value.hex()}",
    list: lambda value: [to_json(item) for item in value],
    dict: lambda value: {name: to_json(part) for name, part in value.items()},
}
