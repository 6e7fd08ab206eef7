"""What is true of every report: its parts agree with each other and with the loader."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from itertools import groupby, pairwise

from lskel.bpf.insn import SIZE
from lskel.describe.regions import contents
from lskel.explain.page import page, to_json
from lskel.explain.report import BlobRun, Op, Report, SizeNode
from lskel.loader.blob import RegionKind
from lskel.loader.model import Loader
from lskel.loader.records import SIZE as RECORD_SIZE
from lskel.trace import MapCreate, ProgLoad

MAX_PAGE = 5_000_000
_CALLS = {
    "BtfLoad": "BPF_BTF_LOAD",
    "MapCreate": "BPF_MAP_CREATE",
    "MapUpdate": "BPF_MAP_UPDATE_ELEM",
    "MapFreeze": "BPF_MAP_FREEZE",
    "BtfFind": "btf_find_by_name_kind",
    "KsymFind": "kallsyms_lookup_name",
    "ProgLoad": "BPF_PROG_LOAD",
    "RawTracepointOpen": "BPF_RAW_TRACEPOINT_OPEN",
    "LinkCreate": "BPF_LINK_CREATE",
    "Close": "close",
}


def check(report: Report, loader: Loader) -> None:
    """All of it."""
    check_blob(report, loader)
    check_sizes(report, loader)
    check_ops(report, loader)
    check_uses(report)
    check_code(report, loader)
    assert json.loads(to_json(report))["version"] == report.version
    assert len(page(report)) < MAX_PAGE


def check_blob(report: Report, loader: Loader) -> None:
    """Each byte has a region and a stretch, in order, and stretches say what is there."""
    blob = report.blob
    assert blob is not None and blob.size == len(loader.blob)
    place = 0
    for region in blob.regions:
        assert region.offset == place and region.size > 0
        assert bool(region.uses) <= (region.kind != "padding")
        assert all(0 <= use.op < len(report.ops) for use in region.uses)
        assert all(0 <= s.offset < s.offset + s.size <= region.size for s in region.spans)
        place += region.size
    assert place == blob.size
    borders = [region.offset for region in blob.regions] + [blob.size]
    place = 0
    for piece in blob.content:
        assert piece.offset == place and piece.size > 0
        assert borders[bisect_right(borders, piece.offset)] >= piece.offset + piece.size
        if piece.raw:
            assert loader.blob[place : place + piece.size] == content(piece)
        place += piece.size
    assert place == blob.size
    found = Counter[str]()
    for region in blob.regions:
        found[region.kind] += region.size
    assert found == contents(loader)


def content(piece: BlobRun) -> bytes:
    """The bytes that a stretch stands for."""
    return (piece.raw * (piece.size // max(len(piece.raw), 1) + 1))[: piece.size]


def check_sizes(report: Report, loader: Loader) -> None:
    """Boxes are as large as what is in them; all regions are in each view of the blob, once."""
    assert report.blob is not None
    sizes = [region.size for region in report.blob.regions]
    views = {view.title: view.root for view in report.sizes}
    for title in ("by kind", "by owner"):
        leaves = list(_leaves(views[title]))
        assert sorted(n for leaf in leaves for n in leaf.regions) == list(range(len(sizes)))
        assert all(leaf.size == sum(sizes[n] for n in leaf.regions) for leaf in leaves)
        assert views[title].size == len(loader.blob)
        assert all(node.kind == report.blob.regions[node.regions[0]].kind for node in leaves)
    if report.sections:
        assert views["sections"].size == sum(section.size for section in report.sections)


def _leaves(node: SizeNode) -> list[SizeNode]:
    if not node.children:
        return [node]
    assert node.size == sum(child.size for child in node.children)
    return [leaf for child in node.children for leaf in _leaves(child)]


def check_ops(report: Report, loader: Loader) -> None:
    """Operations are those of the trace; what they use is made before; no record is lost."""
    trace = loader.trace
    assert report.blob is not None and report.loader is not None
    assert [op.kind for op in report.ops] == [type(op).__name__ for op in trace.ops]
    users: dict[int, set[int]] = {op.number: set() for op in report.ops}
    for op in report.ops:
        for use in op.uses:
            assert use.op < op.number and report.ops[use.op].makes and use.times > 0
            users[use.op].add(op.number)
        for region in op.regions:
            assert op.number in {use.op for use in report.blob.regions[region].uses}
        if op.map is not None:
            assert f"'{report.maps[op.map].name}'" in op.title
        if op.program is not None:
            assert f"'{report.programs[op.program].name}'" in op.title
    assert {op.number: set(op.used_by) for op in report.ops} == users
    stays = (
        {m.op for m in trace.maps} | {p.op for p in trace.programs} | {x.op for x in trace.links}
    )
    assert {op.number for op in report.ops if op.stays} == stays - {None}
    steps = [step for op in report.ops for step in op.steps] + list(report.loader.steps)
    held = [region for region in loader.regions if region.kind is RegionKind.RECORDS]
    assert len(steps) == sum(region.size for region in held) // RECORD_SIZE
    assert sorted(step.number for step in steps) == list(range(len(steps)))
    ranges = sorted(op.insns for op in report.ops if op.insns is not None)
    assert len(ranges) == (0 if steps else len(report.ops))
    for before, after in pairwise(ranges):
        assert before[0] < before[1] == after[0]


def check_uses(report: Report) -> None:
    """The fds and types that the simulated kernel got are those that the operation says it uses."""
    simulation = report.simulation
    assert simulation is not None
    recorded = [call for op in report.ops for call in op.calls]
    assert len(recorded) + len(simulation.others) == simulation.calls
    for op in report.ops:
        assert {call.name for call in op.calls} <= {_CALLS[op.kind]}
        # A failed call says as much as one that succeeds; optional ones are made twice.
        for _, calls in groupby(op.calls, key=lambda call: call.name):
            _check_call(report, op, {n for call in calls for f in call.fields for n in f.ops})


def _check_call(report: Report, op: Op, fds: set[int]) -> None:
    used = {use.op for use in op.uses}
    assert fds <= used, op.title
    # Types and addresses are no fds, but for those of modules.
    assert all(report.ops[number].makes in ("type", "address") for number in used - fds), op.title


def check_code(report: Report, loader: Loader) -> None:
    """Listings are the code in the blob; marks name what is there."""
    trace = loader.trace
    assert report.blob is not None
    assert [item.name for item in report.listings] == [item.name for item in report.programs]
    for item in report.listings:
        code = b"".join(row.raw for row in item.rows)
        starts = {row.insn for row in item.rows}
        if item.op is not None:
            load = trace.ops[item.op]
            assert isinstance(load, ProgLoad) and load.insns == code
            assert item.region is not None
            region = report.blob.regions[item.region]
            assert loader.blob[region.offset : region.offset + region.size] == code
        assert {row.source.file for row in item.rows if row.source} == set(item.files)
        for mark in (mark for row in item.rows for mark in row.marks):
            if mark.map is not None and mark.op is not None:
                made = trace.ops[mark.op]
                assert isinstance(made, MapCreate) and made.slot == mark.map
                assert made.name == report.maps[mark.map].name == mark.name
            if mark.kind == "subprogram":
                assert mark.insn in starts
            if mark.kind in ("kfunc", "ksym") and item.op is not None:
                assert mark.op is not None and mark.name in report.ops[mark.op].title
    assert report.loader is not None
    assert b"".join(row.raw for row in report.loader.rows) == loader.insns
    assert report.loader.insns * SIZE == len(loader.insns)
