"""Listings: llvm-objdump reads the same objects, and what it says must be found in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.btf.btf import Btf
from lskel.btf.ext import Records
from lskel.describe.listing import Listing, Row, listing
from lskel.describe.variables import GlobalVariable, variable_at, variables
from lskel.errors import BadInput, NotFound
from lskel.loader.bundle import dump
from lskel.loader.generate import generate
from lskel.loader.model import Loader
from lskel.object.model import ExternKind, Object
from lskel.object.open import open_object
from lskel.trace import ProgLoad, Trace
from tests.build.btf import BtfBuilder
from tests.build.clang import compile_bpf
from tests.build.elf import RETURN_0, one_program
from tests.conftest import Run
from tests.describe.objdump import Function, functions
from tests.describe.samples import (
    ASKING,
    EXAMPLE_OBJECTS,
    LOADABLE,
    UNLOADABLE,
    asking,
    loadable,
    unloadable,
)

KCONFIG = ExternKind.KCONFIG


def all_programs(obj: Object) -> list[Listing]:
    return list(listing(obj, [program.name for program in obj.programs]))


def by_function(item: Listing) -> list[tuple[str, list[Row]]]:
    """The rows of each function, the program's own first."""
    starts = [row.insn for row in item.rows if row.label]
    groups = groupby(item.rows, lambda row: max(start for start in starts if start <= row.insn))
    rows = [list(group) for _, group in groups]
    return [(group[0].label, group) for group in rows]


def lines(rows: list[Row]) -> dict[int, tuple[str, int]]:
    """Source lines where they differ from that of the slot before, as llvm-objdump has them."""
    found, before = {}, None
    for row in rows:
        here = row.source[:2] if row.source else None
        if here is not None and here != before:
            found[row.insn - rows[0].insn] = here
        before = here
    return found


def check(rows: list[Row], expected: Function) -> None:
    start = rows[0].insn
    assert {row.insn - start: len(row.raw) // 8 for row in rows} == expected.insns
    assert lines(rows) == expected.lines
    core = {row.insn - start: row.core for row in rows if row.core}
    assert all(len(relos) == 1 for relos in core.values())
    # An enumerator is `enum e::A` here, `enum e.A` there.
    assert {
        insn: (relo.kind, relo.target.replace("::", ".")) for insn, (relo,) in core.items()
    } == expected.core


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_examples_against_objdump(path: Path, run: Run, tmp_path: Path) -> None:
    expected = functions(run, path, tmp_path / "stripped.o")
    (item,) = listing(open_object(path))
    (name, own), *subprograms = by_function(item)
    check(own, expected[item.section, name])
    for name, rows in subprograms:
        check(rows, expected[".text", name])


@pytest.mark.parametrize(
    "source", [LOADABLE, ASKING, UNLOADABLE], ids=["loadable", "asking", "unloadable"]
)
@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
def test_samples_against_objdump(source: str, big_endian: bool, run: Run, tmp_path: Path) -> None:
    data = compile_bpf(source, big_endian=big_endian)
    path = tmp_path / "sample.o"
    path.write_bytes(data)
    expected = functions(run, path, tmp_path / "stripped.o")
    obj = open_object(data, "sample")
    for item in all_programs(obj):
        (name, own), *subprograms = by_function(item)
        assert name == item.name
        parts = [(own, expected[item.section, name])]
        parts += [(rows, expected[".text", name]) for name, rows in subprograms]
        for rows, part in parts:
            check(rows, part)
            for insn, symbol in part.relocations.items():
                check_symbol(obj, next(r for r in rows if r.insn - rows[0].insn == insn), symbol)


def check_symbol(obj: Object, row: Row, symbol: str) -> None:
    """The row names the symbol that its instruction is relocated against."""
    if symbol in {a_map.name for a_map in obj.maps if a_map.section == ".maps"}:
        assert re.fullmatch(rf"r\d = map\[\d+:'{symbol}'\]", row.text)
    elif symbol in {extern.name for extern in obj.externs if extern.kind is not KCONFIG}:
        extern = next(extern for extern in obj.externs if extern.name == symbol)
        name = symbol.partition("___")[0]
        assert re.fullmatch(rf"call {name}|r\d = &{name}", row.text)
        assert row.note == f"{'weak ' if extern.is_weak else ''}{extern.kind.value}"
    elif re.match("call|.*subprog", row.text):
        # Static functions are found by way of their section.
        assert re.search(rf"\b{symbol}\b" if symbol != ".text" else r"call \w+ ", row.text)
    else:
        assert row.note == symbol or symbol == ".bss"


def test_static_variables_are_named() -> None:
    (item, _) = listing(loadable())
    notes = {row.note for row in item.rows if ".bss" in row.text}
    assert notes == {"one", "two"}


@pytest.mark.parametrize("sample", [loadable, asking])
def test_byte_orders_differ_in_bytes_only(sample: Callable[..., Object]) -> None:
    little, big = all_programs(sample()), all_programs(sample(big_endian=True))
    for a, b in zip(little, big, strict=True):
        assert [row._replace(raw=b"") for row in a.rows] == [
            row._replace(raw=b"") for row in b.rows
        ]
    assert little[0].rows[0].raw != big[0].rows[0].raw


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_bundle_has_the_listing_of_its_object(path: Path) -> None:
    obj = open_object(path)
    bundle = Loader.load(dump(generate(obj)))
    assert list(listing(bundle)) == list(listing(obj)) == list(listing(obj.trace()))


@pytest.mark.parametrize(
    ("sample", "name"), [(loadable, "optional"), (asking, "variables")], ids=["loadable", "asking"]
)
def test_programs_that_are_not_loaded_by_themselves(
    sample: Callable[..., Object], name: str
) -> None:
    obj = sample()
    bundle = Loader.load(dump(generate(obj)))
    assert list(listing(bundle)) == list(listing(obj))
    (unnamed,) = (item for item in listing(obj) if item.name == name)
    assert (unnamed.rows, bool(unnamed.problem)) == ((), True)
    (named,) = listing(obj, [name])
    assert named.rows and named.rows[0].label == name and not named.problem
    assert list(listing(bundle, [name])) == [named]


def test_programs_that_cannot_be_switched_on() -> None:
    obj = asking()
    (item,) = listing(obj, ["unknown"])
    assert item.rows and "has no known program type" in item.problem
    (item,) = listing(generate(obj), ["unknown"])
    assert (item.rows, item.problem) == ((), "the loader does not contain its code")


def test_maps_that_are_not_created() -> None:
    """Those behind them have other indexes; a program that uses them is shown all the same."""
    obj = asking().with_map("shared", autocreate=False)
    expected = {
        "kfuncs": {"map[0:'programs']", "map[2:'asking.kconfig'] +0", "map[2:'asking.kconfig'] +4"},
        "variables": {"map[3:'shared']"},
    }
    for name, maps in expected.items():
        (item,) = listing(obj, [name])
        texts = {row.text.partition(" = ")[2] for row in item.rows if " = map[" in row.text}
        assert texts == maps
        assert ("a map with autocreate disabled" in item.problem) == (name == "variables")
    assert list(listing(generate(obj), ["kfuncs"])) == list(listing(obj, ["kfuncs"]))


def test_programs_that_cannot_be_loaded_say_why() -> None:
    listings = {item.name: item for item in listing(unloadable())}
    assert all(item.rows for item in listings.values())
    assert "'no such section' has no known program type" in listings["unknown"].problem
    assert not listings["harmless"].problem


def test_code_that_cannot_be_linked() -> None:
    call = Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=0).encode("little")
    (item,) = listing(open_object(bytes(one_program(code=call + RETURN_0))))
    assert item.rows == ()
    assert "instruction 0 calls within its section" in item.problem


def test_only_maps_of_the_trace_are_named() -> None:
    trace = open_object(EXAMPLE_OBJECTS[0]).trace()
    loads = [(Pseudo.MAP_IDX, 0), (Pseudo.MAP_FD, 0), (Pseudo.MAP_IDX, 2), (Pseudo.MAP_IDX, -1)]
    loads += [(Pseudo.MAP_IDX_VALUE, 2), (Pseudo.MAP_IDX_VALUE, -1)]
    code = b"".join(
        Insn(i.OP_LD_IMM64, 1, pseudo, imm=number).encode("little") + bytes(8)
        for pseudo, number in loads
    )
    (item,) = listing(changed(trace, insns=code))
    assert [row.text for row in item.rows] == [
        "r1 = map[0:'events']",
        "r1 = map[fd:0]",
        "r1 = map[idx:2]",
        "r1 = map[idx:-1]",
        "r1 = map[idx:2] +0",
        "r1 = map[idx:-1] +0",
    ]
    assert not any(row.note for row in item.rows)


def test_unknown_program() -> None:
    with pytest.raises(NotFound, match=r"no program 'x' .*main_program, optional"):
        list(listing(loadable(), ["optional", "x"]))


def changed(trace: Trace, **fields: object) -> Trace:
    """The trace with fields of its program changed."""
    ops = [replace(op, **fields) if isinstance(op, ProgLoad) else op for op in trace.ops]  # type: ignore[arg-type]
    return replace(trace, ops=tuple(ops))


def test_broken_btf_is_said_in_place() -> None:
    trace = open_object(EXAMPLE_OBJECTS[0]).trace()
    (good,) = listing(trace)

    def broken(size: int) -> Records:
        return Records(size, (0).to_bytes(4, "little") + b"\xff" * (size - 4))

    (item,) = listing(changed(trace, func_info=broken(8)))
    assert item.rows[0].label.startswith("<BTF: no type")
    (item,) = listing(changed(trace, line_info=broken(16)))
    assert item.rows[0].source is not None
    assert item.rows[0].source.text.startswith("<BTF: the string section")
    assert item.rows[0].source.file.startswith("<BTF: the string section")
    (item,) = listing(changed(trace, core_relos=broken(16)))
    (relo,) = item.rows[0].core
    assert relo.kind == "kind 4294967295" and relo.target.startswith("<")
    assert [row.text for row in item.rows] == [row.text for row in good.rows]


@pytest.mark.parametrize("table", ["func_info", "line_info", "core_relos"])
def test_records_that_are_too_short(table: str) -> None:
    trace = open_object(EXAMPLE_OBJECTS[0]).trace()
    with pytest.raises(
        BadInput, match=r"^program 'on_exec': expected records of at least \d+ bytes, got 4"
    ):
        list(listing(changed(trace, **{table: Records(4, bytes(4))})))


def test_later_records_may_be_longer() -> None:
    trace = open_object(EXAMPLE_OBJECTS[0]).trace()
    (good,) = listing(trace)
    (load,) = (op for op in trace.ops if isinstance(op, ProgLoad))

    def longer(records: Records) -> Records:
        size = records.size
        pieces = [records.data[at : at + size] for at in range(0, len(records.data), size)]
        return Records(size + 8, b"".join(piece + b"\xff" * 8 for piece in pieces))

    tables = {
        name: longer(getattr(load, name)) for name in ("func_info", "line_info", "core_relos")
    }
    (item,) = listing(changed(trace, **tables))
    assert item == good


def test_variables() -> None:
    b = BtfBuilder()
    number = b.add_int("int", 4)
    array = b.add_array(number, 4, number)
    second, first = b.add_var("second", array), b.add_var("first", number)
    section = b.add_datasec(".data", 24, [(second, 8, 16), (first, 0, 4)])
    btf = Btf(b.bytes())
    listed = variables(btf, section)
    assert listed == (
        GlobalVariable("first", "int", 0, 4),
        GlobalVariable("second", "int[4]", 8, 16),
    )
    names = {offset: variable_at(listed, offset) for offset in (-1, 0, 3, 4, 7, 8, 20, 23, 24)}
    assert names == {
        -1: "",
        0: "first",
        3: "first+3",
        4: "",
        7: "",
        8: "second",
        20: "second+12",
        23: "second+15",
        24: "",
    }
    assert variables(btf, number) == variables(None, section) == ()
    b[section].words[0] = 99
    assert variables(Btf(b.bytes()), section) == ()
