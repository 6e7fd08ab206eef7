"""What differs between two loaders: as `lskel diff` says, and for maps and programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lskel.describe.regions import contents
from lskel.explain.build import HeaderInput, ReportExtras, ReportInput, explain
from lskel.explain.report import Comparison, Report
from lskel.loader.header import parse_header
from lskel.loader.model import Form
from lskel.replay import align as aligning
from lskel.replay.compare import differences
from lskel.replay.simulator.run import run as replay
from tests.conftest import Run
from tests.describe.samples import EXAMPLE_OBJECTS, LOADABLE
from tests.explain.samples import UNTYPED, given

OLD = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64);
         __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
int limit = 7;
SEC("raw_tp/sys_enter") int same(void *ctx) { return limit; }
SEC("raw_tp/sys_exit") int count(void *ctx)
{
	__u32 key = limit;
	return !bpf_map_lookup_elem(&counts, &key);
}
SEC("xdp") int gone(void *ctx) { return 2; }
"""
NEW = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
         __type(key, __u32); __type(value, __u64); } added SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 128);
         __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
int limit = 8;
SEC("raw_tp/sys_enter") int same(void *ctx) { return limit; }
SEC("raw_tp/sys_exit") int count(void *ctx)
{
	__u32 key = limit + bpf_get_smp_processor_id();
	return !bpf_map_lookup_elem(&counts, &key);
}
SEC("tc") int fresh(void *ctx) { return bpf_map_lookup_elem(&added, &(__u32){0}) == 0; }
"""


def compared(a: ReportInput, b: ReportInput | HeaderInput) -> tuple[Report, Comparison]:
    report = explain(a, ReportExtras(against=b))
    assert report.against is not None
    return report, report.against


def test_two_versions() -> None:
    a, b = given(NEW), given(OLD)
    report, found = compared(a, b)
    maps = {change.name: change for change in found.maps}
    assert {name: change.status for name, change in maps.items()} == {
        "added": "only a",
        "counts": "changed",
        "sample.data": "changed",
    }
    assert maps["counts"].fields == (("max_entries", "128", "64"),)
    assert maps["sample.data"].fields == (("initial value", "08000000", "07000000"),)
    programs = {change.name: change for change in found.programs}
    assert {name: change.status for name, change in programs.items()} == {
        # Its map has another number, but is the same map.
        "same": "same",
        "count": "changed",
        "fresh": "only a",
        "gone": "only b",
    }
    assert programs["same"].rows == programs["fresh"].rows == ()
    assert [row.text for row in programs["gone"].code] == ["w0 = 2", "exit"]
    assert programs["gone"].rows == ((None, 0, False), (None, 1, False))
    rows = programs["count"].rows
    ours = next(item for item in report.listings if item.name == "count").rows
    assert [row.a for row in rows if row.a is not None] == list(range(len(ours)))
    only = [ours[row.a].text for row in rows if row.a is not None and not row.same]
    assert any("bpf_get_smp_processor_id" in text for text in only)
    assert sum(row.same for row in rows) > 5


def test_sides_are_both_programs_in_full() -> None:
    a, b = given(NEW), given(OLD)
    report, there = compared(a, b)
    theirs, back = compared(b, a)
    change = next(change for change in there.programs if change.name == "count")
    ours = next(item for item in report.listings if item.name == "count").rows
    assert change.code == next(item for item in theirs.listings if item.name == "count").rows
    assert [row.a for row in change.rows if row.a is not None] == list(range(len(ours)))
    assert [row.b for row in change.rows if row.b is not None] == list(range(len(change.code)))
    for row in change.rows:
        if row.same:
            assert row.a is not None and row.b is not None
            assert _plain(ours[row.a].text) == _plain(change.code[row.b].text)
    assert {c.status for c in back.maps} == {"only b", "changed"}


def _plain(text: str) -> str:
    """Without the number of a map, which is not the same on both sides."""
    head, mark, tail = text.partition("map[")
    return head + mark + tail.partition(":")[2]


def test_calls_are_those_of_lskel_diff() -> None:
    a, b = given(NEW), given(OLD)
    assert a.loader is not None and b.loader is not None
    _, found = compared(a, b)
    expected = list(differences(replay(a.loader).records, replay(b.loader).records))
    numbers = {(d.a and d.a.n, d.b and d.b.n) for d in expected}
    listed = {(call.a, call.b) for call in found.calls if call.status != "same"}
    assert listed and listed <= numbers
    # What is left are fds that stand for the same map, of which there are more on one side.
    rest = [d for d in expected if (d.a and d.a.n, d.b and d.b.n) not in listed]
    assert {d.field for d in rest} <= {"result", "map_fd", "fd_array"}
    for call in found.calls:
        for number, ops in ((call.op_a, a.loader.trace.ops), (call.op_b, b.loader.trace.ops)):
            assert number is None or 0 <= number < len(ops)


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_light_skeleton_makes_the_same_calls(path: Path, run: Run) -> None:
    name = path.name.split(".")[0]
    header = run("bpftool", "gen", "skeleton", "-L", path, "name", name)
    a = given(path)
    _, found = compared(a, HeaderInput("x.lskel.h", parse_header(header)))
    assert a.loader is not None
    assert {call.status for call in found.calls} == {"same"}
    assert len(found.calls) == len(replay(a.loader).records)
    assert all(call.op_b is None and call.op_a is not None for call in found.calls)
    assert (found.maps, found.programs, found.sizes) == ((), (), ())


def test_forms_differ_in_sizes_alone() -> None:
    a, b = given(LOADABLE), given(LOADABLE, Form.UNROLLED)
    assert a.loader is not None and b.loader is not None
    _, found = compared(a, b)
    assert {call.status for call in found.calls} == {"same"}
    assert {change.status for change in found.maps} == {"same"}
    assert {change.status for change in found.programs} == {"same"}
    sizes = {change.kind: change for change in found.sizes}
    program = sizes.pop("loader program")
    assert (program.a, program.b) == (len(a.loader.insns), len(b.loader.insns))
    assert {kind: size.a for kind, size in sizes.items() if size.a} == contents(a.loader)
    assert {kind: size.b for kind, size in sizes.items() if size.b} == contents(b.loader)


def test_what_cannot_be_generated_has_no_calls() -> None:
    _, found = compared(given(OLD), given(UNTYPED))
    assert found.problem.startswith("B: ") and "has no known program type" in found.problem
    assert found.calls == ()


def test_long_programs_are_compared_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligning, "MAX_ITEMS", 100)

    def text(step: int) -> str:
        lines = "\n".join(f"x = x * {n * step + 3} + ctx[{n % 8}];" for n in range(300))
        return f'SEC("raw_tp/sys_enter") int use(long *ctx) {{ long x = 0; {lines} return x; }}'

    report, found = compared(given(text(2)), given(text(5)))
    rows = found.programs[0].rows
    ours = report.listings[0].rows
    assert len(ours) > 300
    assert [row.a for row in rows if row.a is not None] == list(range(len(ours)))
    assert any(row.same for row in rows) and any(not row.same for row in rows)
