"""What counts of a type when an extern is compared with the kernel's; and hostile types."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lskel import budget
from lskel.btf.shape import Shapes
from lskel.btf.types import TypeId
from lskel.errors import LimitExceeded
from tests.build.btf import BtfBuilder


def kinds() -> tuple[BtfBuilder, dict[str, TypeId]]:
    btf = BtfBuilder()
    ids = {
        "int": btf.add_int("int", 4, 1),
        "char": btf.add_int("char", 1),
        "bits": btf.add_int("bits", 4, bits=3, offset=2),
        "double": btf.add_float("double", 8),
        "struct": btf.add_struct("s", 0),
        "union": btf.add_union("u", 0),
        "enum": btf.add_enum("e", []),
        "enum64": btf.add_enum64("e64", []),
        "incomplete": btf.add_fwd("s"),
        "incomplete_union": btf.add_fwd("u", union=True),
    }
    ids["pointer"] = btf.add_ptr(btf.add_const(ids["struct"]))
    ids["typedef"] = btf.add_typedef("t", btf.add_volatile(btf.add_type_tag("rcu", ids["pointer"])))
    ids["array"] = btf.add_array(btf.add_array(ids["char"], 2), 3)
    proto = btf.add_func_proto(ids["pointer"], [("a", ids["typedef"]), ("b", btf.add_restrict(2))])
    ids["function"] = proto
    ids["takes_function"] = btf.add_func_proto(0, [("f", btf.add_ptr(proto)), ("", 0)])
    ids["of_double"] = btf.add_func_proto(0, [("d", btf.add_ptr(ids["double"]))])
    ids["func"] = btf.add_func("func", proto)
    return btf, ids


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("int", "i"), ("char", "i"), ("struct", "s"), ("union", "u"), ("enum", "e")),
        *(("enum64", "e"), ("incomplete", "f"), ("incomplete_union", "f"), ("pointer", "ps")),
        *(("typedef", "ps"), ("array", "aai"), ("function", "(psi)ps")),
        ("takes_function", "(p(psi)psv)v"),
        # Compatible with none.
        *(("bits", ""), ("double", ""), ("of_double", ""), ("func", "")),
    ],
)
def test_shapes(name: str, shape: str) -> None:
    btf, ids = kinds()
    assert Shapes(btf.btf("big")).of(ids[name]) == shape


def itself() -> BtfBuilder:
    btf = BtfBuilder()
    btf.add_ptr(1)
    return btf


def takes_itself() -> BtfBuilder:
    btf = BtfBuilder()
    btf.add_func_proto(0, [("f", 2)])
    btf.add_ptr(1)
    return btf


def pointers(count: int) -> Callable[[], BtfBuilder]:
    def made() -> BtfBuilder:
        btf = BtfBuilder()
        for type_id in range(1, count + 1):
            btf.add_ptr(type_id + 1 if type_id < count else 0)
        return btf

    return made


@pytest.mark.parametrize(
    ("made", "shape"),
    [(itself, ""), (takes_itself, ""), (pointers(31), "p" * 31 + "v"), (pointers(32), "")],
)
def test_nested_too_deeply(made: Callable[[], BtfBuilder], shape: str) -> None:
    """As deep as libbpf goes, and no deeper."""
    assert Shapes(made().btf()).of(TypeId(1)) == shape


def test_functions_of_functions_are_bounded() -> None:
    """Each takes the next one four times: 4 ** 32 types."""
    btf = BtfBuilder()
    for level in range(33):
        btf.add_func_proto(0, [("", level + 2)] * 4 if level < 32 else [])
    with pytest.raises(LimitExceeded, match=f"{budget.SHAPE_PARTS + 1} types in the types of ext"):
        Shapes(btf.btf()).of(TypeId(1))
