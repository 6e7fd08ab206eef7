"""C declarations and definitions of BTF types, with their BTF names as identifiers."""

from __future__ import annotations

from collections.abc import Iterator

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.c import Declarators
from lskel.btf.layout import TypeLayout, bitfield, round_up
from lskel.btf.types import TypeId
from lskel.errors import BadObject, UsageError
from lskel.skeleton.c_source import number
from lskel.skeleton.source import Source, join, source, word

_NOTHING = source("")
_PACKED = source(" __attribute__((packed))")
# Attributes for an enum larger than its values need. They also make the enum signed.
_ENUM_MODES = {2: source(" __attribute__((mode(HI)))"), 8: source(" __attribute__((mode(DI)))")}


class CTypes(Declarators[Source]):
    """Writes types of one BTF; BadObject if BTF is invalid, LimitExceeded for too many."""

    format = staticmethod(source)
    join = staticmethod(join)

    def __init__(self, btf: Btf) -> None:
        super().__init__(btf, budget.HEADER_MENTIONS)
        self._layout = TypeLayout(btf)
        self._pads = 0

    def declaration(self, type_id: TypeId, name: str, level: int = 0) -> Source:
        """`name` declared with the type, without a semicolon: ``char name[16]``.

        Anonymous types are written with their bodies, on several lines, indented by `level`. For a
        VAR or FUNC, its type is used. UsageError if C has no such type.
        """
        self._pads = 0
        return self.declare(type_id, self.spell(name), level)

    def define(self, type_id: TypeId) -> Source:
        """The C definition of a struct, union, enum, typedef, forward, variable or function.

        Structs have explicit padding, and `packed` if needed, so that a compiler for a 64-bit
        target uses the member offsets of BTF. The text ends with a semicolon, without a newline.
        UsageError if the definition does not exist in C.
        """
        self._pads = 0
        found = self._btf[type_id]
        name = self.spell(found.name)
        match found:
            case t.CompositeType() | t.Enum():
                text = self._body(type_id, found, name, 0)
            case t.Typedef():
                text = source("typedef {}", self.declare(found.type, name))
            case t.Fwd():
                text = self.declare(type_id, _NOTHING)
            case t.Var(linkage=t.VarLinkage.GLOBAL_EXTERN):
                text = source("extern {}", self.declare(type_id, name))
            case t.Var() | t.Func():
                text = self.declare(type_id, name)
            case _:
                raise UsageError(f"C has no definition of {found.kind.name} [{type_id}]")
        return source("{};", text)

    def forward(self, type_id: TypeId) -> Source:
        """The forward declaration of a named struct or union."""
        return source("{};", self.declare(type_id, _NOTHING))

    def spell(self, name: str) -> Source:
        if isinstance(name, Source):
            return name
        return word(name) if name else _NOTHING

    def nameless(self, type_id: TypeId, found: t.CompositeType | t.Enum, level: int) -> Source:
        return self._body(type_id, found, _NOTHING, level)

    def unknown(self, type_id: TypeId, found: t.Type) -> Source:
        raise UsageError(f"C has no type for {found.kind.name} '{found.name}' [{type_id}]")

    def _body(
        self, type_id: TypeId, found: t.CompositeType | t.Enum, name: Source, level: int
    ) -> Source:
        head = join(" ", (self.tag(found.kind), name) if name else (self.tag(found.kind),))
        if isinstance(found, t.Enum):
            if not found.values:
                return head
            values = _values(found)
            attributes = _enum_attributes(found.size, [value for _, value in values])
            if attributes is None:
                raise BadObject(f"BTF: enum '{name}' [{type_id}] cannot have {found.size} bytes")
            lines = [
                source("{} = {},", self.spell(label), number(value)) for label, value in values
            ]
        else:
            with self._nesting.inside(type_id):
                lines = [source("{};", line) for line in self._members(type_id, found, level + 1)]
                packed = self._layout.is_packed(type_id)
            attributes = _PACKED if packed else _NOTHING
        indent = join("", [source("\t")] * level)
        body = join("", [source("{}\t{}\n", indent, line) for line in lines])
        return source("{} {{\n{}{}}}{}", head, body, indent, attributes)

    def _members(self, type_id: TypeId, found: t.CompositeType, level: int) -> Iterator[Source]:
        packed = self._layout.is_packed(type_id)
        is_union = isinstance(found, t.UnionType)
        end, size = 0, 8 * found.size
        for member in found.members:
            bits = bitfield(self._btf, member)
            start, width = bits or (member.bit_offset, 8 * self._btf.size_of(member.type))
            if start + width > size or (start if is_union else start < end):
                raise BadObject(
                    f"BTF: member '{member.name}' of {found.kind.name} '{found.name}' [{type_id}] "
                    f"cannot be at bit {start}"
                )
            text = self._member(member, level)
            if text is None:
                continue
            if is_union:
                end = max(end, width)
            else:
                if self._layout.natural(end, member, packed=packed) != start:
                    yield from self._padding(end, start)
                end = start + width
            yield source("{} : {}", text, width) if bits else text
        if size > round_up(end, 8 * self._layout.align(type_id)):
            yield from self._padding(0 if is_union else end, size)

    def _member(self, member: t.BtfMember, level: int) -> Source | None:
        """A member as text; None if C cannot access it, so that its bytes are padding."""
        if member.name:
            return self.declare(member.type, self.spell(member.name), level)
        behind = self._btf.resolve(member.type)
        found = self._btf[behind]
        if not isinstance(found, t.CompositeType):
            return None
        if behind == self._btf.skip_modifiers(member.type) and not found.name:
            return self.declare(member.type, _NOTHING, level)
        # Without a tag: a member `struct foo;` needs -fms-extensions.
        self.mention(behind)
        return self._body(behind, found, _NOTHING, level)

    def _padding(self, start: int, end: int) -> Iterator[Source]:
        """Members that fill the bits from `start` to `end` (exclusive)."""
        head = min(-start % 8, end - start)
        whole, tail = divmod(end - start - head, 8)
        if head:
            yield source("char : {}", head)
        if whole:
            self._pads += 1
            yield source("unsigned char __pad{}[{}]", self._pads, whole)
        if tail:
            yield source("char : {}", tail)


def _values(found: t.Enum) -> list[tuple[str, int]]:
    # In BTF of old compilers all enums are unsigned, and negative values are 32-bit patterns.
    mask = -1 if found.signed else (1 << 8 * min(found.size, 8)) - 1
    return [(label, value & mask) for label, value in found.values]


def _enum_attributes(size: int, numbers: list[int]) -> Source | None:
    """The attributes for an enum of these numbers and this size in bytes; None if impossible."""
    sign = any(number < 0 for number in numbers)
    bits = max((number ^ -(number < 0)).bit_length() + sign for number in numbers)
    needed = next((bytes_ for bytes_ in (1, 2, 4) if bits <= 8 * bytes_), 8)
    if size == max(needed, 4):
        return _NOTHING
    if size == needed:
        return _PACKED
    return _ENUM_MODES.get(size) if size > needed else None
