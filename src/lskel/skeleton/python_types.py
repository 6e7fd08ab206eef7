"""Declared types as Python source: classes of `lskel.runtime.values`, expressions, annotations."""

from __future__ import annotations

from collections.abc import Container

from lskel.skeleton.python_source import literal
from lskel.skeleton.source import Scope, Source, join, source
from lskel.skeleton.types import (
    BOOLEAN,
    FLOATS,
    POINTER,
    SIGNED,
    UNSIGNED,
    ArrayOf,
    ClassOf,
    EnumClass,
    EnumOf,
    Field,
    Scalar,
    StructClass,
    Text,
    TypeDeclarations,
    ValueType,
)

_NUMBERS = (*UNSIGNED.values(), *SIGNED.values(), *FLOATS.values(), BOOLEAN, POINTER)
_PLAIN = frozenset(("int", "float", "bool", "bytes"))
_VALUES = frozenset(
    (
        *(number.name for number in _NUMBERS),
        *("Array", "Bits", "Struct", "Union", "array", "enum", "layout", "text"),
    )
)
# Reserved class names: the source uses them.
TAKEN = frozenset({*_PLAIN, *_VALUES, "IntEnum"})
_ANNOTATIONS = {BOOLEAN: source("bool")} | dict.fromkeys(FLOATS.values(), source("float"))


class TypeWriter:
    """Writes declared types. `imports` are the names of `lskel.runtime.values` that it uses."""

    def __init__(self, names: Scope | None = None) -> None:
        self._names = names or Scope()
        self._used: set[Source] = set()
        self._aliases: dict[Source, Source] = {}
        self.has_enums = False

    def imports(self) -> list[Source]:
        """The names of `lskel.runtime.values` that the source uses."""
        return sorted(self._used)

    def expression(self, kind: ValueType) -> Source:
        """The type, for `codec`: ``u32``, ``stats``, ``array(u32, 8)``."""
        match kind:
            case Scalar():
                return self._use(kind.name)
            case Text():
                return source("{}({})", self._use(source("text")), kind.length)
            case ArrayOf():
                element = self.expression(kind.element)
                return source("{}({}, {})", self._use(source("array")), element, kind.length)
            case EnumOf():
                storage = self.expression(kind.storage)
                return source("{}({}, {})", self._use(source("enum")), kind.cls, storage)
            case ClassOf():
                return kind.cls

    def annotation(self, kind: ValueType) -> Source:
        """The type of a value, for type checkers: ``int``, ``stats``, ``Array[int]``."""
        return self._annotation(kind, (), [])

    def definitions(self, types: TypeDeclarations) -> list[Source]:
        """All declared classes, in order; with `has_enums` they need `IntEnum`."""
        texts: list[Source] = []
        for made in types.classes:
            if isinstance(made, EnumClass):
                self.has_enums = True
                lines = [source("    {} = {}\n", name, number) for name, number in made.values]
                texts.append(source("class {}(IntEnum):\n{}", made.name, join("", lines)))
            else:
                text = self._struct(made, texts)
                texts.append(text)
        return texts

    def _use(self, name: Source) -> Source:
        self._used.add(name)
        return name

    def _annotation(self, kind: ValueType, members: Container[str], texts: list[Source]) -> Source:
        """`annotation`, within a class that has these members; `texts` gets aliases."""
        match kind:
            case ArrayOf():
                element = self._annotation(kind.element, members, texts)
                array = self._outside(self._use(source("Array")), members, texts)
                return source("{}[{}]", array, element)
            case ClassOf():
                name = kind.cls
            case Text():
                name = source("bytes")
            case EnumOf():
                name = source("int")
            case Scalar():
                name = _ANNOTATIONS.get(kind, source("int"))
        return self._outside(name, members, texts)

    def _outside(self, name: Source, members: Container[str], texts: list[Source]) -> Source:
        """A name for `name` that is not shadowed by a member of the class."""
        if name not in members:
            return name
        if name not in self._aliases:
            self._aliases[name] = self._names.claim(source("_{}", name))
            texts.append(source("{} = {}\n", self._aliases[name], name))
        return self._aliases[name]

    def _struct(self, made: StructClass, texts: list[Source]) -> Source:
        lines = [self._field(field) for field in made.fields]
        names = {member.name for member in made.members}
        body = [
            source("    {}: {}\n", m.name, self._annotation(m.type, names, texts))
            for m in made.members
        ]
        args = source("\n    {},\n{}", made.size, join("", lines)) if lines else made.size
        return source(
            "@{}({})\nclass {}({}):\n{}",
            *(self._use(source("layout")), args, made.name),
            self._use(source("Union") if made.is_union else source("Struct")),
            join("", body) if body else source("    pass\n"),
        )

    def _field(self, field: Field) -> Source:
        """A member, for `layout`."""
        kind = self.expression(field.type)
        if isinstance(field.place, int):
            return source("    ({}, {}, {}),\n", literal(field.name), kind, field.place)
        bits = field.place
        read = source("{}({}, {}, {})", self._use(source("Bits")), bits.offset, bits.width, kind)
        return source("    ({}, {}),\n", literal(field.name), read)
