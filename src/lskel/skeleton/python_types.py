"""BTF as Python: the classes of `lskel.runtime.values` that hold values of C types, as text."""

from __future__ import annotations

import keyword
import re
from collections.abc import Container, Iterable, Iterator
from itertools import count
from typing import NamedTuple

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.layout import Bits, Nesting, bitfield
from lskel.btf.types import TypeId
from lskel.errors import BadObject

_UNSIGNED = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "u128"}
_SIGNED = {1: "s8", 2: "s16", 4: "s32", 8: "s64", 16: "s128"}
_FLOATS = {4: "f32", 8: "f64"}
_PLAIN = frozenset(("int", "float", "bool", "bytes"))
_VALUES = frozenset(
    (
        *(*_UNSIGNED.values(), *_SIGNED.values(), *_FLOATS.values(), "boolean", "pointer"),
        *("Array", "Bits", "Struct", "Union", "array", "enum", "layout", "text"),
    )
)
# Attributes that structs and unions, or enums, have already; those like `_name_` are not listed.
_MEMBERS_TAKEN = frozenset(
    (
        *("_objects", "_unknown", "asdict", "codec_", "elsewhere_", "shown_", "mro"),
        *("from_address", "from_buffer", "from_buffer_copy", "from_param", "in_dll"),
    )
)
_LABELS_TAKEN = frozenset(
    (
        *("name", "value", "mro", "real", "imag", "numerator", "denominator", "conjugate"),
        *("as_integer_ratio", "bit_count", "bit_length", "from_bytes", "is_integer", "to_bytes"),
    )
)


class _Member(NamedTuple):
    """A member as Python has it."""

    name: str
    type: TypeId


class TypeWriter:
    """Writes the classes of one object's types, each once, when they are first asked for.

    Classes have the names of C: tag or typedef, or the path to what has neither. `taken` are names
    that they must not have. BadObject where BTF is broken or the type has no values.
    """

    def __init__(self, btf: Btf, taken: Iterable[str] = ()) -> None:
        self._btf = btf
        self._used: set[str] = set()
        self._names = {*keyword.kwlist, *_PLAIN, *_VALUES, "IntEnum", *taken}
        self._classes: dict[TypeId, str] = {}
        self._members: dict[TypeId, list[_Member]] = {}
        self._aliases: dict[str, str] = {}
        self._source: list[str] = []
        self._nesting = Nesting()
        self._typedefs: dict[TypeId, str] = {}
        for _, found in btf:
            if isinstance(found, t.Typedef):
                self._typedefs.setdefault(btf.skip_modifiers(found.type), found.name)

    def type_expression(self, type_id: TypeId, path: str = "value") -> str:
        """The type as `codec` takes it: ``u32``, ``stats``, ``array(u32, 8)``.

        `path` names what has no name in C.
        """
        type_id = self._btf.resolve(type_id)
        found = self._btf[type_id]
        match found:
            case t.Int(is_bool=True, size=1):
                return self._use("boolean")
            case t.Int() if found.size in _UNSIGNED:
                return self._integer(found)
            case t.Ptr():
                return self._use("pointer")
            case t.Enum() if found.size in _UNSIGNED and not found.values:
                return self._integer(found)
            case t.Enum() if found.size in _UNSIGNED:
                name = self._class(type_id, found, path)
                return f"{self._use('enum')}({name}, {self._integer(found)})"
            case t.Float() if found.size in _FLOATS:
                return self._use(_FLOATS[found.size])
            case t.Float():
                return f"{self._use('array')}({self._use('u8')}, {found.size})"
            case t.Array():
                if self._is_text(found):
                    return f"{self._use('text')}({found.nelems})"
                with self._nesting.inside(type_id):
                    element = self.type_expression(found.type, path)
                return f"{self._use('array')}({element}, {found.nelems})"
            case t.Composite():
                return self._class(type_id, found, path)
            case _:
                raise BadObject(
                    f"BTF: there are no values of {found.kind.name} '{found.name}' [{type_id}]"
                )

    def annotation(self, type_id: TypeId, path: str = "value") -> str:
        """The type as a type checker sees a value of it: ``int``, ``stats``, ``Array[int]``."""
        return self._annotation(type_id, path, ())

    def section(self, name: str, size: int, class_name: str) -> str:
        """The name of the class, which is written, for a section of `size` bytes.

        Its members are the variables that the DATASEC `name` has, without the static ones.
        """
        members = sorted(self._variables(name), key=lambda member: member.bit_offset)
        python = self._new_name(class_name)
        text, _ = self._definition(t.Struct(name, size, tuple(members)), python)
        self._source.append(text)
        return python

    def _variables(self, section: str) -> Iterator[t.Member]:
        type_id = self._btf.find(section, t.Datasec)
        for variable in self._btf.get(type_id, t.Datasec).vars if type_id else ():
            var = self._btf[variable.type]
            # Extern functions and typeless externs have no value.
            is_value = isinstance(var, t.Var) and self._btf.resolve(var.type) != t.VOID
            if isinstance(var, t.Var) and is_value and var.linkage != t.VarLinkage.STATIC:
                yield t.Member(var.name, var.type, 8 * variable.offset, 0)

    def source(self) -> list[str]:
        """The definitions of all that was asked for so far, in order. They need `IntEnum`."""
        return list(self._source)

    def imports(self) -> list[str]:
        """The names of `lskel.runtime.values` that definitions and expressions use."""
        return sorted(self._used)

    def _use(self, name: str) -> str:
        self._used.add(name)
        return name

    def _integer(self, found: t.Int | t.Enum) -> str:
        return self._use((_SIGNED if found.signed else _UNSIGNED)[found.size])

    def _is_text(self, found: t.Array) -> bool:
        element = self._btf[self._btf.resolve(found.type)]
        return isinstance(element, t.Int) and element.is_text

    def _annotation(self, type_id: TypeId, path: str, members: Container[str]) -> str:
        """`annotation`, within a class that has these members."""
        type_id = self._btf.resolve(type_id)
        found = self._btf[type_id]
        match found:
            case t.Int(is_bool=True, size=1):
                name = "bool"
            case t.Float() if found.size in _FLOATS:
                name = "float"
            case t.Float():
                element = self._outside("int", members)
                return f"{self._outside(self._use('Array'), members)}[{element}]"
            case t.Array() if self._is_text(found):
                name = "bytes"
            case t.Array():
                with self._nesting.inside(type_id):
                    element = self._annotation(found.type, path, members)
                return f"{self._outside(self._use('Array'), members)}[{element}]"
            case t.Composite():
                name = self._class(type_id, found, path)
            case _:
                name = "int"
        return self._outside(name, members)

    def _outside(self, name: str, members: Container[str]) -> str:
        """A name for `name` that no member of the class hides."""
        if name not in members:
            return name
        if name not in self._aliases:
            self._aliases[name] = _unique(f"_{name}", self._names)
            self._names.add(self._aliases[name])
            self._source.append(f"{self._aliases[name]} = {name}\n")
        return self._aliases[name]

    def _new_name(self, wanted: str) -> str:
        """A name for a class (or alias), like `wanted`, that nothing else has."""
        name = _unique(_identifier(wanted), self._names)
        self._names.add(name)
        return name

    def _class(self, type_id: TypeId, found: t.Composite | t.Enum, path: str) -> str:
        """The name of a type's class, which is written if it has not been."""
        if type_id not in self._classes:
            with self._nesting.inside(type_id):
                name = self._new_name(found.name or self._typedefs.get(type_id) or path)
                if isinstance(found, t.Enum):
                    text = _enum(found, name)
                else:
                    text, self._members[type_id] = self._definition(found, name)
            self._source.append(text)
            self._classes[type_id] = name
        return self._classes[type_id]

    def _definition(self, found: t.Composite, name: str) -> tuple[str, list[_Member]]:
        """A struct's or union's class, and the members that it has in Python."""
        lifted = {
            number: self._lifted(member, f"{name}_{number}")
            for number, member in enumerate(found.members)
            if not member.name
        }
        taken = {member.name for members in lifted.values() for member in members}
        members: list[_Member] = []
        lines: list[str] = []
        for number, member in enumerate(found.members):
            if number not in lifted:
                python = _unique(_member_name(member.name), taken)
                taken.add(python)
                members.append(_Member(python, member.type))
                lines.append(self._place(member, python, f"{name}_{python}"))
            elif lifted[number]:
                members += lifted[number]
                lines.append(self._place(member, "", ""))
        _check_places(self._btf, found, name)
        base = self._use("Union" if isinstance(found, t.Union) else "Struct")
        args = f"\n    {found.size},\n{''.join(lines)}" if lines else f"{found.size}"
        body = [f"    {m.name}: {self._annotation(m.type, m.name, taken)}\n" for m in members]
        text = f"@{self._use('layout')}({args})\nclass {name}({base}):\n"
        return text + ("".join(body) or "    pass\n"), members

    def _lifted(self, member: t.Member, path: str) -> list[_Member]:
        """The members of an anonymous struct or union; of anything else it is padding: none."""
        type_id = self._btf.resolve(member.type)
        found = self._btf[type_id]
        if not isinstance(found, t.Composite):
            return []
        self._class(type_id, found, path)
        return self._members[type_id]

    def _place(self, member: t.Member, name: str, path: str) -> str:
        """A member as `layout` takes it."""
        bits = bitfield(self._btf, member)
        behind = self._btf[self._btf.resolve(member.type)]
        if bits is None and isinstance(behind, t.Int) and behind.size == 16:
            bits = Bits(member.bit_offset, 128)
        kind = self.type_expression(member.type, path)
        if bits is None:
            return f'    ("{name}", {kind}, {member.bit_offset // 8}),\n'
        return f'    ("{name}", {self._use("Bits")}({bits.offset}, {bits.width}, {kind})),\n'


def _check_places(btf: Btf, found: t.Composite, name: str) -> None:
    """BadObject where members overlap or are behind the end."""
    end = 0
    for member in found.members:
        bits = bitfield(btf, member)
        start, width = bits or (member.bit_offset, 8 * btf.size_of(member.type))
        is_union = isinstance(found, t.Union)
        if (start if is_union and not bits else start < end) or start + width > 8 * found.size:
            raise BadObject(f"BTF: member '{member.name}' of '{name}' cannot be at bit {start}")
        end = 0 if is_union else start + width


def _enum(found: t.Enum, name: str) -> str:
    taken: set[str] = set()
    lines = [f"class {name}(IntEnum):\n"]
    for label, number in found.values:
        python = _unique(_label(label), taken)
        taken.add(python)
        lines.append(f"    {python} = {number}\n")
    return "".join(lines)


def _identifier(name: str) -> str:
    made = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    return f"_{made}" if made[0].isdigit() else made


def _member_name(name: str) -> str:
    made = _identifier(name)
    taken = keyword.iskeyword(made) or made in _MEMBERS_TAKEN or (made[0] == made[-1] == "_")
    return f"{made}_" if taken else made


def _label(name: str) -> str:
    made = _identifier(name)
    if made.startswith("__"):  # a class would make it private
        made = f"_{made.lstrip('_')}"
    taken = keyword.iskeyword(made) or made in _LABELS_TAKEN or (made[0] == made[-1] == "_")
    return f"{made}_" if taken else made


def _unique(name: str, taken: Container[str]) -> str:
    if name not in taken:
        return name
    return next(made for number in count(2) if (made := f"{name}_{number}") not in taken)
