"""CO-RE relocations in words. Real ones are compared with llvm-objdump's in test_listing.py."""

from __future__ import annotations

import struct

import pytest

from lskel.btf.btf import Btf
from lskel.btf.ext import Records
from lskel.btf.types import TypeId
from lskel.core_relo.records import CoreKind
from lskel.cursor import ByteOrder, mark
from lskel.describe.core import CoreRelo, CoreRelos
from tests.btf.samples import ORDERS
from tests.build.btf import BtfBuilder

BYTE_OFFSET, FIELD_EXISTS, TYPE_EXISTS, ENUMERATOR_EXISTS = 0, 2, 8, 10


def builder() -> tuple[BtfBuilder, dict[str, TypeId]]:
    b = BtfBuilder()
    number = b.add_int("int", 4)
    anonymous = b.add_union("", 4, [("a", number, 0), ("b", number, 0)])
    row = b.add_typedef("row_t", b.add_array(number, 4, number))
    outer = b.add_struct(
        "outer", 36, [("", anonymous, 0), ("rows", b.add_array(row, 2, number), 32)]
    )
    ids = {
        "int": number,
        "outer": outer,
        "typedef": b.add_typedef("outer_t", b.add_const(outer)),
        "enum": b.add_enum("color", [("RED", 0), ("BLUE", 7)]),
        "enum64": b.add_typedef("wide_t", b.add_enum64("wide", [("ALL", 1 << 40)])),
        "pointer": b.add_ptr(outer),
    }
    return b, ids


def relocation(type_: str, access: str, kind: int, order: ByteOrder = "little") -> CoreRelo:
    """The relocation of instruction 3, read back."""
    b, ids = builder()
    fields = (24, ids[type_], b.string(access), kind)
    records = Records(16, struct.pack(f"{mark(order)}IIII", *fields))
    relos = CoreRelos(records, Btf(b.bytes(order)), order)
    assert relos.at(2) == relos.at(24) == ()
    (relo,) = relos.at(3)
    assert relo.access == access
    return relo


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("type_", "access", "kind", "target"),
    [
        ("outer", "0", BYTE_OFFSET, "struct outer"),
        ("outer", "2", BYTE_OFFSET, "struct outer[2]"),
        ("outer", "0:0:1", BYTE_OFFSET, "struct outer.b"),
        ("outer", "0:1:1:3", BYTE_OFFSET, "struct outer.rows[1][3]"),
        ("typedef", "1:0", FIELD_EXISTS, "outer_t[1]"),
        ("typedef", "0:1", FIELD_EXISTS, "outer_t.rows"),
        ("outer", "0", TYPE_EXISTS, "struct outer"),
        ("enum", "0", TYPE_EXISTS, "enum color"),
        ("enum", "1", ENUMERATOR_EXISTS, "enum color::BLUE"),
        ("enum64", "0", ENUMERATOR_EXISTS, "wide_t::ALL"),
        ("pointer", "0", TYPE_EXISTS, "struct outer *"),
    ],
)
def test_targets(type_: str, access: str, kind: int, target: str, order: ByteOrder) -> None:
    relo = relocation(type_, access, kind, order)
    assert (relo.kind, relo.target) == (CoreKind(kind).name.lower(), target)


@pytest.mark.parametrize(
    ("type_", "access", "kind", "complaint"),
    [
        ("outer", "0:2", BYTE_OFFSET, "<struct outer: index 2 out of range, it has 2 parts>"),
        ("outer", "0:0:0:0", BYTE_OFFSET, "<struct outer.a: INT has no members or elements>"),
        ("pointer", "0:0", BYTE_OFFSET, "<struct outer *: PTR has no members or elements>"),
        ("enum", "2", ENUMERATOR_EXISTS, "<enum color: index 2 out of range, it has 2 parts>"),
        ("int", "0", ENUMERATOR_EXISTS, "<BTF: type [1] 'int' is INT, expected ENUM>"),
        ("outer", "", BYTE_OFFSET, "<access path is not a list of indexes>"),
        ("outer", "0:-1", BYTE_OFFSET, "<access path is not a list of indexes>"),
        ("outer", "0:" + "9" * 5000, BYTE_OFFSET, "<access path is not a list of indexes>"),
        (
            "outer",
            ":".join("0" * 64),
            BYTE_OFFSET,
            "<struct outer.a: INT has no members or elements>",
        ),
        ("outer", ":".join("0" * 65), BYTE_OFFSET, "<access path has more than 64 steps>"),
    ],
)
def test_broken_paths_are_said_in_place(type_: str, access: str, kind: int, complaint: str) -> None:
    assert relocation(type_, access, kind).target == complaint


def test_kinds_of_the_future() -> None:
    assert relocation("outer", "0", len(CoreKind)).kind == f"kind {len(CoreKind)}"


def test_no_btf() -> None:
    assert CoreRelos(Records(16, bytes(16)), None, "little").at(0) == ()
