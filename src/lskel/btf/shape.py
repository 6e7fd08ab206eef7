"""The shape of a type: all that counts when an extern is compared with the kernel's.

libbpf compares by the rules of CO-RE for types (`bpf_core_types_are_compat` in
tools/lib/bpf/relo_core.c, Linux 7.3): names, sizes, signs, qualifiers and typedefs do not count.
Two types are compatible if their shapes are equal, and not empty.
"""

from __future__ import annotations

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.btf.types import TypeId

# libbpf follows no more: pointers, dimensions and results in sequence, and functions as parameters.
MAX_STEPS = 32
MAX_LEVELS = 32

# A letter for each kind; all others are compatible with none.
LETTERS = {
    Kind.UNKN: "v",  # void
    Kind.INT: "i",
    Kind.PTR: "p",
    Kind.ARRAY: "a",
    Kind.STRUCT: "s",
    Kind.UNION: "u",
    Kind.ENUM: "e",
    Kind.ENUM64: "e",
    Kind.FWD: "f",
    Kind.FUNC_PROTO: "(",
}
# What follows parameters; then comes the result.
END = ")"


class Shapes:
    """The shapes of types of one BTF: at most `budget.SHAPE_PARTS` letters in total."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._allowance = budget.Allowance(budget.SHAPE_PARTS, "types in the types of externs")

    def of(self, type_id: TypeId) -> str:
        """A letter for each type: ``int (struct foo *, char **)`` has the shape ``(psppi)i``.

        Empty for a type that is compatible with none, itself included: floating-point numbers, and
        what is nested too deeply, as types are that contain themselves.
        """
        try:
            return "".join(self._parts(type_id, MAX_LEVELS))
        except _Incompatible:
            return ""

    def _parts(self, type_id: TypeId, levels: int) -> list[str]:
        found: list[str] = []
        for _ in range(MAX_STEPS):
            self._allowance.spend()
            type_ = self._btf[self._btf.resolve(type_id)]
            if type_.kind not in LETTERS or isinstance(type_, t.UnknownType):
                raise _Incompatible
            found.append(LETTERS[type_.kind])
            match type_:
                case t.Ptr() | t.ArrayType():
                    type_id = type_.type
                case t.FuncProto():
                    if type_.params and not levels:
                        raise _Incompatible
                    for param in type_.params:
                        found += self._parts(param.type, levels - 1)
                    found.append(END)
                    type_id = type_.type
                case t.Int() if type_.offset:
                    raise _Incompatible
                case _:
                    return found
        raise _Incompatible


class _Incompatible(Exception):
    """The type is compatible with none."""
