"""BTF types for Python, as data: declarations of classes with names and members, and their uses.

`python_types` writes them as source, `classes` creates the classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.layout import BitField, Nesting, bitfield
from lskel.btf.types import TypeId
from lskel.errors import BadObject
from lskel.skeleton.python_source import attribute, identifier
from lskel.skeleton.source import Scope, Source, source

# Attributes of structs and unions, or enums; those like `_name_` are not listed.
_MEMBERS_TAKEN = frozenset(
    (
        *("_objects", "_unknown", "asdict", "codec_", "elsewhere_", "noun_", "format_", "mro"),
        *("from_address", "from_buffer", "from_buffer_copy", "from_param", "in_dll"),
    )
)
_LABELS_TAKEN = frozenset(
    (
        *("name", "value", "mro", "real", "imag", "numerator", "denominator", "conjugate"),
        *("as_integer_ratio", "bit_count", "bit_length", "from_bytes", "is_integer", "to_bytes"),
    )
)


class Scalar(NamedTuple):
    """A number, by its name in `lskel.runtime.values`: ``u32``, ``f64``, ``boolean``..."""

    name: Source


class Text(NamedTuple):
    """``char[length]``."""

    length: int


class ArrayOf(NamedTuple):
    """``element[length]``."""

    element: ValueType
    length: int


class EnumOf(NamedTuple):
    """An enum, by the name of its class, and its storage type."""

    cls: Source
    storage: Scalar


class ClassOf(NamedTuple):
    """A struct or union, by the name of its class."""

    cls: Source


ValueType: TypeAlias = Scalar | Text | ArrayOf | EnumOf | ClassOf


class Field(NamedTuple):
    """A member, for `layout`: at a byte offset, or a bit-field; without a name if anonymous."""

    name: str
    type: ValueType
    place: int | BitField


class ClassMember(NamedTuple):
    """A member of a class in Python, including those of anonymous members."""

    name: Source
    type: ValueType


class StructClass(NamedTuple):
    """The class of a struct or union of `size` bytes."""

    name: Source
    is_union: bool
    size: int
    fields: tuple[Field, ...]
    members: tuple[ClassMember, ...]


class EnumClass(NamedTuple):
    """The class of an enum."""

    name: Source
    values: tuple[tuple[Source, int], ...]


UNSIGNED = {size: Scalar(source("u{}", 8 * size)) for size in (1, 2, 4, 8, 16)}
SIGNED = {size: Scalar(source("s{}", 8 * size)) for size in (1, 2, 4, 8, 16)}
FLOATS = {size: Scalar(source("f{}", 8 * size)) for size in (4, 8)}
BOOLEAN = Scalar(source("boolean"))
POINTER = Scalar(source("pointer"))


class TypeDeclarations:
    """Declares the classes of one object's types, each once, on first use.

    Class names are those of C: tag or typedef, or the path to an anonymous type. `taken` are
    reserved names. `classes` are in order of dependencies. BadObject if BTF is invalid or the type
    has no values.
    """

    def __init__(self, btf: Btf, taken: Iterable[str] = ()) -> None:
        self.classes: list[StructClass | EnumClass] = []
        self.names = Scope(taken)
        self._btf = btf
        self._declared: dict[TypeId, Source] = {}
        self._members: dict[TypeId, tuple[ClassMember, ...]] = {}
        self._nesting = Nesting()
        self._lifts = budget.Allowance(budget.LIFTED, "members of anonymous structs")
        self._typedefs: dict[TypeId, str] = {}
        for _, found in btf:
            if isinstance(found, t.Typedef):
                self._typedefs.setdefault(btf.skip_modifiers(found.type), found.name)

    def type(self, type_id: TypeId, path: str = "value") -> ValueType:
        """The type of a value; `path` names an anonymous type."""
        type_id = self._btf.resolve(type_id)
        found = self._btf[type_id]
        match found:
            case t.Int(is_bool=True, size=1):
                return BOOLEAN
            case t.Int() if found.size in UNSIGNED:
                return _integer(found)
            case t.Ptr():
                return POINTER
            case t.Enum() if found.size in UNSIGNED and not found.values:
                return _integer(found)
            case t.Enum() if found.size in UNSIGNED:
                return EnumOf(self._class(type_id, found, path), _integer(found))
            case t.Float() if found.size in FLOATS:
                return FLOATS[found.size]
            case t.Float():
                return ArrayOf(UNSIGNED[1], found.size)
            case t.ArrayType():
                element = self._btf[self._btf.resolve(found.type)]
                if isinstance(element, t.Int) and element.is_text:
                    return Text(found.nelems)
                with self._nesting.inside(type_id):
                    kind = self.type(found.type, path)
                if self._btf.size_of(found.type) == 0:
                    # They take no room in the object, but some in this process.
                    budget.check(found.nelems, budget.EMPTY_ELEMENTS, "array elements of 0 bytes")
                return ArrayOf(kind, found.nelems)
            case t.CompositeType():
                return ClassOf(self._class(type_id, found, path))
            case _:
                raise BadObject(f"BTF: {found.kind.name} '{found.name}' [{type_id}] has no values")

    def section(self, name: str, size: int, class_name: str, *, static: bool = False) -> ClassOf:
        """Declare the class for a section of `size` bytes.

        Its members are the variables of DATASEC `name`; static ones only with `static`, as their
        names may not be unique.
        """
        found = self._variables(name, static=static)
        members = sorted(found, key=lambda member: member.bit_offset)
        python = self._new_name(class_name)
        self.classes.append(self._struct(t.StructType(name, size, tuple(members)), python))
        return ClassOf(python)

    def _variables(self, section: str, *, static: bool) -> Iterator[t.BtfMember]:
        type_id = self._btf.find(section, t.Datasec)
        for variable in self._btf.get(type_id, t.Datasec).vars if type_id else ():
            var = self._btf[variable.type]
            # Extern functions and typeless externs have no value.
            is_value = isinstance(var, t.Var) and self._btf.resolve(var.type) != t.VOID
            is_shown = static or (isinstance(var, t.Var) and var.linkage != t.VarLinkage.STATIC)
            if isinstance(var, t.Var) and is_value and is_shown:
                yield t.BtfMember(var.name, var.type, 8 * variable.offset, 0)

    def _new_name(self, like: str) -> Source:
        """A unique class name."""
        return self.names.claim(identifier(like))

    def _class(self, type_id: TypeId, found: t.CompositeType | t.Enum, path: str) -> Source:
        """The class name of a type; declares the class on first use."""
        if type_id not in self._declared:
            with self._nesting.inside(type_id):
                name = self._new_name(found.name or self._typedefs.get(type_id) or path)
                if isinstance(found, t.Enum):
                    self.classes.append(_enum(found, name))
                else:
                    made = self._struct(found, name)
                    self._members[type_id] = made.members
                    self.classes.append(made)
            self._declared[type_id] = name
        return self._declared[type_id]

    def _struct(self, found: t.CompositeType, name: Source) -> StructClass:
        lifted = {
            number: self._lifted(member, f"{name}_{number}")
            for number, member in enumerate(found.members)
            if not member.name
        }
        names = Scope({member.name for members in lifted.values() for member in members})
        members: list[ClassMember] = []
        fields: list[Field] = []
        for number, member in enumerate(found.members):
            if number not in lifted:
                python = names.claim(identifier(member.name, _MEMBERS_TAKEN))
                field = self._field(member, python, f"{name}_{python}")
                members.append(ClassMember(python, field.type))
                fields.append(field)
            elif lifted[number]:
                members += lifted[number]
                fields.append(self._field(member, "", ""))
        _check_places(self._btf, found, name)
        # Anonymous structs may have equal member names; ctypes uses the last.
        members = list({member.name: member for member in members}.values())
        is_union = isinstance(found, t.UnionType)
        return StructClass(name, is_union, found.size, tuple(fields), tuple(members))

    def _lifted(self, member: t.BtfMember, path: str) -> tuple[ClassMember, ...]:
        """The members of an anonymous struct or union; none for other members (padding)."""
        type_id = self._btf.resolve(member.type)
        found = self._btf[type_id]
        if not isinstance(found, t.CompositeType):
            return ()
        self._class(type_id, found, path)
        members = self._members[type_id]
        self._lifts.spend(1 + len(members))
        return members

    def _field(self, member: t.BtfMember, name: str, path: str) -> Field:
        bits = bitfield(self._btf, member)
        behind = self._btf[self._btf.resolve(member.type)]
        if bits is None and isinstance(behind, t.Int) and behind.size == 16:
            bits = BitField(member.bit_offset, 128)
        kind = self.type(member.type, path)
        return Field(name, kind, member.bit_offset // 8 if bits is None else bits)


def _integer(found: t.Int | t.Enum) -> Scalar:
    return (SIGNED if found.signed else UNSIGNED)[found.size]


def _check_places(btf: Btf, found: t.CompositeType, name: str) -> None:
    """BadObject if members overlap or exceed the type."""
    end = 0
    for member in found.members:
        bits = bitfield(btf, member)
        start, width = bits or (member.bit_offset, 8 * btf.size_of(member.type))
        is_union = isinstance(found, t.UnionType)
        if (start if is_union and not bits else start < end) or start + width > 8 * found.size:
            raise BadObject(f"BTF: member '{member.name}' of '{name}' cannot be at bit {start}")
        end = 0 if is_union else start + width


def _enum(found: t.Enum, name: Source) -> EnumClass:
    names = Scope()
    values = ((names.claim(_label(label, name)), number) for label, number in found.values)
    return EnumClass(name, tuple(values))


def _label(label: str, enum: Source) -> Source:
    # An enum class treats `_NAME__label` as a private name.
    is_private = label.startswith(f"_{enum}__")
    return attribute(label.lstrip("_") if is_private else label, _LABELS_TAKEN)
