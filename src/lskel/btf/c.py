"""BTF types as C text.

Type tags are left out: they mean something to the verifier only, and compilers other than clang
warn about them. Names are printed as BTF has them, which from other languages may be no C at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lskel.btf import types as t
from lskel.btf.btf import MAX_DEPTH, Btf
from lskel.btf.layout import Layout, Nesting, bitfield, round_up
from lskel.btf.order import in_order
from lskel.btf.types import Kind, TypeId
from lskel.errors import BadObject, LskelError, UsageError

# How many types one text may mention: BTF whose types share parts can say more than fits anywhere.
# The longest definition of the Linux kernel mentions 2,000, the longest name 41.
MAX_MENTIONS = 20_000
MAX_NAME_MENTIONS = 500

_KEYWORDS = {
    Kind.STRUCT: "struct",
    Kind.UNION: "union",
    Kind.ENUM: "enum",
    Kind.ENUM64: "enum",
    Kind.CONST: "const",
    Kind.VOLATILE: "volatile",
    Kind.RESTRICT: "restrict",
}
_PACKED = " __attribute__((packed))"
# What gives an enum more bytes than its values need. It makes the enum signed, too.
_ENUM_MODES = {2: " __attribute__((mode(HI)))", 8: " __attribute__((mode(DI)))"}


def type_name(btf: Btf, type_id: TypeId) -> str:
    """The type in one line: ``const struct foo *``, ``int (*)(void *, int)``, ``char[16]``.

    Anonymous structs, unions and enums are ``struct {...}``. This is for messages, so it never
    raises: where BTF is broken, the text says so in angle brackets.
    """
    try:
        return _Printer(btf, MAX_NAME_MENTIONS, bodies=False).declare(type_id, "")
    except LskelError as error:
        return f"<[{type_id}]: {error.what}>"


def declaration(btf: Btf, type_id: TypeId, name: str) -> str:
    """`name` declared with the type, without a semicolon: ``char name[16]``.

    The bodies of anonymous types are written out, over several lines. Of a VAR or FUNC it is the
    type that counts. BadObject where BTF is broken, UsageError where C has no such type.
    """
    return _Printer(btf, MAX_MENTIONS).declare(type_id, name)


def definition(btf: Btf, type_id: TypeId) -> str:
    """The C definition of a struct, union, enum, typedef, forward, variable or function.

    Structs come with explicit padding, and `packed` where needed, so that a compiler for a 64-bit
    target puts all members where BTF says they are. The text ends with a semicolon, without a
    newline. BadObject where BTF is broken, UsageError for what has no definition in C.
    """
    return _Printer(btf, MAX_MENTIONS).define(type_id)


def definitions(btf: Btf, roots: Iterable[TypeId]) -> Iterator[str]:
    """Definitions of all named types that `roots` need, in an order that C accepts.

    What is only pointed to is declared, not defined. Errors as of `definition`.
    """
    printer = _Printer(btf, MAX_MENTIONS)
    for need in in_order(btf, roots):
        yield printer.define(need.type_id) if need.complete else printer.forward(need.type_id)


class _Printer:
    """Writes types; `limit` is how many mentions of types each of its texts may have."""

    def __init__(self, btf: Btf, limit: int, *, bodies: bool = True) -> None:
        self._btf = btf
        self._limit = self._left = limit
        self._bodies = bodies
        self._layout = Layout(btf)
        self._nesting = Nesting()
        self._pads = 0

    def define(self, type_id: TypeId) -> str:
        """`definition`."""
        self._left = self._limit
        found = self._btf[type_id]
        match found:
            case t.Composite() | t.Enum():
                text = self._body(type_id, found, found.name, 0)
            case t.Typedef():
                text = f"typedef {self.declare(found.type, found.name)}"
            case t.Fwd():
                text = self.declare(type_id, "")
            case t.Var(linkage=t.VarLinkage.GLOBAL_EXTERN):
                text = f"extern {self.declare(type_id, found.name)}"
            case t.Var() | t.Func():
                text = self.declare(type_id, found.name)
            case _:
                raise UsageError(f"C has no definition of {found.kind.name} [{type_id}]")
        return f"{text};"

    def forward(self, type_id: TypeId) -> str:
        """`struct name;`."""
        return f"{self.declare(type_id, '')};"

    def declare(self, type_id: TypeId, inner: str, level: int = 0) -> str:
        """`inner` (a name, or nothing) declared with the type, at this level of indentation.

        C wraps a declarator from the inside out, in the order in which BTF chains types.
        """
        start = type_id
        qualifiers: list[str] = []
        for _ in range(MAX_DEPTH):
            self._mention(start)
            found = self._btf[type_id]
            match found:
                case t.Const() | t.Volatile() | t.Restrict():
                    # gcc's BTF has a const array of const elements as const twice.
                    if _KEYWORDS[found.kind] not in qualifiers:
                        qualifiers.append(_KEYWORDS[found.kind])
                    type_id = found.type
                case t.TypeTag() | t.Var() | t.Func():
                    type_id = found.type
                case t.Ptr():
                    inner = "*" + " ".join((*qualifiers, inner) if inner else qualifiers)
                    qualifiers.clear()
                    type_id = found.type
                case t.Array():
                    inner = f"{_bracketed(inner)}[{found.nelems}]"
                    type_id = found.type
                case t.FuncProto():
                    inner = f"{_bracketed(inner)}({self._params(type_id, found, level)})"
                    # C has no qualified function types.
                    qualifiers.clear()
                    type_id = found.type
                case _:
                    base = " ".join((*qualifiers, self._base(type_id, found, level)))
                    gap = " " if inner and not inner.startswith("[") else ""
                    return f"{base}{gap}{inner}"
        raise BadObject(f"BTF: type [{start}] is a chain of more than {MAX_DEPTH} types")

    def _mention(self, type_id: TypeId) -> None:
        self._left -= 1
        if self._left < 0:
            raise BadObject(f"BTF: type [{type_id}] mentions more than {self._limit} types")

    def _params(self, type_id: TypeId, proto: t.FuncProto, level: int) -> str:
        with self._nesting.inside(type_id):
            texts = [self.declare(param.type, param.name, level) for param in proto.params]
        last = proto.params[-1] if proto.params else None
        # clang describes `(void)` as one parameter without name and type, too.
        if len(texts) > 1 and last == t.Param("", t.VOID):
            texts[-1] = "..."
        return ", ".join(texts) or "void"

    def _base(self, type_id: TypeId, found: t.Type, level: int) -> str:
        match found:
            case t.Composite() | t.Enum():
                if found.name:
                    return f"{_KEYWORDS[found.kind]} {found.name}"
                if self._bodies:
                    return self._body(type_id, found, "", level)
                return f"{_KEYWORDS[found.kind]} {{...}}"
            case t.Fwd():
                return f"{'union' if found.is_union else 'struct'} {found.name}"
            case t.Void():
                return "void"
            case t.Int() | t.Float() | t.Typedef():
                if not found.name:
                    raise BadObject(f"BTF: {found.kind.name} [{type_id}] has no name")
                return found.name
            case _ if not self._bodies:
                return f"{found.kind.name.lower()} {found.name}"
            case _:
                raise UsageError(f"C has no type for {found.kind.name} '{found.name}' [{type_id}]")

    def _body(self, type_id: TypeId, found: t.Composite | t.Enum, name: str, level: int) -> str:
        head = f"{_KEYWORDS[found.kind]} {name}".rstrip()
        if isinstance(found, t.Enum):
            if not found.values:
                return head
            values = _values(found)
            attributes = _enum_attributes(found.size, [number for _, number in values])
            if attributes is None:
                raise BadObject(f"BTF: enum '{name}' [{type_id}] cannot have {found.size} bytes")
            lines = [f"{label} = {_literal(number)}," for label, number in values]
        else:
            with self._nesting.inside(type_id):
                lines = [f"{line};" for line in self._members(type_id, found, level + 1)]
                packed = self._layout.is_packed(type_id)
            attributes = _PACKED if packed else ""
        indent = "\t" * level
        body = "".join(f"{indent}\t{line}\n" for line in lines)
        return f"{head} {{\n{body}{indent}}}{attributes}"

    def _members(self, type_id: TypeId, found: t.Composite, level: int) -> Iterator[str]:
        packed = self._layout.is_packed(type_id)
        is_union = isinstance(found, t.Union)
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
            yield f"{text} : {width}" if bits else text
        if size > round_up(end, 8 * self._layout.align(type_id)):
            yield from self._padding(0 if is_union else end, size)

    def _member(self, member: t.Member, level: int) -> str | None:
        """A member as text; None where C cannot reach it, so that its bytes are padding."""
        if member.name:
            return self.declare(member.type, member.name, level)
        behind = self._btf.resolve(member.type)
        found = self._btf[behind]
        if not isinstance(found, t.Composite):
            return None
        if behind == self._btf.skip_modifiers(member.type) and not found.name:
            return self.declare(member.type, "", level)
        # Without a tag: a member `struct foo;` is known only to compilers told -fms-extensions.
        self._mention(behind)
        return self._body(behind, found, "", level)

    def _padding(self, start: int, end: int) -> Iterator[str]:
        """Members that fill the bits from `start` up to (not including) `end`."""
        head = min(-start % 8, end - start)
        whole, tail = divmod(end - start - head, 8)
        if head:
            yield f"char : {head}"
        if whole:
            self._pads += 1
            yield f"unsigned char __pad{self._pads}[{whole}]"
        if tail:
            yield f"char : {tail}"


def _bracketed(inner: str) -> str:
    """Arrays and calls bind more tightly than pointers."""
    return f"({inner})" if inner.startswith("*") else inner


def _values(found: t.Enum) -> list[tuple[str, int]]:
    # BTF of old compilers calls all enums unsigned and has negative values as 32 bits.
    mask = -1 if found.signed else (1 << 8 * min(found.size, 8)) - 1
    return [(label, number & mask) for label, number in found.values]


def _enum_attributes(size: int, numbers: list[int]) -> str | None:
    """What gives an enum of these numbers its size in bytes; None where nothing can."""
    sign = any(number < 0 for number in numbers)
    bits = max((number ^ -(number < 0)).bit_length() + sign for number in numbers)
    needed = next((bytes_ for bytes_ in (1, 2, 4) if bits <= 8 * bytes_), 8)
    if size == max(needed, 4):
        return ""
    if size == needed:
        return _PACKED
    return _ENUM_MODES.get(size) if size > needed else None


def _literal(number: int) -> str:
    if number == -(1 << 63):
        return f"{number + 1}LL - 1"
    if number >= 1 << 63:
        return f"{number}ULL"
    if not -(1 << 31) <= number < 1 << 32:
        return f"{number}LL"
    return f"{number}U" if number >= 1 << 31 else f"{number}"
