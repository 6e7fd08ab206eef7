"""BTF to come: layout sections, wider vlen and kind, and kinds that are skipped by their layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lskel.btf import types as t
from lskel.btf.btf import KINDS, Btf
from lskel.btf.edit import BtfEditor
from lskel.btf.types import TypeId
from lskel.cursor import ByteOrder
from lskel.errors import BadObject
from tests.btf.samples import NEWER, NEWER_LAYOUT, NEWEST, ORDERS, everything, newer
from tests.build.btf import LAYOUT, BtfBuilder
from tests.conftest import Run


@pytest.mark.parametrize("order", ORDERS)
def test_a_layout_changes_nothing_for_known_kinds(order: ByteOrder) -> None:
    btf = everything()
    plain = btf.btf(order)
    # What it says of known kinds counts for nothing, as with libbpf.
    for layout in (LAYOUT, dict.fromkeys(LAYOUT, (3, 252))):
        btf.layout = layout
        found = btf.btf(order)
        assert list(found) == list(plain)
        assert not found.has_unknown_kinds and len(found.layout) == 4 * len(LAYOUT)


@pytest.mark.parametrize("order", ORDERS)
def test_newer_kinds_are_skipped(order: ByteOrder) -> None:
    found, known = newer().btf(order), everything().btf(order)
    assert found.has_unknown_kinds and not known.has_unknown_kinds
    assert list(found)[: len(known) - 1] == list(known)
    assert [type_ for _, type_ in list(found)[len(known) - 1 :]] == [
        t.UnknownType("newer", NEWER),
        found[TypeId(len(known) + 1)],
        t.UnknownType("", NEWEST),
        t.Ptr("", TypeId(len(known) + 1)),
    ]
    assert found.find("last", t.Int) == len(known) + 1
    with pytest.raises(BadObject, match=r"UNKN 'newer' .* has no size"):
        found.size_of(TypeId(len(known)))


@pytest.mark.parametrize("order", ORDERS)
def test_as_libbpf_reads_them(order: ByteOrder, reference: Run, tmp_path: Path) -> None:
    """For libbpf 1.8: big-endian BTF with newer kinds is the one thing that it does not read."""
    btf = newer()
    if order == "big":
        btf = everything()
        btf.layout = NEWER_LAYOUT
    path = tmp_path / "btf"
    path.write_bytes(btf.bytes(order))
    said = json.loads(reference("-j", "btf", "dump", "file", path))["types"]
    assert [(each["id"], each["name"]) for each in said] == [
        (type_id, found.name or "(anon)") for type_id, found in btf.btf(order)
    ]
    assert [each["id"] for each in said if each["kind"] == "UNKNOWN"] == [
        type_id for type_id, found in btf.btf(order) if isinstance(found, t.UnknownType)
    ]


def test_a_modules_kinds_have_the_layout_of_vmlinux() -> None:
    base = everything()
    base.layout = NEWER_LAYOUT
    module = BtfBuilder(base)
    module.add(NEWER, "newer", words=range(2))
    last = module.add_int("of the module", 4)
    assert module.btf().find("of the module", t.Int) == last
    base.layout = {}
    with pytest.raises(BadObject, match=rf"type \[{last - 1}\] .* kind {NEWER} is unknown"):
        module.btf()


def test_more_members_than_16_bits_count() -> None:
    btf = BtfBuilder()
    count = (1 << 16) + 5
    values = [(f"v{number}", number) for number in range(count)]
    wide = btf.add_enum("wide", values)
    last = btf.add_int("last", 4)
    found = btf.btf()
    assert found.get(wide, t.Enum).values[-1] == values[-1]
    assert found.find("last", t.Int) == last


@pytest.mark.parametrize("order", ORDERS)
def test_edited(order: ByteOrder) -> None:
    """The layout stays: without it, the newer kinds could not be read again."""
    btf = newer().btf(order)
    editor = BtfEditor(btf)
    added = editor.add_int("added", 2)
    editor.set_name(TypeId(1), "renamed")
    after = editor.finish()
    assert (after.layout, after.header_size) == (btf.layout, btf.header_size)
    assert list(after)[1:-1] == list(btf)[1:]
    assert after[TypeId(1)].name == "renamed"
    assert after.find("added", t.Int) == added == btf.end_id


@pytest.mark.parametrize(
    ("layout", "header", "message"),
    [
        ({}, {}, f"kind {NEWER} is unknown"),
        (LAYOUT, {}, f"kind {NEWER} is unknown"),
        (NEWER_LAYOUT | {NEWER: (7, 16)}, {}, f"kind {NEWER} is unknown"),
        (NEWER_LAYOUT | {NEWER: (8, 15)}, {}, f"kind {NEWER} is unknown"),
        (NEWER_LAYOUT | {NEWER: (252, 252)}, {}, "is cut off"),
        (NEWER_LAYOUT, {"layout_len": 4 * KINDS - 1}, "layout section .* is out of range"),
        (NEWER_LAYOUT, {"layout_len": 4 * KINDS + 4}, "layout section .* is out of range"),
        (NEWER_LAYOUT, {"layout_len": 0xFFFFFFFC}, "layout section .* is out of range"),
        (NEWER_LAYOUT, {"layout_off": 0}, "layout section .* is out of range"),
        (NEWER_LAYOUT, {"layout_off": 0xFFFFFFFC}, "layout section .* is out of range"),
        (NEWER_LAYOUT, {"layout_len": 0}, f"kind {NEWER} is unknown"),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_wrong_layouts(
    layout: dict[int, tuple[int, int]], header: dict[str, int], message: str, order: ByteOrder
) -> None:
    btf = newer()
    btf.layout = layout
    with pytest.raises(BadObject, match=message):
        Btf(btf.bytes(order, header=header))
