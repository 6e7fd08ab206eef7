"""The reader against bpftool, on BTF made by hand, and on BTF that is wrong."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from lskel.btf import types as t
from lskel.btf.btf import MAX_TYPES, Btf
from lskel.btf.kinds import Kind
from lskel.btf.types import TypeId
from lskel.cursor import ByteOrder
from lskel.elf.object import Elf
from lskel.errors import BadObject, LskelError, NotFound
from tests.btf.samples import LIMIT_MS, ORDERS, damaged, everything, module
from tests.build.btf import HEADER_SIZE, BtfBuilder
from tests.conftest import Run, lacking

VMLINUX = Path("/sys/kernel/btf/vmlinux")
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.bpf.o"))
_LINKAGES = {0: "static", 1: "global", 2: "extern"}


def _as_bpftool(type_id: TypeId, found: t.Type) -> dict[str, Any]:
    """What `bpftool -j btf dump` says about a type."""

    def named(name: str) -> str:
        return name or "(anon)"

    said: dict[str, Any] = {"id": type_id, "kind": found.kind.name, "name": named(found.name)}
    match found:
        case t.Int():
            encoding = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}[found.encoding]
            said |= {"size": found.size, "bits_offset": found.offset, "nr_bits": found.bits}
            said |= {"encoding": encoding}
        case t.Float():
            said |= {"size": found.size}
        case t.ArrayType():
            said |= {"type_id": found.type, "index_type_id": found.index_type}
            said |= {"nr_elems": found.nelems}
        case t.CompositeType():
            members = []
            for m in found.members:
                member = {"name": named(m.name), "type_id": m.type, "bits_offset": m.bit_offset}
                members.append(
                    member | ({"bitfield_size": m.bitfield_size} if m.bitfield_size else {})
                )
            said |= {"size": found.size, "vlen": len(members), "members": members}
        case t.Enum():
            values = [{"name": name, "val": number} for name, number in found.values]
            said |= {"encoding": "SIGNED" if found.signed else "UNSIGNED"}
            said |= {"size": found.size, "vlen": len(values), "values": values}
        case t.Fwd():
            said |= {"fwd_kind": "union" if found.is_union else "struct"}
        case t.FuncProto():
            params = [{"name": named(p.name), "type_id": p.type} for p in found.params]
            said |= {"ret_type_id": found.type, "vlen": len(params), "params": params}
        case t.Func():
            said |= {"type_id": found.type, "linkage": _LINKAGES[found.linkage]}
        case t.Var():
            said |= {"type_id": found.type, "linkage": _LINKAGES[found.linkage]}
        case t.Datasec():
            variables = [
                {"type_id": v.type, "offset": v.offset, "size": v.size} for v in found.vars
            ]
            said |= {"size": found.size, "vlen": len(variables), "vars": variables}
        case t.DeclTag():
            said |= {"type_id": found.type, "component_idx": found.component}
        case t.RefType():
            said |= {"type_id": found.type}
        case _:
            raise AssertionError(found)
    return said


def _compare(run: Run, btf: Btf, *path: str | Path) -> set[str]:
    """Compare all types; gives the kinds that were met."""
    theirs = json.loads(run("bpftool", "-j", *path))["types"]
    for said in theirs:
        if said["kind"] == "ENUM" and said["encoding"] == "UNSIGNED":
            for value in said["values"]:
                value["val"] &= 0xFFFFFFFF  # bpftool 7.1 extends a sign that is none
    ours = [_as_bpftool(type_id, found) for type_id, found in btf]
    assert len(ours) == len(theirs)
    assert [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b] == []
    return {said["kind"] for said in ours}


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    if not VMLINUX.exists():
        lacking(f"there is no {VMLINUX}")
    return Btf(VMLINUX.read_bytes())


def test_kernel_agrees_with_bpftool(run: Run, vmlinux: Btf) -> None:
    kinds = _compare(run, vmlinux, "btf", "dump", "file", VMLINUX)
    assert {"STRUCT", "UNION", "FUNC", "DECL_TAG", "ENUM"} <= kinds
    assert len(vmlinux) > 10_000


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_agree_with_bpftool(run: Run, path: Path) -> None:
    elf = Elf(path.read_bytes())
    section = elf.section(".BTF")
    assert section is not None
    _compare(run, Btf(elf.content(section)), "btf", "dump", "file", path)


@pytest.mark.parametrize("order", ORDERS)
def test_every_kind_agrees_with_bpftool(run: Run, tmp_path: Path, order: ByteOrder) -> None:
    base, split = tmp_path / "base.btf", tmp_path / "module.btf"
    base.write_bytes(everything().bytes(order))
    split.write_bytes(module().bytes(order))
    kinds = _compare(run, everything().btf(order), "btf", "dump", "file", base)
    assert kinds == {kind.name for kind in Kind} - {"UNKN"}
    _compare(run, module().btf(order), "--base-btf", base, "btf", "dump", "file", split)


@pytest.mark.parametrize("order", ORDERS)
def test_every_kind(order: ByteOrder) -> None:
    btf = everything().btf(order)
    assert btf.order == order
    assert btf[TypeId(0)] == t.Void("")
    assert btf[TypeId(6)] == t.Int("unsigned int", 4, 0, 3, 5)
    assert btf[btf.require("mask", t.Enum64)] == t.Enum64(
        "mask", 8, False, (("LOW", 1), ("ALL", (1 << 64) - 1))
    )
    assert btf[btf.require("low", t.Enum64)] == t.Enum64(
        "low", 8, True, (("LEAST", -(1 << 63)), ("NONE", 0))
    )
    flags = btf.get(btf.require("flags", t.StructType), t.StructType)
    assert flags.members[1] == t.BtfMember("b", TypeId(1), 3, 7)
    assert btf.get(btf.require("user", t.DeclTag), t.DeclTag).attribute
    assert btf.get(btf.require("address_space(1)", t.TypeTag), t.TypeTag).attribute
    assert btf.size_of(btf.require("head", t.Var)) == 104
    assert btf.size_of(btf.require("name_t", t.Typedef)) == 16


@pytest.mark.parametrize("order", ORDERS)
def test_split_btf_reads_types_and_strings_of_its_base(order: ByteOrder) -> None:
    btf = module().btf(order)
    base = everything().btf(order)
    assert btf.first_id == len(base)
    assert [found.name for _, found in btf] == ["pair", "", "", "module_kfunc", "flags"]
    pair = btf.get(btf.require("pair", t.StructType), t.StructType)
    assert [member.name for member in pair.members] == ["name", "second"]
    assert btf[TypeId(1)] == base[TypeId(1)]
    # The base's types are there, but are not found by name: ids of a module are wanted then.
    assert btf.find("node", t.StructType) is None
    assert btf.find_kind("flags", Kind.STRUCT) is None
    assert btf.find_kind("flags", Kind.TYPEDEF) == len(btf) - 1
    assert btf.find_kind("module_kfunc", Kind.FUNC) == btf.find("module_kfunc", t.Func)


def test_finds_the_same_in_the_kernel_with_and_without_decoding(vmlinux: Btf) -> None:
    for name, cls in (
        ("task_struct", t.StructType),
        ("bpf_task_acquire", t.Func),
        ("u32", t.Typedef),
    ):
        assert vmlinux.find_kind(name, cls.kind) == vmlinux.require(name, cls)
    assert vmlinux.find_kind("no_such_type", Kind.STRUCT) is None
    with pytest.raises(NotFound, match="BTF has no STRUCT 'no_such_type'"):
        vmlinux.require("no_such_type", t.StructType)


def test_names_may_share_their_ends() -> None:
    b = BtfBuilder()
    b.add_struct("long_name", 0)
    shared = b.add_struct("", 0)
    b[shared].name_off = b.string("long_name") + len("long_")
    btf = b.btf()
    assert btf.find_kind("name", Kind.STRUCT) == btf.find("name", t.StructType) == shared


def test_an_index_finds_what_a_search_finds() -> None:
    """Many searches, and names with many spellings, go by an index of all names."""
    b = BtfBuilder()
    number = b.add_int("a", 4)
    names = ["a", "a___x", "b___a", "a", "b"]
    ids = [b.add_struct(name, 4, [(name, number, 0)]) for name in names]
    first, btf = b.btf(), b.btf()
    for _ in range(300):
        btf.find("missing", t.StructType)
    assert btf.find("a___x", t.StructType) == first.find("a___x", t.StructType) == ids[1]
    for name in ("a", "b", "", "c"):
        assert btf.find(name, t.StructType) == first.find(name, t.StructType)
        assert [*btf.find_essential(name)] == [*first.find_essential(name)]
    assert [*btf.find_essential("a")] == [number, ids[0], ids[1], ids[3]]


def test_a_name_that_is_spelled_often() -> None:
    """It would take a minute and more to search all types for each spelling."""
    strings = b"\0" + b"a\0" * 300_000
    types = struct.pack("<IIII", 1, 1 << 24, 4, 32) * 300_000
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    btf = Btf(header + types + strings)
    start = time.process_time()
    assert btf.find("a", t.Int) == 1
    assert len(list(btf.find_essential("a"))) == 300_000
    assert time.process_time() - start < 10


def _chain(b: BtfBuilder) -> None:
    b.add_typedef("loop", 2)
    b.add_const(1)


@pytest.mark.parametrize("call", [Btf.resolve, Btf.size_of])
def test_chains_end(call: Callable[[Btf, TypeId], int]) -> None:
    b = BtfBuilder()
    _chain(b)
    with pytest.raises(BadObject, match=r"type \[1\] is a chain of more than 64 types"):
        call(b.btf(), TypeId(1))


@pytest.mark.parametrize("name", ["handler", "task_struct"])
def test_some_types_have_no_size(name: str) -> None:
    btf = everything().btf()
    (type_id,) = (type_id for type_id, found in btf if found.name == name)
    with pytest.raises(BadObject, match=f"'{name}' .* has no size"):
        btf.size_of(type_id)


_Wrong = Callable[[BtfBuilder], dict[str, int] | None]


def _set(field: str, value: int) -> _Wrong:
    def change(b: BtfBuilder) -> None:
        setattr(b.records[-1], field, value)

    return change


def _header(**fields: int) -> _Wrong:
    return lambda _: fields


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_header(magic=0xEB9E), "magic is 0x"),
        (_header(version=2), "version 2 is unknown"),
        (_header(hdr_len=20), "header length 20 is out of range"),
        (_header(hdr_len=1 << 30), "header length 1073741824 is out of range"),
        (_header(type_off=2), "type section 0x1a.* is out of range"),
        (_header(type_len=1 << 20), "type section 0x18.* is out of range"),
        (_header(str_len=1 << 20), "string section .* is out of range"),
        (_header(str_off=0), "string section .* is out of range"),
        (_header(str_len=0), "does not begin with an empty string"),
        (_header(str_off=17, str_len=4), "does not begin with an empty string"),
        (_header(str_len=3), "is not terminated"),
        (_header(type_len=8), "type header at offset 0x18 is cut off"),
        (_header(type_len=12), "the last type at offset 0x18 is cut off"),
        (_set("kind", 0), r"type \[1\] at offset 0x18: kind 0 is unknown"),
        (_set("kind", 20), r"type \[1\] at offset 0x18: kind 20 is unknown"),
        (_set("kind", Kind.ARRAY), "the last type at offset 0x18 is cut off"),
        (_set("kind", Kind.PTR), "type header at offset 0x24 is cut off"),
        (
            _set("name_off", 99),
            r"type \[1\]: BTF: the string section: no string at offset 0x63",
        ),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_wrong_btf(wrong: _Wrong, message: str, order: ByteOrder) -> None:
    b = BtfBuilder()
    b.add_int("int", 4)
    header = wrong(b)
    with pytest.raises(BadObject, match=message):
        list(Btf(b.bytes(order, header=header)))


def test_wrong_lengths() -> None:
    with pytest.raises(BadObject, match="23 bytes are too short for its header"):
        Btf(everything().bytes()[:23])
    with pytest.raises(BadObject, match="BTF: 0 bytes are too short"):
        Btf(b"")


def test_too_many_types() -> None:
    b = BtfBuilder()
    b.add_ptr(0)
    size = 12 * (MAX_TYPES + 1)
    raw = b.bytes(header={"type_len": size, "str_off": size})
    raw = raw[:HEADER_SIZE] + raw[HEADER_SIZE : HEADER_SIZE + 12] * (MAX_TYPES + 1) + b"\0"
    with pytest.raises(BadObject, match=f"more than {MAX_TYPES} types, which no kernel accepts"):
        Btf(raw)


def test_ids_out_of_range() -> None:
    btf = everything().btf()
    for type_id in (len(btf), 1 << 31, -1):
        with pytest.raises(BadObject, match=rf"no type \[{type_id}\]"):
            btf[TypeId(type_id)]
    with pytest.raises(BadObject, match=r"type \[1\] 'int' is INT, expected STRUCT"):
        btf.get(TypeId(1), t.StructType)


@settings(deadline=LIMIT_MS)
@given(damaged())
def test_damaged_btf_raises_only_our_errors(raw: bytes) -> None:
    try:
        btf = Btf(raw)
    except LskelError:
        return
    for type_id in range(len(btf)):
        for call in (btf.__getitem__, btf.resolve, btf.size_of):
            try:
                call(TypeId(type_id))
            except LskelError as error:
                assert str(error)
