"""Setting variables from text: ``stats.limits[2] = 0x10`` in the bytes of a data section."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.btf.integers import bool_refusal, integer_refusal
from lskel.btf.layout import bitfield
from lskel.btf.types import TypeId
from lskel.cursor import mark
from lskel.errors import OutOfRange, UsageError, WrongValue, at, unknown

_STEP = re.compile(r"\.?(?P<member>[A-Za-z_]\w*)|\[(?P<index>\d+)\]", re.ASCII)
_TRUTH = {"true": 1, "y": 1, "false": 0, "n": 0}
_FLOATS = {4: "f", 8: "d"}


class ValueLocation(NamedTuple):
    """The location of a value: first bit, number of bits, and type."""

    bit: int
    width: int
    type: TypeId


def assign(btf: Btf, section: TypeId, memory: bytearray | memoryview, path: str, text: str) -> None:
    """Write a value, given as text, to the variable, member or element `path`.

    `memory` is the DATASEC's content. Integers are decimal, 0x, 0o or 0b, `true` and `false`, or an
    enumerator name; arrays of char take text; other arrays of scalars take comma-separated numbers.

    UnknownName if `path` does not exist; OutOfRange or WrongValue if the text is not a value of its
    type.
    """
    with at(path):
        place = _place(btf, section, path)
        _write(btf, memory, place, text)


def _place(btf: Btf, section: TypeId, path: str) -> ValueLocation:
    steps = list(_STEP.finditer(path))
    if not steps or "".join(step[0] for step in steps) != path or not steps[0]["member"]:
        raise UsageError("expected a variable name, optionally with .member and [index]")
    place = _variable(btf, section, steps[0]["member"])
    for step in steps[1:]:
        place = (
            _member(btf, place, step["member"])
            if step["member"]
            else _element(btf, place, int(step["index"]))
        )
    return place


def _variable(btf: Btf, section: TypeId, name: str) -> ValueLocation:
    names = []
    for info in btf.get(section, t.Datasec).vars:
        var = btf[info.type]
        if isinstance(var, t.Var):
            if var.name == name:
                return ValueLocation(8 * info.offset, 8 * btf.size_of(var.type), var.type)
            names.append(var.name)
    raise unknown("variable", name, names)


def _member(btf: Btf, place: ValueLocation, name: str) -> ValueLocation:
    found = btf[btf.resolve(place.type)]
    if not isinstance(found, t.CompositeType):
        raise UsageError(f"'{name}': not a member of a struct or union")
    inside = _find_member(btf, place.type, name)
    if inside is None:
        raise unknown("member", name, (member.name for member in found.members if member.name))
    return inside._replace(bit=place.bit + inside.bit)


def _find_member(btf: Btf, type_id: TypeId, name: str) -> ValueLocation | None:
    """The first member of a name, including those of anonymous structs; searches each type once."""
    pending, seen = [(type_id, 0)], set[TypeId]()
    while pending:
        type_id, start = pending.pop()
        type_id = btf.resolve(type_id)
        found = btf[type_id]
        if not isinstance(found, t.CompositeType) or type_id in seen:
            continue
        seen.add(type_id)
        inside = []
        for member in found.members:
            if not member.name:
                inside.append((member.type, start + member.bit_offset))
            elif member.name == name:
                bits = bitfield(btf, member)
                place, width = bits or (member.bit_offset, 8 * btf.size_of(member.type))
                return ValueLocation(start + place, width, member.type)
        pending += reversed(inside)
    return None


def _element(btf: Btf, place: ValueLocation, index: int) -> ValueLocation:
    found = btf[btf.resolve(place.type)]
    if not isinstance(found, t.ArrayType):
        raise UsageError(f"[{index}]: not an element of an array")
    if index >= found.nelems:
        raise OutOfRange(f"[{index}] is out of range: the array has {found.nelems} elements")
    width = 8 * btf.size_of(found.type)
    return ValueLocation(place.bit + index * width, width, found.type)


def _write(btf: Btf, memory: bytearray | memoryview, place: ValueLocation, text: str) -> None:
    found = btf[btf.resolve(place.type)]
    start, size = place.bit // 8, place.width // 8
    match found:
        case t.ArrayType():
            element = btf[btf.resolve(found.type)]
            if isinstance(element, t.Int) and element.is_text:
                memory[start : start + size] = _characters(text, size)
                return
            parts = text.split(",")
            if len(parts) != found.nelems:
                raise WrongValue(f"expected {found.nelems} elements, got {len(parts)}")
            for index, part in enumerate(parts):
                _write(btf, memory, _element(btf, place, index), part)
        case t.Float() if size in _FLOATS:
            try:
                memory[start : start + size] = struct.pack(
                    mark(btf.order) + _FLOATS[size], float(text)
                )
            except (ValueError, OverflowError) as error:
                raise WrongValue(f"'{text}' is not a number of {size} bytes") from error
        case t.Int() | t.Enum() | t.Ptr():
            _write_bits(btf, memory, place, _integer(found, text))
        case _:
            raise UsageError("it is not a number or text", hint="select one of its members")


def _characters(text: str, size: int) -> bytes:
    content = text.encode()
    if len(content) >= size:
        raise WrongValue(f"{len(content)} bytes and a NUL do not fit into {size}")
    return content.ljust(size, b"\0")


def _integer(found: t.Int | t.Enum | t.Ptr, text: str) -> int:
    text = text.strip()
    if isinstance(found, t.Enum):
        names = dict(found.values)
        if text in names:
            return names[text]
    if isinstance(found, t.Int) and found.is_bool and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    try:
        return int(text, 0)
    except ValueError:
        hint = f"available: {', '.join(dict(found.values))}" if isinstance(found, t.Enum) else ""
        raise WrongValue(f"'{text}' is not a number", hint=hint) from None


def _write_bits(btf: Btf, memory: bytearray | memoryview, place: ValueLocation, value: int) -> None:
    found = btf[btf.resolve(place.type)]
    signed = isinstance(found, t.Int | t.Enum) and found.signed
    width = 8 * POINTER_SIZE if isinstance(found, t.Ptr) else place.width
    is_bool = isinstance(found, t.Int) and found.is_bool
    limit = 2 if is_bool else 1 << width
    low, high = (-(limit >> 1), limit >> 1) if signed and not is_bool else (0, limit)
    if not low <= value < high:
        if is_bool:
            raise bool_refusal(value)
        raise integer_refusal(f"{'s' if signed else 'u'}{width}", value, width, signed=signed)
    start, end = place.bit // 8, -(-(place.bit + width) // 8)
    room = 8 * (end - start)
    inside = place.bit % 8
    shift = inside if btf.order == "little" else room - inside - width
    mask = (1 << width) - 1
    old = int.from_bytes(memory[start:end], btf.order)
    new = old & ~(mask << shift) | (value & mask) << shift
    memory[start:end] = new.to_bytes(end - start, btf.order)
