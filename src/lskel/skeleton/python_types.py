"""BTF as Python: the classes of `lskel.runtime.values` that hold values of C types, as text."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.layout import Bits, Nesting, bitfield
from lskel.btf.types import TypeId
from lskel.errors import BadObject
from lskel.skeleton.python_source import attribute, identifier, literal
from lskel.skeleton.source import Scope, Source, join, source

_UNSIGNED = {size: source("u{}", 8 * size) for size in (1, 2, 4, 8, 16)}
_SIGNED = {size: source("s{}", 8 * size) for size in (1, 2, 4, 8, 16)}
_FLOATS = {size: source("f{}", 8 * size) for size in (4, 8)}
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

    name: Source
    type: TypeId


class TypeWriter:
    """Writes the classes of one object's types, each once, when they are first asked for.

    Classes have the names of C: tag or typedef, or the path to what has neither. `taken` are names
    that they must not have. BadObject where BTF is broken or the type has no values.
    """

    def __init__(self, btf: Btf, taken: Iterable[str] = ()) -> None:
        self._btf = btf
        self._used: set[Source] = set()
        self._names = Scope({*_PLAIN, *_VALUES, "IntEnum", *taken})
        self._classes: dict[TypeId, Source] = {}
        self._members: dict[TypeId, list[_Member]] = {}
        self._aliases: dict[Source, Source] = {}
        self._source: list[Source] = []
        self.has_enums = False
        self._nesting = Nesting()
        self._lifts = budget.Allowance(budget.LIFTED, "members of anonymous structs")
        self._typedefs: dict[TypeId, str] = {}
        for _, found in btf:
            if isinstance(found, t.Typedef):
                self._typedefs.setdefault(btf.skip_modifiers(found.type), found.name)

    def type_expression(self, type_id: TypeId, path: str = "value") -> Source:
        """The type as `codec` takes it: ``u32``, ``stats``, ``array(u32, 8)``.

        `path` names what has no name in C.
        """
        type_id = self._btf.resolve(type_id)
        found = self._btf[type_id]
        match found:
            case t.Int(is_bool=True, size=1):
                return self._use(source("boolean"))
            case t.Int() if found.size in _UNSIGNED:
                return self._integer(found)
            case t.Ptr():
                return self._use(source("pointer"))
            case t.Enum() if found.size in _UNSIGNED and not found.values:
                return self._integer(found)
            case t.Enum() if found.size in _UNSIGNED:
                name = self._class(type_id, found, path)
                return source("{}({}, {})", self._use(source("enum")), name, self._integer(found))
            case t.Float() if found.size in _FLOATS:
                return self._use(_FLOATS[found.size])
            case t.Float():
                return self._array(self._use(_UNSIGNED[1]), found.size)
            case t.Array():
                if self._is_text(found):
                    return source("{}({})", self._use(source("text")), found.nelems)
                with self._nesting.inside(type_id):
                    element = self.type_expression(found.type, path)
                return self._array(element, found.nelems)
            case t.Composite():
                return self._class(type_id, found, path)
            case _:
                raise BadObject(
                    f"BTF: there are no values of {found.kind.name} '{found.name}' [{type_id}]"
                )

    def annotation(self, type_id: TypeId, path: str = "value") -> Source:
        """The type as a type checker sees a value of it: ``int``, ``stats``, ``Array[int]``."""
        return self._annotation(type_id, path, ())

    def section(self, name: str, size: int, class_name: str) -> Source:
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

    def source(self) -> list[Source]:
        """The definitions of all that was asked for so far, in order.

        With `has_enums` they need `IntEnum`.
        """
        return list(self._source)

    def imports(self) -> list[Source]:
        """The names of `lskel.runtime.values` that definitions and expressions use."""
        return sorted(self._used)

    def _use(self, name: Source) -> Source:
        self._used.add(name)
        return name

    def _array(self, element: Source, count: int) -> Source:
        return source("{}({}, {})", self._use(source("array")), element, count)

    def _integer(self, found: t.Int | t.Enum) -> Source:
        return self._use((_SIGNED if found.signed else _UNSIGNED)[found.size])

    def _is_text(self, found: t.Array) -> bool:
        element = self._btf[self._btf.resolve(found.type)]
        return isinstance(element, t.Int) and element.is_text

    def _annotation(self, type_id: TypeId, path: str, members: Container[str]) -> Source:
        """`annotation`, within a class that has these members."""
        type_id = self._btf.resolve(type_id)
        found = self._btf[type_id]
        match found:
            case t.Int(is_bool=True, size=1):
                name = source("bool")
            case t.Float() if found.size in _FLOATS:
                name = source("float")
            case t.Float():
                return self._elements(self._outside(source("int"), members), members)
            case t.Array() if self._is_text(found):
                name = source("bytes")
            case t.Array():
                with self._nesting.inside(type_id):
                    element = self._annotation(found.type, path, members)
                return self._elements(element, members)
            case t.Composite():
                name = self._class(type_id, found, path)
            case _:
                name = source("int")
        return self._outside(name, members)

    def _elements(self, element: Source, members: Container[str]) -> Source:
        return source("{}[{}]", self._outside(self._use(source("Array")), members), element)

    def _outside(self, name: Source, members: Container[str]) -> Source:
        """A name for `name` that no member of the class hides."""
        if name not in members:
            return name
        if name not in self._aliases:
            self._aliases[name] = self._names.claim(source("_{}", name))
            self._source.append(source("{} = {}\n", self._aliases[name], name))
        return self._aliases[name]

    def _new_name(self, wanted: str) -> Source:
        """A name for a class, like `wanted`, that nothing else has."""
        return self._names.claim(identifier(wanted))

    def _class(self, type_id: TypeId, found: t.Composite | t.Enum, path: str) -> Source:
        """The name of a type's class, which is written if it has not been."""
        if type_id not in self._classes:
            with self._nesting.inside(type_id):
                name = self._new_name(found.name or self._typedefs.get(type_id) or path)
                if isinstance(found, t.Enum):
                    self.has_enums = True
                    text = _enum(found, name)
                else:
                    text, self._members[type_id] = self._definition(found, name)
            self._source.append(text)
            self._classes[type_id] = name
        return self._classes[type_id]

    def _definition(self, found: t.Composite, name: Source) -> tuple[Source, list[_Member]]:
        """A struct's or union's class, and the members that it has in Python."""
        lifted = {
            number: self._lifted(member, f"{name}_{number}")
            for number, member in enumerate(found.members)
            if not member.name
        }
        taken = {member.name for members in lifted.values() for member in members}
        names = Scope(taken)
        members: list[_Member] = []
        lines: list[Source] = []
        for number, member in enumerate(found.members):
            if number not in lifted:
                python = names.claim(identifier(member.name, _MEMBERS_TAKEN))
                taken.add(python)
                members.append(_Member(python, member.type))
                lines.append(self._place(member, python, f"{name}_{python}"))
            elif lifted[number]:
                members += lifted[number]
                lines.append(self._place(member, "", ""))
        _check_places(self._btf, found, name)
        # Anonymous structs may have members alike, of which ctypes finds the last.
        members = list({member.name: member for member in members}.values())
        base = self._use(source("Union") if isinstance(found, t.Union) else source("Struct"))
        args = source("\n    {},\n{}", found.size, join("", lines)) if lines else found.size
        body = [
            source("    {}: {}\n", m.name, self._annotation(m.type, m.name, taken)) for m in members
        ]
        text = source(
            "@{}({})\nclass {}({}):\n{}",
            *(self._use(source("layout")), args, name, base),
            join("", body) if body else source("    pass\n"),
        )
        return text, members

    def _lifted(self, member: t.Member, path: str) -> list[_Member]:
        """The members of an anonymous struct or union; of anything else it is padding: none."""
        type_id = self._btf.resolve(member.type)
        found = self._btf[type_id]
        if not isinstance(found, t.Composite):
            return []
        self._class(type_id, found, path)
        members = self._members[type_id]
        self._lifts.spend(1 + len(members))
        return members

    def _place(self, member: t.Member, name: str, path: str) -> Source:
        """A member as `layout` takes it."""
        bits = bitfield(self._btf, member)
        behind = self._btf[self._btf.resolve(member.type)]
        if bits is None and isinstance(behind, t.Int) and behind.size == 16:
            bits = Bits(member.bit_offset, 128)
        kind = self.type_expression(member.type, path)
        if bits is None:
            return source("    ({}, {}, {}),\n", literal(name), kind, member.bit_offset // 8)
        read = source("{}({}, {}, {})", self._use(source("Bits")), bits.offset, bits.width, kind)
        return source("    ({}, {}),\n", literal(name), read)


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


def _enum(found: t.Enum, name: Source) -> Source:
    names = Scope()
    lines = [
        source("    {} = {}\n", names.claim(_label(label, name)), number)
        for label, number in found.values
    ]
    return source("class {}(IntEnum):\n{}", name, join("", lines))


def _label(label: str, enum: Source) -> Source:
    # An enum takes `_NAME__label` for a private name of its own.
    is_private = label.startswith(f"_{enum}__")
    return attribute(label.lstrip("_") if is_private else label, _LABELS_TAKEN)
