"""What objects cost that say as much as their size allows: time, memory, and copies.

LSKEL_COSTS_SIZE sets their size in bytes; 1 MB takes some minutes.
"""

from __future__ import annotations

import mmap
import os
import resource
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

import lskel
from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import MAX_DEPTH, Btf
from lskel.btf.layout import TypeLayout
from lskel.btf.types import TypeId
from lskel.cli import main
from lskel.describe.image import read_image
from lskel.describe.listing import listing
from lskel.load_phase import link
from lskel.loader.generate import generate
from lskel.loader.model import Form
from lskel.object import struct_ops
from lskel.replay.align import AlignedRange, align
from lskel.skeleton.types import TypeDeclarations
from lskel.trace import MapUpdate, Ref
from tests.build.btf import BtfBuilder
from tests.hostile.objects import BUILDERS

MB = 1_000_000
SIZE = int(os.environ.get("LSKEL_COSTS_SIZE") or MB // 8)
# Of a file of 1 MB; of a smaller one its part, and what the interpreter and a loader take.
SECONDS, BYTES = 20, 1 << 30
LEAST_SECONDS, LEAST_BYTES = 10, 300 << 20
# What these may hold in copies depends on limits, and not on their size: the limits are scaled.
COPIED = ("shared_subprograms", "calls_in_subprograms", "shared_records", "shared_kfuncs")

COMMANDS = {
    "bundle": ("gen", "{}", "-o", "{}.lskel"),
    "unrolled": ("gen", "--form", "unrolled", "{}", "-o", "{}.lskel"),
    "inspect": ("inspect", "{}"),
    "json": ("inspect", "--json", "{}"),
    "disasm": ("disasm", "{}"),
    "loader": ("disasm", "--loader", "{}"),
    "explain": ("explain", "{}", "-o", "{}.html"),
    "python": ("gen", "{}", "-o", "{}.py"),
    "c": ("gen", "{}", "-o", "{}.h", "--standalone"),
}


def run(words: Iterable[str], output: Path, part: float) -> int:
    """A command in a process that may take a part of time and memory; its exit status."""
    seconds = max(int(SECONDS * part), LEAST_SECONDS)
    # What other tests of this process have in memory does not count.
    mine = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    size = mine + max(int(BYTES * part), LEAST_BYTES)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 99
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        sys.stdout = sys.stderr = output.open("w", errors="backslashreplace")
        status = main(list(words))
        sys.stdout.flush()
    finally:
        os._exit(status)


@pytest.mark.parametrize("name", BUILDERS)
def test_each_command_stays_within_its_budget(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "x.bpf.o"
    source.write_bytes(BUILDERS[name](SIZE))
    part = SIZE / MB
    for limit in ("SMALL_CODE", "OPERATIONS") if name in COPIED else ():
        monkeypatch.setattr(budget, limit, int(getattr(budget, limit) * part))
    for command, words in COMMANDS.items():
        output = tmp_path / "output"
        status = run([word.format(source) for word in words], output, part)
        said = output.read_text(errors="replace")[-2000:]
        assert status in (0, 1), f"{command}: {status}: {said}"
        assert status == 0 or said.startswith(f"lskel: {source}: "), said


def test_a_subprogram_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: Counter[str] = Counter()
    prepare = link._prepare

    def counted(function: lskel.Function, *args: object) -> object:
        prepared[function.name] += 1
        return prepare(function, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(link, "_prepare", counted)
    obj = lskel.open_object(BUILDERS["shared_subprograms"](20_000))
    trace = obj.trace()
    assert len(obj.programs) > 100
    assert set(prepared.values()) == {1}
    loads = [trace.prog_load(slot) for slot in range(len(obj.programs))]
    assert len({load.insns for load in loads if load is not None}) == 1


def test_copies_of_subprograms_are_limited() -> None:
    obj = lskel.open_object(BUILDERS["shared_subprograms"](300_000))
    with pytest.raises(lskel.LimitExceeded) as caught:
        obj.trace()
    assert caught.value.limit == budget.CODE_COPIES * budget.SMALL_CODE
    image = read_image(obj)
    held = [len(code.insns) for code in image.programs]
    assert sum(held) <= caught.value.limit
    refused = [code for code in image.programs if not code.insns]
    assert refused
    assert all("bytes of code and debug information" in code.problem for code in refused)


def test_records_count_as_copies() -> None:
    with pytest.raises(lskel.LimitExceeded, match="debug information"):
        lskel.open_object(BUILDERS["shared_records"](300_000)).trace()


def test_operations_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    obj = lskel.open_object(BUILDERS["shared_kfuncs"](20_000))
    ops = len(obj.trace().ops)
    monkeypatch.setattr(budget, "OPERATIONS", ops)
    assert len(obj.trace().ops) == ops
    monkeypatch.setattr(budget, "OPERATIONS", ops - 1)
    with pytest.raises(lskel.LimitExceeded, match=f"{ops} operations, at most {ops - 1} allowed"):
        obj.trace()


def test_values_of_maps_of_maps_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    data = BUILDERS["legacy_maps_of_maps"](700)
    count = len(lskel.open_object(data).maps)
    monkeypatch.setattr(budget, "INNER_MAPS", count * count)
    assert {len(a_map.slots) for a_map in lskel.open_object(data).maps} == {count}
    monkeypatch.setattr(budget, "INNER_MAPS", count * count - 1)
    with pytest.raises(lskel.LimitExceeded, match="initial values of maps of maps, at most"):
        lskel.open_object(data)


def test_members_of_struct_ops_are_limited() -> None:
    with pytest.raises(lskel.LimitExceeded) as caught:
        lskel.open_object(BUILDERS["struct_ops"](10_000))
    assert caught.value.limit == struct_ops.MAX_MEMBERS


def test_maps_wait_for_those_they_hold() -> None:
    obj = lskel.open_object(BUILDERS["maps_of_maps"](2000))
    trace = obj.trace()
    updates = [op for op in trace.ops if isinstance(op, MapUpdate)]
    assert len(updates) == len(obj.maps) - 1
    last = trace.maps[-1].op
    assert [trace.ops[update.map.op] for update in updates] == [
        trace.map_create(slot) for slot in range(len(updates))
    ]
    assert {update.value for update in updates} == {Ref(last)}


def _arrays_of_themselves() -> tuple[Btf, list[TypeId]]:
    builder = BtfBuilder()
    alone = builder.add_array(1, 2)
    none = builder.add_array(0, 0)
    wrapped = builder.add_typedef("t", builder.add_const(none))
    builder[none].words[0] = wrapped
    struct = builder.add_struct("s", 8, [("m", 0, 0)])
    builder[struct].words[1] = builder.add_array(struct, 1)
    return builder.btf(), [alone, none, wrapped, struct]


def test_arrays_that_contain_themselves_are_refused() -> None:
    btf, ids = _arrays_of_themselves()
    for type_id in ids:
        with pytest.raises(lskel.BadObject, match=r"BTF: (type )?\[?.*\[?\d+\]?"):
            TypeDeclarations(btf).type(type_id)
        with pytest.raises(lskel.BadObject, match=r"BTF: type \[\d+\]"):
            TypeLayout(btf).align(type_id)
        if not isinstance(btf[type_id], t.StructType):
            with pytest.raises(lskel.BadObject, match=rf"chain of more than {MAX_DEPTH} types"):
                btf.size_of(type_id)


def test_long_replays_that_differ_everywhere_are_not_matched() -> None:
    half = int(budget.EQUAL_PAIRS**0.5) + 2
    a = ["a", *["x"] * half, "b"]
    b = ["c", *["x"] * half, "d"]
    assert list(align(a, b)) == [
        AlignedRange(True, range(0), range(0)),
        AlignedRange(False, range(len(a)), range(len(b))),
        AlignedRange(True, range(len(a), len(a)), range(len(b), len(b))),
    ]


def test_what_is_the_same_at_both_ends_is_matched_whatever_its_length() -> None:
    a = ["x"] * 10_000
    assert [len(part.a) for part in align(a, [*a, "y"]) if part.same] == [10_000, 0]


@pytest.mark.parametrize("name", ["long_names", "wide_union", "overlapping_strings"])
def test_names_that_much_may_share_are_not_long(name: str) -> None:
    with pytest.raises(
        lskel.BadObject, match=f"the name at offset .* at most {budget.NAME} are allowed$"
    ):
        lskel.open_object(BUILDERS[name](20_000))


def test_long_source_lines_are_cut() -> None:
    obj = lskel.open_object(BUILDERS["long_lines"](20_000))
    lines = [row.source for item in listing(obj) for row in item.rows]
    assert len(lines) > 100
    assert {len(line.text) for line in lines if line is not None} == {
        budget.SHOWN_LINE + len("...")
    }


def test_a_context_for_the_types_of_many_kfuncs() -> None:
    with pytest.raises(lskel.LimitExceeded, match=r"need a context of \d+ bytes, more than"):
        generate(lskel.open_object(BUILDERS["kfuncs"](800_000)).trace(), Form.TABLE)
