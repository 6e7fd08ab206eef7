"""Reports agree with the loader, the simulator, readelf, llvm-objdump and bpftool's loaders."""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from lskel.bpf.insn import OP_LD_IMM64, SIZE
from lskel.errors import LskelError
from lskel.explain.build import Given, explain
from lskel.explain.report import Report
from lskel.loader.bundle import dump
from lskel.loader.header import parse_header
from lskel.loader.model import Form, Loader
from lskel.object.open import open_object
from lskel.replay.compare import describe
from lskel.replay.simulator.record import Code
from lskel.replay.simulator.run import run as replay
from lskel.replay.simulator.run import simulate
from lskel.trace import ProgLoad
from tests import corpus
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.describe.objdump import functions
from tests.describe.samples import EXAMPLE_OBJECTS
from tests.explain.check import check
from tests.explain.samples import SAMPLES, UNTYPED, given, of_object, sample

FORMS = pytest.mark.parametrize("form", list(Form), ids=lambda form: form.value)


@pytest.mark.parametrize("name", SAMPLES)
@FORMS
def test_sample(name: str, form: Form) -> None:
    check(*sample(name, form))


@pytest.mark.parametrize("name", SAMPLES)
def test_bundle_says_the_same_as_its_object(name: str) -> None:
    report, loader = sample(name)
    bundle = Loader.load(dump(loader))
    again = explain(Given(report.meta.file, bundle, bundle))
    assert again.meta == report.meta._replace(source="bundle")
    created = [a_map.name for a_map in report.maps if a_map.autocreate]
    assert [a_map.name for a_map in again.maps] == created
    assert (again.blob, again.ops, again.loader) == (report.blob, report.ops, report.loader)
    for ours, theirs in zip(report.listings, again.listings, strict=True):
        # Code that is not loaded is not in the bundle.
        assert theirs == ours or (ours.op is None and not theirs.rows and theirs.problem)


def test_big_endian() -> None:
    obj = open_object(compile_bpf(str(SAMPLES["loadable"]), big_endian=True), "sample")
    found = of_object(obj, "sample.bpf.o")
    assert found.loader is not None
    report = explain(found)
    check(report, found.loader)
    little, _ = sample("loadable")
    assert report.meta.order == "big"
    assert [op.title for op in report.ops] == [op.title for op in little.ops]
    assert [op.uses for op in report.ops] == [op.uses for op in little.ops]
    assert _marks(report) == _marks(little)


def _marks(report: Report) -> Counter[tuple[str, str]]:
    return Counter(
        (mark.kind, mark.name)
        for item in report.listings
        for row in item.rows
        for mark in row.marks
    )


def test_marks_of_externs() -> None:
    report, _ = sample("asking")
    kinds = {kind for kind, _ in _marks(report)}
    assert {"kfunc", "ksym"} <= kinds


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_sections_are_those_of_readelf(path: Path, run: Run) -> None:
    row = re.compile(r"\s+\[ *\d+\] (\S+) +[A-Z]\S* +[0-9a-f]{16} [0-9a-f]+ ([0-9a-f]+) ")
    found = (row.match(line) for line in run("readelf", "-SW", path).splitlines())
    expected = {match[1]: int(match[2], 16) for match in found if match}
    view = next(view for view in explain(given(path)).sizes if view.title == "sections")
    assert {node.name: node.size for node in view.root.children} == expected
    assert view.root.size == sum(expected.values())


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_marks_are_the_relocations_of_objdump(path: Path, run: Run, tmp_path: Path) -> None:
    seen = 0
    theirs = functions(run, path, tmp_path / "stripped.o")
    for item in explain(given(path)).listings:
        function = theirs[item.section, item.name]
        own = [row for row in item.rows if row.insn <= max(function.insns)]
        for row in own:
            marks = [mark for mark in row.marks if mark.kind != "core"]
            symbol = function.relocations.get(row.insn)
            assert (symbol is not None) == bool(marks), row
            if symbol is None:
                continue
            mark = marks[0]
            # Maps and functions have their names; of data, either the variable or the section.
            named = {"map": mark.name, "value": row.note, "subprogram": mark.name}[mark.kind]
            section = {"map": ".maps", "value": mark.name, "subprogram": ".text"}[mark.kind]
            assert symbol == named or section.endswith(symbol.rpartition("+")[0] or symbol), row
            seen += 1
    assert seen


# -- what is in the regions -------------------------------------------------------------------


@cache
def _bpftool(path: Path) -> str:
    return next(
        (p.path.read_text() for p in corpus.light_skeletons() if p.ok and p.source == path), ""
    )


def _compare_with(header: str, found: Given, report: Report) -> int:
    """The regions that an operation's call points to hold what bpftool's loader passes."""
    skeleton = parse_header(header)
    theirs = simulate(
        skeleton.insns, skeleton.blob, bytes(skeleton.context_size), sys.byteorder
    ).records
    assert found.loader is not None and report.blob is not None
    records = replay(found.loader).records
    once = Counter(map(describe, theirs))
    expected = {describe(r): r for r in theirs if once[describe(r)] == 1}
    compared = 0
    for op in report.ops:
        for call in op.calls:
            other = expected.get(describe(records[call.number]))
            for field in call.fields if other is not None else ():
                if field.region is None or field.name == "fd_array" or field.ops:
                    continue
                region = report.blob.regions[field.region]
                ours = found.loader.blob[region.offset : region.offset + region.size]
                assert other is not None
                value = other.attr[field.name]
                if isinstance(value, str):
                    value = value.encode() + b"\0"
                elif isinstance(value, Code):
                    load = found.loader.trace.ops[op.number]
                    assert isinstance(load, ProgLoad)
                    filled = {extern.insn for extern in load.externs}
                    value, ours = _without(value.raw, filled), _without(ours, filled)
                assert value == ours, f"{op.title} {field.name}"
                compared += 1
    return compared


def _without(code: bytes, filled: set[int]) -> bytes:
    """Code without what symbols are filled in to: the slot, and the next one's immediate."""
    slots = [code[at : at + SIZE] for at in range(0, len(code), SIZE)]
    for slot in filled:
        wide = slots[slot][0] == OP_LD_IMM64
        slots[slot] = slots[slot][:1]
        if wide:
            slots[slot + 1] = b""
    return b"".join(slots)


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_regions_hold_what_bpftool_passes(path: Path, run: Run) -> None:
    found = given(path)
    name = corpus.object_name(path)
    header = run("bpftool", "gen", "skeleton", "-L", path, "name", name)
    assert _compare_with(header, found, explain(found)) >= 5


# -- objects that have no loader --------------------------------------------------------------


def test_what_cannot_be_generated_is_shown_as_far_as_it_goes() -> None:
    report = explain(given(UNTYPED))
    assert "section name 'parser' gives no program type" in report.problem
    assert (report.blob, report.loader, report.simulation, report.ops) == (None, None, None, ())
    fine, parse = report.listings
    assert fine.rows and not fine.problem
    assert parse.rows and parse.problem == report.problem
    assert [view.title for view in report.sizes] == ["sections"]
    assert report.meta.form == ""


# -- the corpus -------------------------------------------------------------------------------


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
def test_corpus() -> None:
    explained = without = compared = 0
    for number, path in enumerate(corpus.objects()):
        try:
            obj = open_object(path)
        except LskelError:
            continue
        found = of_object(obj, path.name, Form.UNROLLED if number % 8 == 0 else Form.TABLE)
        report = explain(found)
        if found.loader is None:
            assert report.problem and report.blob is None
            without += 1
            continue
        check(report, found.loader)
        explained += 1
        if number % 16 == 1 and (header := _bpftool(path)):
            compared += _compare_with(header, found, report)
    assert explained > 450 and without > 10 and compared > 100
