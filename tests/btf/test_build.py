"""Writing BTF: bpftool and the reader see what was put into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lskel.btf.btf import Btf
from lskel.btf.build import BtfBuilder
from lskel.btf.edit import BtfEditor
from lskel.btf.kinds import Kind
from lskel.btf.types import FuncLinkage, IntEncoding, StructType, VarLinkage
from lskel.cursor import ByteOrder
from tests.btf.samples import ORDERS
from tests.conftest import Run


def built(order: ByteOrder) -> BtfBuilder:
    btf = BtfBuilder(order)
    number = btf.add_int()
    btf.add_int("unsigned char", 1, IntEncoding.UNSIGNED)
    btf.add(Kind.STRUCT, "pair", 2, 8, btf.string("a"), number, 0, btf.string("b"), number, 32)
    proto = btf.add(Kind.FUNC_PROTO, "", 0, number)
    btf.add(Kind.FUNC, "a", FuncLinkage.GLOBAL, proto)
    btf.add_var("counter", number, VarLinkage.GLOBAL_ALLOCATED)
    return btf


@pytest.mark.parametrize("order", ORDERS)
def test_as_bpftool_reads_it(order: ByteOrder, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "btf"
    path.write_bytes(built(order).raw())
    assert run("bpftool", "btf", "dump", "file", path).splitlines() == [
        "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
        "[2] INT 'unsigned char' size=1 bits_offset=0 nr_bits=8 encoding=(none)",
        "[3] STRUCT 'pair' size=8 vlen=2",
        "\t'a' type_id=1 bits_offset=0",
        "\t'b' type_id=1 bits_offset=32",
        "[4] FUNC_PROTO '(anon)' ret_type_id=1 vlen=0",
        "[5] FUNC 'a' type_id=4 linkage=global",
        "[6] VAR 'counter' type_id=1, linkage=global",
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_each_string_once(order: ByteOrder) -> None:
    raw = built(order).raw()
    assert raw.endswith(b"\0int\0unsigned char\0a\0b\0pair\0counter\0")


@pytest.mark.parametrize("order", ORDERS)
def test_edited(order: ByteOrder) -> None:
    """Types go on from those that there are, and strings are those that there are."""
    btf = Btf(built(order).raw())
    editor = BtfEditor(btf)
    assert editor.finish() is btf
    added = editor.add_var("pair", btf.require("pair", StructType), VarLinkage.STATIC)
    after = editor.finish()
    assert added == btf.end_id and after.end_id == btf.end_id + 1
    assert after.raw[after.str_start : after.str_end] == btf.raw[btf.str_start : btf.str_end]
    assert after.raw[after.type_start :].startswith(btf.raw[btf.type_start : btf.type_end])
