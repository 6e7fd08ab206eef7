"""Ordering types for C: types that are used by value come first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.layout import Nesting
from lskel.btf.types import TypeId

# Types on the way from a root to a scalar, modifiers and typedefs included.
MAX_PATH = 256


class Need(NamedTuple):
    """A named type to declare at this point; not complete: a forward declaration."""

    type_id: TypeId
    complete: bool


def in_order(btf: Btf, roots: Iterable[TypeId]) -> list[Need]:
    """All named types that complete C declarations of `roots` need, the roots included.

    Structs and unions that are only pointed to need just a forward declaration. BadObject if a type
    contains itself.
    """
    walk = Walk(btf)
    for root in roots:
        walk.visit(root)
    return list(walk.needs)


class Walk:
    """A walk over several roots; `needs` are the types for complete declarations of all of them."""

    def __init__(self, btf: Btf) -> None:
        self.needs: dict[Need, None] = {}
        self._btf = btf
        self._seen: set[Need] = set()
        self._nesting = Nesting(MAX_PATH)

    def visit(self, type_id: TypeId, *, complete: bool = True) -> None:
        """Visit what the type needs; BadObject if it contains itself."""
        need = Need(type_id, complete)
        if need in self._seen:
            return
        with self._nesting.inside(type_id, complete):
            self._expand(need)
        self._seen.add(need)

    def _expand(self, need: Need) -> None:
        found = self._btf[need.type_id]
        match found:
            case t.CompositeType() if found.name and not need.complete:
                if Need(need.type_id, complete=True) not in self.needs:
                    self.needs[need] = None
                return
            case t.CompositeType():
                for member in found.members:
                    self.visit(member.type, complete=True)
            case t.ArrayType():
                self.visit(found.type, complete=True)
            case t.Datasec():
                for variable in found.vars:
                    self.visit(variable.type, complete=True)
            case t.Ptr() | t.Func():
                self.visit(found.type, complete=False)
            case t.FuncProto():
                self.visit(found.type, complete=False)
                for param in found.params:
                    self.visit(param.type, complete=False)
            case t.RefType():
                self.visit(found.type, complete=need.complete)
        if found.name and isinstance(found, t.CompositeType | t.Enum | t.Typedef | t.Fwd):
            self.needs[Need(need.type_id, complete=True)] = None
