"""Types of debug information as BTF."""

from __future__ import annotations

from collections.abc import Iterator

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import MAX_SIZE, Btf
from lskel.btf.build import BtfBuilder
from lskel.btf.edit import BtfEditor
from lskel.btf.layout import Nesting
from lskel.btf.types import IntEncoding, TypeId
from lskel.cursor import ByteOrder
from lskel.dwarf.constants import Attr, Encoding, Tag
from lskel.dwarf.reader import Dwarf, Entry
from lskel.errors import BadObject, NotSupported, at

_COMPOSITES: dict[int, type[t.CompositeType]] = {
    Tag.STRUCTURE_TYPE: t.StructType,
    Tag.UNION_TYPE: t.UnionType,
}
_QUALIFIERS = (Tag.CONST_TYPE, Tag.VOLATILE_TYPE, Tag.RESTRICT_TYPE, Tag.ATOMIC_TYPE)
# clang does not mark characters as CHAR in BTF, but by their names.
_ENCODINGS: dict[int, IntEncoding] = {
    Encoding.BOOLEAN: IntEncoding.BOOL,
    Encoding.SIGNED: IntEncoding.SIGNED,
    Encoding.SIGNED_CHAR: IntEncoding.SIGNED,
    Encoding.UNSIGNED: IntEncoding.UNSIGNED,
    Encoding.UNSIGNED_CHAR: IntEncoding.UNSIGNED,
}
# More qualifiers or typedefs than any type has.
_CHAIN = 64


def unqualified(dwarf: Dwarf, entry: Entry | None) -> Entry | None:
    """The type without const, volatile, restrict; None for void."""
    for _ in range(_CHAIN):
        if entry is None or entry.tag not in _QUALIFIERS:
            return entry
        entry = dwarf.follow(entry, Attr.TYPE)
    raise BadObject("section .debug_info: a chain of qualifiers without end")


def resolved(dwarf: Dwarf, entry: Entry | None) -> Entry | None:
    """The type without qualifiers and typedefs; None for void."""
    for _ in range(_CHAIN):
        entry = unqualified(dwarf, entry)
        if entry is None or entry.tag != Tag.TYPEDEF:
            return entry
        entry = dwarf.follow(entry, Attr.TYPE)
    raise BadObject("section .debug_info: a chain of typedefs without end")


class TypeConverter:
    """Appends types of debug information to BTF, or starts with none.

    Types that the BTF has are not added again. Pointers are `void *`: what they point to is not
    needed for values. BadObject if a type is incomplete or damaged.
    """

    def __init__(self, order: ByteOrder, base: Btf | None) -> None:
        self._order = order
        self._base = base
        self._builder = BtfBuilder(order) if base is None else BtfEditor(base)
        self._converted: dict[tuple[Dwarf, int], TypeId] = {}
        self._added: dict[t.Type, TypeId] = {}
        self._nesting: dict[Dwarf, Nesting] = {}
        self._members = budget.Allowance(budget.DWARF_MEMBERS, "members of types in DWARF")

    @property
    def btf(self) -> Btf:
        """The BTF with the types so far."""
        return Btf(self._builder.raw())

    def add(self, dwarf: Dwarf, entry: Entry | None) -> TypeId:
        """The id of a type; of a qualified one without the qualifiers."""
        entry = unqualified(dwarf, entry)
        if entry is None:
            return t.VOID
        key = (dwarf, entry.offset)
        if key not in self._converted:
            with (
                at(f"section .debug_info: type '{dwarf.name(entry)}' at {entry.offset:#x}"),
                self._nesting.setdefault(dwarf, Nesting()).inside(TypeId(entry.offset)),
            ):
                known = self._in_base(dwarf, entry)
                self._converted[key] = known or self._add(self._convert(dwarf, entry))
        return self._converted[key]

    def _in_base(self, dwarf: Dwarf, entry: Entry) -> TypeId | None:
        """The base's struct or union of this name, or typedef of a nameless one, if it is alike."""
        cls = t.Typedef if entry.tag == Tag.TYPEDEF else _COMPOSITES.get(entry.tag)
        known = self._base.find(dwarf.name(entry), cls) if self._base and cls else None
        if self._base is None or known is None:
            return None
        behind: Entry | None = entry
        found = self._base[known]
        if isinstance(found, t.Typedef):
            behind = unqualified(dwarf, dwarf.follow(entry, Attr.TYPE))
            found = self._base[self._base.skip_modifiers(found.type)]
            if behind is None or found.name or dwarf.name(behind):
                return None
        is_alike = (
            behind is not None
            and isinstance(found, t.CompositeType)
            and type(found) is _COMPOSITES.get(behind.tag)
            and (found.size, [member[:1] + member[2:] for member in found.members])
            == (behind.number(Attr.BYTE_SIZE), list(self._places(dwarf, behind)))
        )
        return known if is_alike else None

    def _places(self, dwarf: Dwarf, entry: Entry) -> Iterator[tuple[str, int, int]]:
        """Name, first bit and bits of a bit-field of each member."""
        for member in entry.children:
            if member.tag == Tag.MEMBER:
                self._members.spend()
                bit = self._first_bit(dwarf, member)
                yield dwarf.name(member), bit, member.number(Attr.BIT_SIZE)

    def _convert(self, dwarf: Dwarf, entry: Entry) -> t.Type:
        name = dwarf.name(entry)
        match entry.tag:
            case Tag.STRUCTURE_TYPE:
                return t.StructType(name, *self._composite(dwarf, entry))
            case Tag.UNION_TYPE:
                return t.UnionType(name, *self._composite(dwarf, entry))
            case Tag.BASE_TYPE:
                return _number(entry, name)
            case Tag.TYPEDEF:
                return t.Typedef(name, self.add(dwarf, dwarf.follow(entry, Attr.TYPE)))
            case Tag.ENUMERATION_TYPE:
                return self._enum(dwarf, entry, name)
            case Tag.ARRAY_TYPE:
                return self._array(dwarf, entry)
            case Tag.POINTER_TYPE:
                return t.Ptr("", t.VOID)
        raise NotSupported(f"entry {entry.tag:#x} is not a type of C values")

    def _composite(self, dwarf: Dwarf, entry: Entry) -> tuple[int, tuple[t.BtfMember, ...]]:
        if Attr.DECLARATION in entry.attrs or Attr.BYTE_SIZE not in entry.attrs:
            raise BadObject("the type is incomplete")
        members = (child for child in entry.children if child.tag == Tag.MEMBER)
        return entry.number(Attr.BYTE_SIZE), tuple(
            t.BtfMember(name, self.add(dwarf, dwarf.follow(member, Attr.TYPE)), bit, bits)
            for member, (name, bit, bits) in zip(members, self._places(dwarf, entry), strict=True)
        )

    def _first_bit(self, dwarf: Dwarf, member: Entry) -> int:
        if Attr.DATA_BIT_OFFSET in member.attrs:
            return member.number(Attr.DATA_BIT_OFFSET)
        start = 8 * member.number(Attr.DATA_MEMBER_LOCATION)
        if Attr.BIT_OFFSET not in member.attrs:
            return start
        # DWARF 2 counts from the highest bit of the storage.
        offset = member.number(Attr.BIT_OFFSET)
        if self._order == "big":
            return start + offset
        storage = resolved(dwarf, dwarf.follow(member, Attr.TYPE))
        size = 0 if storage is None else storage.number(Attr.BYTE_SIZE)
        bits = 8 * member.number(Attr.BYTE_SIZE, size)
        return start + bits - offset - member.number(Attr.BIT_SIZE)

    def _enum(self, dwarf: Dwarf, entry: Entry, name: str) -> t.Enum:
        found = [child for child in entry.children if child.tag == Tag.ENUMERATOR]
        self._members.spend(1 + len(found))
        values = tuple((dwarf.name(child), child.number(Attr.CONST_VALUE)) for child in found)
        storage = resolved(dwarf, dwarf.follow(entry, Attr.TYPE))
        encoding = 0 if storage is None else storage.number(Attr.ENCODING)
        is_signed = encoding in (Encoding.SIGNED, Encoding.SIGNED_CHAR)
        size = entry.number(Attr.BYTE_SIZE)
        cls = t.Enum64 if size == 8 else t.Enum
        return cls(name, size, is_signed or any(value < 0 for _, value in values), values)

    def _array(self, dwarf: Dwarf, entry: Entry) -> t.ArrayType:
        element = self.add(dwarf, dwarf.follow(entry, Attr.TYPE))
        index = self._add(t.Int("__ARRAY_SIZE_TYPE__", 4, IntEncoding.UNSIGNED, 0, 32))
        # The last dimension is the innermost; a flexible array has no count.
        counts = [
            child.number(Attr.COUNT, child.number(Attr.UPPER_BOUND, -1) + 1)
            for child in entry.children
            if child.tag == Tag.SUBRANGE_TYPE
        ] or [0]
        self._members.spend(len(counts))
        if not all(0 <= count <= MAX_SIZE for count in counts):
            raise BadObject(f"an array of {max(counts)} elements")
        for count in reversed(counts[1:]):
            element = self._add(t.ArrayType("", element, index, count))
        return t.ArrayType("", element, index, counts[0])

    def _add(self, found: t.Type) -> TypeId:
        """The id of a type, of the base if it has the same one."""
        if found not in self._added:
            known = self._base.find(found.name, type(found)) if self._base is not None else None
            if known is None or self._base is None or not _is_same(self._base[known], found):
                known = self._append(found)
            self._added[found] = known
        return self._added[found]

    def _append(self, found: t.Type) -> TypeId:
        string = self._builder.string
        vlen, size, words = 0, 0, list[int]()
        match found:
            case t.Int():
                size, words = found.size, [found.encoding << 24 | found.bits]
            case t.Float():
                size = found.size
            case t.RefType():
                size = found.type
            case t.ArrayType():
                words = [found.type, found.index_type, found.nelems]
            case t.Enum():
                vlen, size = len(found.values) | found.signed << 31, found.size
                for name, value in found.values:
                    words += [string(name), value & 0xFFFFFFFF]
                    words += [value >> 32 & 0xFFFFFFFF] if isinstance(found, t.Enum64) else []
            case t.CompositeType():
                has_bits = any(member.bitfield_size for member in found.members)
                vlen, size = len(found.members) | has_bits << 31, found.size
                for member in found.members:
                    start, width = member.bit_offset, member.bitfield_size
                    if not 0 <= start < 1 << (24 if has_bits else 32) or not 0 <= width < 1 << 8:
                        raise BadObject(f"member '{member.name}' cannot be at bit {start}")
                    words += [string(member.name), member.type, start | width << 24]
        if vlen & 0x7FFFFFFF > 0xFFFF or not 0 <= size <= MAX_SIZE:
            raise NotSupported("the type is too large for BTF")
        return self._builder.add(found.kind, found.name, vlen, size, *words)


def _number(entry: Entry, name: str) -> t.Int | t.Float:
    size, encoding = entry.number(Attr.BYTE_SIZE), entry.number(Attr.ENCODING)
    if encoding == Encoding.FLOAT:
        return t.Float(name, size)
    if encoding not in _ENCODINGS or size > 16:
        raise NotSupported(f"encoding {encoding:#x} of {size} bytes")
    return t.Int(name, size, _ENCODINGS[encoding], 0, 8 * size)


def _is_same(known: t.Type, found: t.Type) -> bool:
    """Whether two types of one name have the same values; structs are compared before."""
    if isinstance(known, t.Enum) and isinstance(found, t.Enum):
        return (known.size, known.values) == (found.size, found.values)
    return known == found and not isinstance(known, t.CompositeType)
