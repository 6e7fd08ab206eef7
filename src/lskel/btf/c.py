"""BTF types as C declarations.

Type tags are omitted: only the verifier uses them, and compilers other than clang warn about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import MAX_DEPTH, Btf
from lskel.btf.kinds import Kind
from lskel.btf.layout import Nesting
from lskel.btf.types import TypeId
from lskel.errors import BadObject, LskelError, at
from lskel.light_typing import Generic

_QUALIFIERS = {Kind.CONST: "const", Kind.VOLATILE: "volatile", Kind.RESTRICT: "restrict"}
_TAGS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}

Text = TypeVar("Text", bound=str)


def type_name(btf: Btf, type_id: TypeId, declared: str = "") -> str:
    """The type in one line: ``const struct foo *``, ``int (*)(void *, int)``, ``char[16]``.

    Or what is `declared` with it: ``int main(void)``.

    Anonymous structs, unions and enums are ``struct {...}``. This is for messages, so names are
    unchanged, and it never raises: an error in BTF is shown in angle brackets.
    """
    try:
        return _TypeNames(btf, budget.NAME_MENTIONS).declare(type_id, declared)
    except LskelError as error:
        return f"<[{type_id}]: {error.what}>"


class Declarators(Generic[Text]):
    """Writes declarations with at most `limit` mentions of types in total.

    A subclass defines how text is built: `format` and `join` as those of `str`, and `spell` for
    names from BTF.
    """

    format: Callable[..., Text]
    join: Callable[[str, Iterable[Text]], Text]

    def __init__(self, btf: Btf, limit: int) -> None:
        self._btf = btf
        self._mentions = budget.Allowance(limit, "mentions of types")
        self._nesting = Nesting()

    def spell(self, name: str) -> Text:
        """A name from BTF, or a keyword; empty for an empty name."""
        raise NotImplementedError

    def nameless(self, type_id: TypeId, found: t.CompositeType | t.Enum, level: int) -> Text:
        """An anonymous struct, union or enum."""
        raise NotImplementedError

    def unknown(self, type_id: TypeId, found: t.Type) -> Text:
        """A kind that is not a type in C."""
        raise NotImplementedError

    def tag(self, kind: Kind) -> Text:
        """`struct`, `union` or `enum`."""
        return self.spell(_TAGS[kind])

    def declare(self, type_id: TypeId, inner: Text, level: int = 0) -> Text:
        """`inner` (a name or empty) declared with the type, at this level of indentation.

        C wraps a declarator from the inside out, in the order in which BTF chains types.
        """
        start = type_id
        qualifiers: list[Text] = []
        for _ in range(MAX_DEPTH):
            self.mention(start)
            found = self._btf[type_id]
            match found:
                case t.Const() | t.Volatile() | t.Restrict():
                    # In gcc's BTF, a const array of const elements has const twice.
                    qualifier = self.spell(_QUALIFIERS[found.kind])
                    if qualifier not in qualifiers:
                        qualifiers.append(qualifier)
                    type_id = found.type
                case t.TypeTag() | t.Var() | t.Func():
                    type_id = found.type
                case t.Ptr():
                    words = (*qualifiers, inner) if inner else qualifiers
                    inner = self.format("*{}", self.join(" ", words))
                    qualifiers.clear()
                    type_id = found.type
                case t.ArrayType():
                    inner = self.format("{}[{}]", self._bracketed(inner), found.nelems)
                    type_id = found.type
                case t.FuncProto():
                    params = self._params(type_id, found, level)
                    inner = self.format("{}({})", self._bracketed(inner), params)
                    # C has no qualified function types.
                    qualifiers.clear()
                    type_id = found.type
                case _:
                    base = self.join(" ", (*qualifiers, self._base(type_id, found, level)))
                    has_gap = inner and not inner.startswith("[")
                    return self.format("{} {}" if has_gap else "{}{}", base, inner)
        raise BadObject(f"BTF: type [{start}] is a chain of more than {MAX_DEPTH} types")

    def mention(self, type_id: TypeId) -> None:
        """Count a mention of a type: BTF with shared types can expand without bounds."""
        with at(f"BTF: type [{type_id}]"):
            self._mentions.spend()

    def _params(self, type_id: TypeId, proto: t.FuncProto, level: int) -> Text:
        with self._nesting.inside(type_id):
            texts = [
                self.declare(param.type, self.spell(param.name), level) for param in proto.params
            ]
        last = proto.params[-1] if proto.params else None
        # clang may describe `(void)` as one parameter without name and type.
        if len(texts) > 1 and last == t.Param("", t.VOID):
            texts[-1] = self.format("...")
        return self.join(", ", texts) or self.format("void")

    def _base(self, type_id: TypeId, found: t.Type, level: int) -> Text:
        match found:
            case t.CompositeType() | t.Enum():
                if not found.name:
                    return self.nameless(type_id, found, level)
                return self.format("{} {}", self.tag(found.kind), self.spell(found.name))
            case t.Fwd():
                kind = Kind.UNION if found.is_union else Kind.STRUCT
                return self.format("{} {}", self.tag(kind), self.spell(found.name))
            case t.Void():
                return self.format("void")
            case t.Int() | t.Float() | t.Typedef():
                if not found.name:
                    raise BadObject(f"BTF: {found.kind.name} [{type_id}] has no name")
                words = [found.name] if isinstance(found, t.Typedef) else found.name.split(" ")
                return self.join(" ", [self.spell(word) for word in words])
            case _:
                return self.unknown(type_id, found)

    def _bracketed(self, inner: Text) -> Text:
        """Arrays and calls bind more tightly than pointers."""
        return self.format("({})", inner) if inner.startswith("*") else inner


class _TypeNames(Declarators[str]):
    """Names for messages."""

    format = staticmethod(str.format)
    join = staticmethod(str.join)

    def spell(self, name: str) -> str:
        return name

    def nameless(self, type_id: TypeId, found: t.CompositeType | t.Enum, level: int) -> str:
        return f"{self.tag(found.kind)} {{...}}"

    def unknown(self, type_id: TypeId, found: t.Type) -> str:
        return f"{found.kind.name.lower()} {found.name}"
