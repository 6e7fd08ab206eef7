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
from lskel.explain.build import ReportExtras, ReportInput, explain
from lskel.explain.report import Report
from lskel.loader.bundle import dump
from lskel.loader.header import parse_header
from lskel.loader.model import Form, Loader
from lskel.object.open import open_object
from lskel.replay.compare import describe
from lskel.replay.simulator.record import RecordedCode
from lskel.replay.simulator.run import run as replay
from lskel.replay.simulator.simulate import simulate
from lskel.trace import ProgLoad
from tests import corpus
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.describe.objdump import functions
from tests.describe.samples import EXAMPLE_OBJECTS
from tests.explain.check import check
from tests.explain.samples import NO_ENTRIES, SAMPLES, UNTYPED, given, of_object, sample

# So many tests go through the corpus, that they may run side by side.
PARTS = 4
FORMS = pytest.mark.parametrize("form", list(Form), ids=lambda form: form.value)


@pytest.mark.parametrize("name", SAMPLES)
@FORMS
def test_sample(name: str, form: Form) -> None:
    check(*sample(name, form))


@pytest.mark.parametrize("name", SAMPLES)
def test_bundle_says_the_same_as_its_object(name: str) -> None:
    report, loader = sample(name)
    bundle = Loader.load(dump(loader))
    again = explain(ReportInput(report.meta.file, bundle, bundle))
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


def test_shared_data_have_all_their_users() -> None:
    report, loader = sample("asking")
    assert report.blob is not None
    load = loader.trace.ops[report.listings[0].op or 0]
    assert isinstance(load, ProgLoad)
    region = next(r for r in report.blob.regions if {u.field for u in r.uses} == {"license"})
    loads = [op.number for op in report.ops if op.kind == "ProgLoad"]
    assert [use.op for use in region.uses] == loads and len(loads) > 1
    assert loader.blob[region.offset :].startswith(load.license.encode() + b"\0")


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_sections_are_those_of_readelf(path: Path, run: Run) -> None:
    row = re.compile(r"\s+\[ *\d+\] (\S+) +[A-Z]\S* +[0-9a-f]{16} [0-9a-f]+ ([0-9a-f]+) ")
    found = (row.match(line) for line in run("readelf", "-SW", path).splitlines())
    expected = {match[1]: int(match[2], 16) for match in found if match}
    view = next(view for view in explain(given(path)).sizes if view.title == "sections")
    assert {node.name: node.size for node in view.root.children} == expected
    assert view.root.size == sum(expected.values())
    assert {node.kind for node in view.root.children} == {""}


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


def _compare_with(header: str, found: ReportInput, report: Report) -> int:
    """The regions that an operation's call points to hold what bpftool's loader passes."""
    skeleton = parse_header(header)
    theirs = simulate(
        skeleton.insns, skeleton.blob, bytes(skeleton.context_size), sys.byteorder
    ).records
    assert found.loader is not None and report.blob is not None
    records = replay(found.loader).records
    kconfig = found.loader.trace.kconfig
    once = Counter(map(describe, theirs))
    expected = {describe(r): r for r in theirs if once[describe(r)] == 1}
    compared = 0
    for op in report.ops:
        for call in op.calls:
            other = expected.get(describe(records[call.number]))
            for field in call.fields if other is not None else ():
                if field.region is None or field.name == "fd_array" or field.ops:
                    continue
                if kconfig is not None and op.map == kconfig.slot and field.name == "value":
                    continue  # bpftool's has the configuration of where it was generated
                region = report.blob.regions[field.region]
                ours = found.loader.blob[region.offset : region.offset + region.size]
                assert other is not None
                value = other.attr[field.name]
                if isinstance(value, str):
                    value = value.encode() + b"\0"
                elif isinstance(value, RecordedCode):
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


@pytest.mark.parametrize("name", ["syscount", "tcpconnlat", "loadable", "asking"])
def test_strings_are_those_of_strings(name: str, run: Run, tmp_path: Path) -> None:
    report, loader = sample(name)
    assert report.blob is not None
    expected = []
    for number, region in enumerate(report.blob.regions):
        if region.kind in ("names", "values", "messages"):
            part = tmp_path / "part"
            part.write_bytes(loader.blob[region.offset : region.offset + region.size])
            for line in run("strings", "-a", "-t", "d", part).splitlines():
                offset, text = line.split(maxsplit=1)
                expected.append((region.offset + int(offset), number, text))
    assert expected == list(report.blob.strings) and expected


def test_layout_of_the_context_is_that_of_the_c_skeleton() -> None:
    report, loader = sample("loadable")
    assert report.loader is not None
    spans = {span.name: span for span in report.loader.layout}
    maps, programs = loader.trace.maps, loader.trace.programs
    # struct bpf_loader_ctx, then struct bpf_map_desc and bpf_prog_desc (skel_internal.h).
    assert spans["log_buf"][:2] == (16, 8)
    assert [spans[f"maps[{n}].map_fd"].offset for n in range(len(maps))] == [
        24 + 16 * n for n in range(len(maps))
    ]
    assert all(spans[f"maps[{n}].initial_value"].size == 8 for n in range(len(maps)))
    assert [spans[f"progs[{n}].prog_fd"].offset for n in range(len(programs))] == [
        24 + 16 * len(maps) + 4 * n for n in range(len(programs))
    ]
    assert sum(span.size for span in report.loader.layout) == report.loader.context


# -- objects that have no loader --------------------------------------------------------------


def test_what_cannot_be_generated_is_shown_as_far_as_it_goes() -> None:
    report = explain(given(UNTYPED))
    assert "section name 'parser' has no known program type" in report.problem
    assert (report.blob, report.loader, report.simulation, report.ops) == (None, None, None, ())
    fine, parse = report.listings
    assert fine.rows and not fine.problem
    assert parse.rows and parse.problem == report.problem
    assert [view.title for view in report.sizes] == ["sections"]
    assert report.meta.form == ""


def test_failing_replay_is_told_from_what_it_cleans_up() -> None:
    found = given(NO_ENTRIES)
    report = explain(found)
    assert found.loader is not None and report.simulation is not None
    check(report, found.loader)
    failure = report.simulation.failure
    assert failure is not None and failure.op is not None
    failed = report.ops[failure.op]
    assert (failed.title, failure.errno) == ("MapCreate 'empty'", "EINVAL")
    assert [call.failed for call in failed.calls] == [True]
    assert not any(op.calls for op in report.ops[failure.op + 1 :])
    # The BTF and the map before it are closed on the way out.
    assert [call.name for call in report.simulation.others] == ["close", "close"]


@pytest.mark.kernel
def test_simulator_fails_where_the_kernel_does() -> None:
    report = explain(given(NO_ENTRIES), ReportExtras(measure=True))
    assert report.simulation is not None and report.measurement is not None
    ours, theirs = report.simulation.failure, report.measurement.failure
    assert ours is not None and theirs is not None
    assert ours[:4] == theirs[:4]


# -- the corpus -------------------------------------------------------------------------------


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
@pytest.mark.parametrize("part", range(PARTS))
def test_corpus(part: int) -> None:
    explained = without = compared = 0
    for number, path in enumerate(corpus.objects()[part::PARTS]):
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
    assert explained > 400 // PARTS and without and compared > 100 // PARTS
