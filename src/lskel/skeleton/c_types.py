"""Types of variables, for a C header that does not include the object's headers."""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress
from typing import NamedTuple

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.layout import TypeLayout, round_up
from lskel.btf.order import Walk, in_order
from lskel.btf.types import TypeId, VarLinkage
from lskel.catalog.map_types import ARENA_SECTION
from lskel.errors import BadObject, NotSupported, UsageError, at
from lskel.load_phase.btf_use import special_field
from lskel.skeleton.c_definitions import CTypes
from lskel.skeleton.c_source import MemberNames, is_identifier
from lskel.skeleton.source import Scope, Source, source, word

# Added to the id of a pointed-to type: only its name is declared.
_POINTED_TO = 1 << 24
# Padding is also explicit for machines with smaller alignment; it is harmless elsewhere.
_LEAST_ALIGN = 4
# Types of <linux/types.h>: bytes by name.
_LINUX_TYPES = {
    f"__{name}{bits}": bits // 8
    for name, widths in {
        "u": (8, 16, 32, 64),
        "s": (8, 16, 32, 64),
        "be": (16, 32, 64),
        "le": (16, 32, 64),
    }.items()
    for bits in widths
}
# Bytes of C integers, by the words of their names without sign, sorted.
_INTS = {
    "char": 1,
    "short": 2,
    "int short": 2,
    "": 4,
    "int": 4,
    "long": 8,
    "int long": 8,
    "long long": 8,
    "int long long": 8,
    "__int128": 16,
}
_SIGNS = ("signed", "unsigned")
# Bytes of C floats, by name. A long double of BPF is a double; those of machines differ.
_FLOATS = {"float": 4, "double": 8, "long double": 8, "_Float16": 2, "__bf16": 2}
# Indentation of variables.
_LEVEL = 2


class Variable(NamedTuple):
    """A variable of a data section, `size` bytes at `offset`, after `padding` bytes.

    `text` declares it with types that the header defines, `user_text` with those of the object's
    source.
    """

    name: Source
    offset: int
    size: int
    padding: int
    text: Source
    user_text: Source


class CTypeDefinitions:
    """The types of an object; names that the header defines begin with `prefix`."""

    def __init__(
        self, btf: Btf, names: MemberNames, prefix: Source, taken: Iterable[Source] = ()
    ) -> None:
        self._btf = btf
        self._names = names
        self._walk = Walk(btf)
        # Variables and enumerators share a namespace, in C and in a C++ struct.
        self._scope = Scope()
        self._shared = _shared_types(btf)
        self._own = _Writer(_View(btf, names, self._scope, prefix, taken, self._shared))
        self._user = _Writer(_View(btf, names, Scope()))
        self._roots: list[TypeId] = []

    def variables(self, section: str) -> list[Variable]:
        """The global variables of a data section, by offset.

        BadObject if a type contains itself, LimitExceeded for too many types, NotSupported if the
        kernel cannot map the section.
        """
        datasec = self._btf.find(section, t.Datasec)
        if datasec is None:
            return []
        with at(f"section {section}"):
            self._check_mapped(datasec)
        found: list[Variable] = []
        end = 0
        for info in sorted(self._btf.get(datasec, t.Datasec).vars, key=lambda info: info.offset):
            var = self._btf.get(info.type, t.Var)
            # Aliases overlap; C gets one of them.
            if var.linkage == VarLinkage.STATIC or info.offset < end or not info.size:
                continue
            name = self._scope.claim(self._names.member(var.name))
            with at(f"variable '{var.name}'"):
                self._walk.visit(var.type)
                made, align = self._declared(name, var.type, info)
            padding = info.offset - end
            if round_up(end, min(align, _LEAST_ALIGN)) == info.offset:
                padding = 0
            found.append(made._replace(padding=padding))
            end = info.offset + info.size
        return found

    def _check_mapped(self, datasec: TypeId) -> None:
        infos = self._btf.get(datasec, t.Datasec).vars
        variables = [self._btf.get(info.type, t.Var) for info in infos]
        for special in variables:
            if field := special_field(self._btf, special.type):
                seen = next((v for v in variables if v.linkage != VarLinkage.STATIC), special)
                raise NotSupported(
                    f"variable '{seen.name}' is visible to user space, but the kernel does not map "
                    f"the section into memory: '{special.name}' has a {field}",
                    hint=f"declare '{seen.name}' static or __hidden, or in another section",
                )

    def definitions(self) -> list[Source]:
        """The definitions that the requested variables need, in C order."""
        own = self._own
        return [
            own.types.define(need.type_id) if need.complete else own.types.forward(need.type_id)
            for need in in_order(own.view, [*self._roots, *self._shared])
            if isinstance(own.view[need.type_id], t.CompositeType | t.Fwd)
        ]

    def _declared(self, name: Source, type_id: TypeId, info: t.VarSecinfo) -> tuple[Variable, int]:
        """The variable, and the alignment of its type."""
        own, user = self._own, self._user
        # If C cannot express the type or its offset, declare the bytes.
        text = user_text = source("unsigned char {}[{}]", name, info.size)
        align = 1
        with suppress(BadObject, UsageError):
            natural = self._align(type_id, info)
            text = own.types.declaration(type_id, name, _LEVEL)
            align = natural
            user_text = source("{} __attribute__((__aligned__({})))", user_text, align)
            self._roots.append(type_id)
            own.view.told()
            user_text = user.types.declaration(type_id, name, _LEVEL)
            user.view.told()
        return Variable(name, info.offset, info.size, 0, text, user_text), align

    def _align(self, type_id: TypeId, info: t.VarSecinfo) -> int:
        """The alignment of a type whose BTF layout C can express."""
        own = self._own
        align = own.layout.align(type_id)
        if own.view.size_of(type_id) != info.size or info.offset % align:
            raise _NoSuchType
        own.walk.visit(type_id)
        return align


def _shared_types(btf: Btf) -> dict[TypeId, None]:
    """The named structs and unions that variables of an arena point to, in order.

    User space has them at the same addresses as programs.
    """
    section = btf.find(ARENA_SECTION, t.Datasec)
    if section is None:
        return {}
    variables = [btf.get(info.type, t.Var) for info in btf.get(section, t.Datasec).vars]
    pending = [(var.type, False) for var in variables if var.linkage != VarLinkage.STATIC]
    seen: dict[tuple[TypeId, bool], None] = {}
    while pending:
        type_id, is_pointed_to = pending.pop()
        key = btf.resolve(type_id), is_pointed_to
        if key in seen:
            continue
        seen[key] = None
        match btf[key[0]]:
            case t.Ptr(type=target):
                pending.append((target, True))
            case t.ArrayType(type=element) if not is_pointed_to:
                pending.append((element, False))
            case t.CompositeType(members=members):
                pending += [(member.type, False) for member in members]
    layout = TypeLayout(_View(btf, MemberNames(), Scope(), source("")))
    return {
        type_id: None
        for type_id, is_pointed_to in seen
        if is_pointed_to and _has_layout(layout, btf[type_id], type_id)
    }


def _has_layout(layout: TypeLayout, found: t.Type, type_id: TypeId) -> bool:
    if not isinstance(found, t.CompositeType) or not found.name:
        return False
    with suppress(BadObject, UsageError):
        layout.align(type_id)
        return True
    return False


class _NoSuchType(UsageError):
    """C cannot express the layout in BTF."""

    def __init__(self) -> None:
        super().__init__("C cannot express its layout")


class _Writer:
    """State shared by all definitions of a view."""

    def __init__(self, view: _View) -> None:
        self.view = view
        self.walk = Walk(view)
        self.layout = TypeLayout(view)
        self.types = CTypes(view)


class _View(Btf):
    """An object's types, independent of its headers.

    Qualifiers are removed, typedefs of scalars and enums are resolved. Pointed-to types are only
    names, except those of `shared`. With a `prefix`, structs get prefixed names, and enums are
    integers; without, the names are those of the source.
    """

    def __init__(
        self,
        btf: Btf,
        names: MemberNames,
        scope: Scope,
        prefix: Source | None = None,
        taken: Iterable[Source] = (),
        shared: Container[TypeId] = (),
    ) -> None:
        super().__init__(btf.raw, btf.base)
        self._shared = shared
        self._source = btf
        self._names = names
        self._scope = scope
        self._prefix = prefix
        self._tags = Scope(taken)
        self._shown: dict[int, t.Type] = {}
        self._forwards: dict[str, t.Fwd] = {}
        self._targets = Scope()
        self._labels: set[str] = set()
        self._fresh: dict[int, t.Enum] = {}

    def __getitem__(self, type_id: TypeId) -> t.Type:
        found = self._shown.get(type_id)
        if found is None:
            plain = TypeId(type_id & ~_POINTED_TO)
            flag = type_id & _POINTED_TO
            found = self._shown[type_id] = self._show(plain, self._source[plain], flag)
        return found

    def told(self) -> None:
        """Mark the enumerators so far as defined; C allows that only once."""
        for type_id, found in self._fresh.items():
            self._labels.update(label for label, _ in found.values)
            self._shown[type_id] = self._shown[type_id | _POINTED_TO] = _int_of(found)
        self._fresh.clear()

    def _show(self, type_id: TypeId, found: t.Type, flag: int) -> t.Type:
        match found:
            case t.Const() | t.Volatile() | t.Restrict() | t.TypeTag():
                return t.TypeTag("", TypeId(found.type | flag))
            case t.Typedef():
                return self._typedef(found, flag)
            case t.Ptr():
                is_shared = self._source.resolve(found.type) in self._shared
                return t.Ptr("", TypeId(found.type | (0 if is_shared else _POINTED_TO)))
            case t.Int():
                return _int(found)
            case t.Float() if _FLOATS.get(found.name) != found.size:
                raise _NoSuchType
            case t.Float(name="long double"):
                return t.Float("double", found.size)
            case t.ArrayType():
                return self._array(found, flag)
            case t.FuncProto() if flag:
                return t.Void("")
            case t.Fwd():
                return self._forward(found.name, is_union=found.is_union)
            case t.CompositeType() if flag:
                return self._forward(found.name, is_union=isinstance(found, t.UnionType))
            case t.CompositeType():
                return self._composite(type_id, found)
            case t.Enum() if flag:
                return self[type_id]
            case t.Enum():
                return self._enum(type_id, found)
        return found

    def _typedef(self, found: t.Typedef, flag: int) -> t.Type:
        behind = self._behind(found.type)
        is_linux = isinstance(behind, t.Int) and _LINUX_TYPES.get(found.name) == behind.size
        is_known = self._prefix is None and isinstance(behind, t.CompositeType | t.Enum)
        if is_linux or (is_known and not flag and is_identifier(found.name)):
            return found
        return t.TypeTag("", TypeId(found.type | flag))

    def _array(self, found: t.ArrayType, flag: int) -> t.Type:
        element = self._source[self._source.element(found.type)]
        if flag and isinstance(element, t.CompositeType | t.Fwd | t.FuncProto):
            return t.Void("")
        return t.ArrayType("", TypeId(found.type | flag), found.index_type, found.nelems)

    def _behind(self, type_id: TypeId) -> t.Type:
        return self._source[self._source.resolve(type_id)]

    def _forward(self, name: str, *, is_union: bool) -> t.Type:
        """A forward declaration of a struct or union."""
        if not name or (self._prefix is None and not is_identifier(name)):
            return t.Void("")
        known = self._forwards.get(name)
        if known is None:
            known = t.Fwd(self._targets.claim(self._names.member(name)), is_union)
            self._forwards[name] = known
        return known if known.is_union == is_union else t.Void("")

    def _composite(self, type_id: TypeId, found: t.CompositeType) -> t.Type:
        name = found.name
        if name and self._prefix is None:
            return _as_it_is(found)
        if name and self._prefix is not None:
            name = self._tags.claim(source("{}{}", self._prefix, word(name)))
        scope = Scope()
        members = (
            member._replace(name=member.name and scope.claim(self._names.member(member.name)))
            for member in found.members
        )
        return type(found)(name, found.size, tuple(members))

    def _enum(self, type_id: TypeId, found: t.Enum) -> t.Type:
        if found.name:
            return _as_it_is(found) if self._prefix is None else _int_of(found)
        labels = {label for label, _ in found.values}
        if not labels or not self._labels.isdisjoint(labels):
            return _int_of(found)
        values = tuple(
            (self._scope.claim(self._names.member(label)), value) for label, value in found.values
        )
        self._fresh[type_id] = found
        return type(found)("", found.size, found.signed, values)


def _as_it_is(found: t.CompositeType | t.Enum) -> t.Type:
    """A type with its name in the source, if that is valid in C."""
    if not is_identifier(found.name):
        raise _NoSuchType
    return found


def _int(found: t.Int) -> t.Int:
    if found.is_bool and found.size == 1:
        return t.Int("_Bool", 1, found.encoding, 0, found.bits)
    words = sorted(found.name.split())
    rest = [part for part in words if part not in _SIGNS]
    if words and len(words) - len(rest) < 2 and _INTS.get(" ".join(rest)) == found.size:
        return found
    return _plain_int(found.size, signed=found.signed, like=found)


def _int_of(found: t.Enum) -> t.Int:
    signed = found.signed and any(number < 0 for _, number in found.values)
    return _plain_int(found.size, signed=signed)


def _plain_int(size: int, *, signed: bool, like: t.Int | None = None) -> t.Int:
    name = {1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128"}.get(size)
    if name is None:
        raise _NoSuchType
    encoding = t.IntEncoding.SIGNED if signed else 0
    offset, bits = (like.offset, like.bits) if like is not None else (0, 8 * size)
    return t.Int(f"{'signed' if signed else 'unsigned'} {name}", size, encoding, offset, bits)
