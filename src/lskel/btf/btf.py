"""Reading BTF: one pass indexes the types, which are decoded on use."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import chain, islice
from typing import TypeVar

from lskel import budget
from lskel.btf import types as t
from lskel.btf.kinds import Kind
from lskel.btf.names import essential_name
from lskel.btf.types import Type, TypeId
from lskel.cursor import ByteOrder, Strings, mark
from lskel.errors import BadObject, NotFound

MAGIC = 0xEB9F
VERSION = 1
HEADER = "HBBIIIII"
HEADER_SIZE = 24
# The offset and length of the layout section follow in longer headers (Linux 7.3).
LAYOUT = "II"
LAYOUT_SIZE = 8
POINTER_SIZE = 8
# Limits of the kernel (include/linux/btf.h): BTF_MAX_TYPE, BTF_MAX_NAME_OFFSET.
MAX_TYPES = 0x000FFFFF
MAX_DEPTH = 64
# Sizes are 32-bit numbers in BTF and in the kernel.
MAX_SIZE = 0xFFFFFFFF

# Bits of a type's info word. Before Linux 7.3 they were 5 for the kind and 16 for vlen; the others
# were 0.
KINDS = 0x7F + 1
MAX_VLEN = 0xFFFFFF

_T = TypeVar("_T", bound=Type)

_TYPE_HEADER = 12
# Searches of all names, and spellings of one name, that are faster than an index of the names.
_FEW = 256
# More words than any BTF has.
_NO_LENGTH = 1 << 32
# Bytes after the header of each kind: (fixed, per vlen).
_TAIL: dict[int, tuple[int, int]] = {
    Kind.INT: (4, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (12, 0),
    Kind.STRUCT: (0, 12),
    Kind.UNION: (0, 12),
    Kind.ENUM: (0, 8),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),
    Kind.FUNC_PROTO: (0, 8),
    Kind.VAR: (4, 0),
    Kind.DATASEC: (0, 12),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (4, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 12),
}


class Btf:
    """BTF of either byte order: of an object, of vmlinux, or of a module (split BTF with a `base`).

    Type ids start at 1 (or after the base's last id). `raw` is the whole .BTF section.

    `layout` says how long the types of each kind are: a struct btf_layout (u8 info_sz, u8 elem_sz,
    u16 flags) per kind. By it kinds are skipped that are not known here. Empty if there is none.
    """

    def __init__(self, raw: bytes, base: Btf | None = None) -> None:
        self.raw = raw
        self.base = base
        self.order: ByteOrder = "little" if raw[:2] == b"\x9f\xeb" else "big"
        self._mark = mark(self.order)
        if len(raw) < HEADER_SIZE:
            raise BadObject(f"BTF: {len(raw)} bytes are too short for its header")
        magic, version, _flags, hdr_len, type_off, type_len, str_off, str_len = struct.unpack_from(
            self._mark + HEADER, raw
        )
        if magic != MAGIC:
            raise BadObject(f"BTF: magic is {magic:#06x}, expected {MAGIC:#06x}")
        if version != VERSION:
            raise BadObject(f"BTF: version {version} is unknown")
        if hdr_len < HEADER_SIZE or hdr_len > len(raw):
            raise BadObject(f"BTF: header length {hdr_len} is out of range")
        self.header_size: int = hdr_len
        self.type_start: int = hdr_len + type_off
        self.type_end = self.type_start + type_len
        self.str_start = hdr_len + str_off
        self.str_end = self.str_start + str_len
        if self.type_end > len(raw) or type_off % 4:
            raise BadObject(f"BTF: type section {self.type_start:#x}+{type_len:#x} is out of range")
        if self.str_end > len(raw) or self.str_start < self.type_end:
            raise BadObject(f"BTF: string section {self.str_start:#x}+{str_len:#x} is out of range")
        self.layout: bytes = self._layout(hdr_len) or (base.layout if base else b"")
        if base is None and (not str_len or raw[self.str_start]):
            raise BadObject("BTF: the string section does not begin with an empty string")
        if str_len and raw[self.str_end - 1]:
            raise BadObject("BTF: the string section is not terminated")
        self.first_id = base.end_id if base else 1
        self._str_base = base.str_len_total if base else 0
        self.str_len_total: int = self._str_base + str_len
        self._starts: list[int] = self._index()
        self.end_id: int = self.first_id + len(self._starts)
        self._cache: dict[int, Type] = {}
        self._searches = 0
        strings = raw[self.str_start : self.str_end]
        self._strings = Strings(strings, "BTF: the string section")
        self._short_strings = Strings(strings, "BTF: the string section", budget.NAME)

    def _layout(self, hdr_len: int) -> bytes:
        """The layout section, between types and strings."""
        if hdr_len < HEADER_SIZE + LAYOUT_SIZE:
            return b""
        offset, length = struct.unpack_from(self._mark + LAYOUT, self.raw, HEADER_SIZE)
        start, end = hdr_len + offset, hdr_len + offset + length
        if not length:
            return b""
        if start < self.type_end or end > self.str_start or offset % 4 or length % 4:
            raise BadObject(f"BTF: layout section {start:#x}+{length:#x} is out of range")
        return self.raw[start:end]

    def _lengths(self) -> tuple[list[int], list[int]]:
        """Words per type, and per vlen, of each kind; `_NO_LENGTH` if that is not known."""
        layout = self.layout[: 4 * KINDS]
        tails = dict(enumerate(zip(layout[::4], layout[1::4], strict=True))) | _TAIL
        fixed, each = [_NO_LENGTH] * KINDS, [0] * KINDS
        for kind, (first, more) in tails.items():
            if first % 4 == more % 4 == 0:
                fixed[kind], each[kind] = (_TYPE_HEADER + first) // 4, more // 4
        return fixed, each

    def _index(self) -> list[int]:
        fixed, each = self._lengths()
        words, size = self._words, self.type_end - self.type_start
        starts: list[int] = []
        at, last = 0, len(words) - _TYPE_HEADER // 4
        for _ in range(MAX_TYPES + 1):
            if at > last:
                break
            starts.append(at)
            info = words[at + 1]
            at += fixed[info >> 24 & 0x7F] + each[info >> 24 & 0x7F] * (info & MAX_VLEN)
        if len(starts) > MAX_TYPES:
            raise BadObject(f"BTF: more than {MAX_TYPES} types, which no kernel accepts")
        if 4 * at < size:
            place = self.type_start + 4 * at
            raise BadObject(f"BTF: type header at offset {place:#x} is cut off")
        if 4 * at > size:
            place, kind = self.type_start + 4 * starts[-1], words[starts[-1] + 1] >> 24 & 0x7F
            if fixed[kind] != _NO_LENGTH:
                raise BadObject(f"BTF: the last type at offset {place:#x} is cut off")
            type_id = self.first_id + len(starts) - 1
            raise BadObject(f"BTF: type [{type_id}] at offset {place:#x}: kind {kind} is unknown")
        return starts

    @cached_property
    def _words(self) -> array[int]:
        """The type section as numbers: reading these is faster than `struct`."""
        length = (self.type_end - self.type_start) // 4 * 4
        words = array("I")
        words.frombytes(memoryview(self.raw)[self.type_start : self.type_start + length])
        if self.order != sys.byteorder:
            words.byteswap()
        return words

    @property
    def has_unknown_kinds(self) -> bool:
        """Whether types have kinds that are known by `layout` only."""
        words = self._words
        return not {words[at + 1] >> 24 & 0x7F for at in self._starts} <= _TAIL.keys()

    def __len__(self) -> int:
        """Number of types, including `void` and the base's: ids are below this."""
        return self.end_id

    def __iter__(self) -> Iterator[tuple[TypeId, Type]]:
        """All types of this BTF (not the base's) with their ids, in order."""
        for type_id in range(self.first_id, self.end_id):
            yield TypeId(type_id), self[TypeId(type_id)]

    def __getitem__(self, type_id: TypeId) -> Type:
        """The type with this id; BadObject if it does not exist."""
        found = self._cache.get(type_id)
        if found is None:
            if 0 < type_id < self.first_id and self.base is not None:
                return self.base[type_id]
            found = t.Void("") if type_id == 0 else self._decode(type_id)
            self._cache[type_id] = found
        return found

    def offset_of(self, type_id: TypeId) -> int:
        """The byte offset of the type's header in `raw`."""
        index = type_id - self.first_id
        if not 0 <= index < len(self._starts):
            raise BadObject(f"BTF: no type [{type_id}], the last is [{self.end_id - 1}]")
        return self.type_start + 4 * self._starts[index]

    def string(self, offset: int) -> str:
        """The string at `offset` of the string section (after the base's strings)."""
        if offset < self._str_base and self.base is not None:
            return self.base.string(offset)
        return self._strings[offset - self._str_base]

    def name(self, offset: int) -> str:
        """Like `string`, for names of types, members etc., which are shorter and many."""
        if offset < self._str_base and self.base is not None:
            return self.base.name(offset)
        return self._short_strings[offset - self._str_base]

    def _decode(self, type_id: TypeId) -> Type:
        raw = self.raw
        offset = self.offset_of(type_id)
        name_off, info, size_or_type = struct.unpack_from(self._mark + "III", raw, offset)
        try:
            name = self.name(name_off)
            decode = _DECODERS.get(info >> 24 & 0x7F)
            if decode is None:
                return t.UnknownType(name, info >> 24 & 0x7F)
            return decode(self, name, info, size_or_type, offset + _TYPE_HEADER)
        except BadObject as error:
            error.places.insert(0, f"BTF: type [{type_id}]")
            raise

    def _tail(self, fmt: str, offset: int, count: int) -> Iterator[tuple[int, ...]]:
        record = struct.Struct(self._mark + fmt)
        return record.iter_unpack(self.raw[offset : offset + record.size * count])

    def find(self, name: str, cls: type[_T]) -> TypeId | None:
        """The first type of this name and class (except void and the base's types)."""
        return self.find_kind(name, cls.kind)

    def find_kind(self, name: str, kind: Kind) -> TypeId | None:
        """Like `find`, by `Kind`."""
        if not name:
            return None
        return next((t for t in self._called(name) if self._kind(t) == kind), None)

    def names_of(self, kind: Kind) -> Iterator[tuple[TypeId, str]]:
        """The types of a kind (not the base's) with their names, in order."""
        words = self._words
        for type_id, at in enumerate(self._starts, self.first_id):
            if words[at + 1] >> 24 & 0x7F == kind:
                yield TypeId(type_id), self.name(words[at])

    def find_essential(self, name: str) -> Iterator[TypeId]:
        """The types of this name, with any CO-RE flavor or none (not the base's), in order."""
        if name:
            yield from self._called(name, with_flavors=True)

    def _called(self, name: str, *, with_flavors: bool = False) -> list[TypeId]:
        """The types of this name, in order: a few are searched for, for more there is an index."""
        self._searches += 1
        if self._searches <= _FEW:
            flavors = self._flavors(name) if with_flavors else ()
            places = list(islice(chain(self._spellings(name), flavors), _FEW))
            if len(places) < _FEW:
                return sorted(t for at in places for t in self._named(at))
        return (self._by_essential_name if with_flavors else self._by_name).get(name, [])

    @cached_property
    def _by_name(self) -> dict[str, list[TypeId]]:
        found: dict[str, list[TypeId]] = {}
        for type_id, at in enumerate(self._starts, self.first_id):
            found.setdefault(self.name(self._words[at]), []).append(TypeId(type_id))
        return found

    @cached_property
    def _by_essential_name(self) -> dict[str, list[TypeId]]:
        found: dict[str, list[TypeId]] = {}
        for name, types in self._by_name.items():
            found.setdefault(essential_name(name), []).extend(types)
        return {name: sorted(types) for name, types in found.items()}

    def _kind(self, type_id: TypeId) -> int:
        """The kind in its info, without decoding the type."""
        info: int = self._words[self._starts[type_id - self.first_id] + 1]
        return info >> 24 & 0x7F

    @cached_property
    def _name_offsets(self) -> bytes:
        """The name offset of each type, four bytes each, in this machine's byte order."""
        words = self._words
        return array("I", [words[at] for at in self._starts]).tobytes()

    def _named(self, offset: int) -> Iterator[TypeId]:
        """The types whose name is the string at `offset`, in order."""
        needle, names = offset.to_bytes(4, sys.byteorder), self._name_offsets
        at = names.find(needle)
        while at >= 0:
            if at % 4 == 0:
                yield TypeId(self.first_id + at // 4)
            at = names.find(needle, at + 1)

    def get(self, type_id: TypeId, cls: type[_T]) -> _T:
        """The type with this id; BadObject if it is not of class `cls`."""
        found = self[type_id]
        if not isinstance(found, cls):
            raise BadObject(
                f"BTF: type [{type_id}] '{found.name}' is {found.kind.name}, expected "
                f"{cls.kind.name}"
            )
        return found

    def skip_modifiers(self, type_id: TypeId) -> TypeId:
        """The type without const, volatile, restrict and type tags."""
        return self._skip(type_id, t.MODIFIERS)

    def resolve(self, type_id: TypeId) -> TypeId:
        """The type without modifiers and typedefs."""
        return self._skip(type_id, (*t.MODIFIERS, t.Typedef))

    def element(self, type_id: TypeId) -> TypeId:
        """The type without modifiers, typedefs, and array dimensions."""
        start = type_id
        for _ in range(MAX_DEPTH):
            type_id = self.resolve(type_id)
            found = self[type_id]
            if not isinstance(found, t.ArrayType):
                return type_id
            type_id = found.type
        raise BadObject(f"BTF: type [{start}] is an array of more than {MAX_DEPTH} dimensions")

    def _skip(self, type_id: TypeId, classes: tuple[type[t.RefType], ...]) -> TypeId:
        start = type_id
        for _ in range(MAX_DEPTH):
            found = self[type_id]
            if not isinstance(found, classes):
                return type_id
            type_id = found.type
        raise BadObject(f"BTF: type [{start}] is a chain of more than {MAX_DEPTH} types")

    def size_of(self, type_id: TypeId) -> int:
        """The type's size in bytes; BadObject if it has none (void, functions, fwd)."""
        count = 1
        start = type_id
        for _ in range(MAX_DEPTH):
            found = self[type_id]
            if isinstance(found, t.Int | t.Float | t.CompositeType | t.Enum | t.Datasec | t.Ptr):
                size = POINTER_SIZE if isinstance(found, t.Ptr) else found.size
                if count * size > MAX_SIZE:
                    raise BadObject(f"BTF: type [{start}] has {count * size} bytes")
                return count * size
            if isinstance(found, t.ArrayType):
                count *= found.nelems
                type_id = found.type
            elif isinstance(found, (*t.MODIFIERS, t.Typedef, t.Var)):
                type_id = found.type
            else:
                raise BadObject(
                    f"BTF: type [{start}]: {found.kind.name} '{found.name}' [{type_id}] has no size"
                )
        raise BadObject(f"BTF: type [{start}] is a chain of more than {MAX_DEPTH} types")

    def _spellings(self, name: str) -> Iterator[int]:
        """All string offsets of `name`, which may also be the tail of a longer string."""
        if self.base is not None:
            yield from self.base._spellings(name)
        needle = name.encode("utf-8", "backslashreplace") + b"\0"
        at = self.raw.find(needle, self.str_start, self.str_end)
        while at >= 0:
            yield at - self.str_start + self._str_base
            at = self.raw.find(needle, at + 1, self.str_end)

    def _flavors(self, name: str) -> Iterator[int]:
        """The offsets of the strings that are `name` with a flavor."""
        if self.base is not None:
            yield from self.base._flavors(name)
        needle = f"{name}___".encode("utf-8", "backslashreplace")
        at = self.raw.find(needle, self.str_start, self.str_end)
        while at >= 0:
            offset = at - self.str_start + self._str_base
            if essential_name(self.string(offset)) == name:
                yield offset
            at = self.raw.find(needle, at + 1, self.str_end)

    def require(self, name: str, cls: type[_T]) -> TypeId:
        """Like `find`, but raises NotFound."""
        type_id = self.find(name, cls)
        if type_id is None:
            raise NotFound(f"BTF has no {cls.kind.name} '{name}'")
        return type_id


_Decoder = Callable[[Btf, str, int, int, int], Type]


def _int(btf: Btf, name: str, info: int, size: int, at: int) -> Type:
    ((data,),) = btf._tail("I", at, 1)
    return t.Int(name, size, data >> 24 & 0x0F, data >> 16 & 0xFF, data & 0xFF)


def _array(btf: Btf, name: str, info: int, size: int, at: int) -> Type:
    ((elem, index, nelems),) = btf._tail("III", at, 1)
    return t.ArrayType(name, TypeId(elem), TypeId(index), nelems)


def _members(btf: Btf, info: int, at: int) -> tuple[t.BtfMember, ...]:
    bitfields = info >> 31
    return tuple(
        t.BtfMember(
            btf.name(name_off),
            TypeId(type_id),
            offset & 0xFFFFFF if bitfields else offset,
            offset >> 24 if bitfields else 0,
        )
        for name_off, type_id, offset in btf._tail("III", at, info & MAX_VLEN)
    )


def _struct(btf: Btf, name: str, info: int, size: int, at: int) -> Type:
    return t.StructType(name, size, _members(btf, info, at))


def _union(btf: Btf, name: str, info: int, size: int, at: int) -> Type:
    return t.UnionType(name, size, _members(btf, info, at))


def _enum(btf: Btf, name: str, info: int, size: int, at: int) -> Type:
    signed = bool(info >> 31)
    records = btf._tail("Ii" if signed else "II", at, info & MAX_VLEN)
    return t.Enum(name, size, signed, tuple((btf.name(off), value) for off, value in records))


def _enum64(btf: Btf, name: str, info: int, size: int, at: int) -> Type:
    signed = bool(info >> 31)
    values = []
    for name_off, low, high in btf._tail("IIi" if signed else "III", at, info & MAX_VLEN):
        values.append((btf.name(name_off), high << 32 | low))
    return t.Enum64(name, size, signed, tuple(values))


def _func_proto(btf: Btf, name: str, info: int, returns: int, at: int) -> Type:
    params = tuple(
        t.Param(btf.name(off), TypeId(kind)) for off, kind in btf._tail("II", at, info & MAX_VLEN)
    )
    return t.FuncProto(name, TypeId(returns), params)


def _var(btf: Btf, name: str, info: int, type_id: int, at: int) -> Type:
    ((linkage,),) = btf._tail("I", at, 1)
    return t.Var(name, TypeId(type_id), linkage)


def _datasec(btf: Btf, name: str, info: int, size: int, at: int) -> Type:
    records = btf._tail("III", at, info & MAX_VLEN)
    return t.Datasec(name, size, tuple(t.VarSecinfo(TypeId(v), o, s) for v, o, s in records))


def _decl_tag(btf: Btf, name: str, info: int, type_id: int, at: int) -> Type:
    ((component,),) = btf._tail("i", at, 1)
    return t.DeclTag(name, TypeId(type_id), component, bool(info >> 31))


def _ref(cls: type[t.RefType]) -> _Decoder:
    return lambda btf, name, info, type_id, at: cls(name, TypeId(type_id))


_DECODERS: dict[int, _Decoder] = {
    Kind.INT: _int,
    Kind.PTR: _ref(t.Ptr),
    Kind.ARRAY: _array,
    Kind.STRUCT: _struct,
    Kind.UNION: _union,
    Kind.ENUM: _enum,
    Kind.FWD: lambda btf, name, info, size, at: t.Fwd(name, bool(info >> 31)),
    Kind.TYPEDEF: _ref(t.Typedef),
    Kind.VOLATILE: _ref(t.Volatile),
    Kind.CONST: _ref(t.Const),
    Kind.RESTRICT: _ref(t.Restrict),
    Kind.FUNC: lambda btf, name, info, proto, at: t.Func(name, TypeId(proto), info & MAX_VLEN),
    Kind.FUNC_PROTO: _func_proto,
    Kind.VAR: _var,
    Kind.DATASEC: _datasec,
    Kind.FLOAT: lambda btf, name, info, size, at: t.Float(name, size),
    Kind.DECL_TAG: _decl_tag,
    Kind.TYPE_TAG: lambda btf, name, info, to, at: t.TypeTag(name, TypeId(to), bool(info >> 31)),
    Kind.ENUM64: _enum64,
}
