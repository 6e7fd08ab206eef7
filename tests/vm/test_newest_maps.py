"""Jump tables and maps that only the newest kernels have, beside libbpf 1.8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.loader.model import Form
from tests import bpftool
from tests.attach.cases.case import version
from tests.build.clang import compile_bpf
from tests.build.jump_tables import PROGRAMS, expected, object_with_tables
from tests.vm import newest_maps
from tests.vm.job import End, Job
from tests.vm.machine import Machine

HASH = f"""
struct {{ __uint(type, 35); __uint(map_flags, BPF_F_NO_PREALLOC);
         __uint(max_entries, {newest_maps.ENTRIES + 8});
         __uint(map_extra, 16); __type(key, int); __type(value, long); }} counts SEC(".maps");
SEC("syscall") int use(void *ctx)
{{
    int key = -1;
    long value = 99, *found;
    bpf_map_update_elem(&counts, &key, &value, BPF_NOEXIST);
    key = 3;
    found = bpf_map_lookup_elem(&counts, &key);
    if (found)
        *found += 1000;
    return 0;
}}
"""
ARENA = """
#define __arena __attribute__((address_space(1)))
struct { __uint(type, 33); __uint(map_flags, BPF_F_MMAPABLE); __uint(max_entries, 50); } arena
    SEC(".maps");
long __arena calls = 7;
long __arena table[1000] = {1, 2, 3};
long __arena * __arena link;
SEC("syscall") int work(void *ctx)
{
    calls += table[2];
    table[999] += calls;
    link = &table[1];
    *link += 10;
    return calls * 1000 + table[999] + *link;
}
"""
WAYS = ("libbpf", "direct", *(form.value for form in Form))

# Tests that compare the simulator with the running kernel, and how many pass at least.
SINCE = (7, 2)
COMPARED = {
    "instructions": [
        "tests/simulator/test_against_kernel.py",
        "-k",
        "may_goto or casts or arena or by_a_table or ordered or unconditional or loads_and_stores",
    ],
    "maps": ["tests/simulator/test_maps.py", "-k", "INSN_ARRAY or RHASH or instructions"],
}
AT_LEAST = {"instructions": 30, "maps": 12}


def plan(directory: Path) -> Iterator[Job]:
    path = directory / "tables.bpf.o"
    path.write_bytes(object_with_tables())
    bundles = []
    for form in Form:
        bundles.append(str(directory / f"{form.value}.lskel"))
        lskel.generate(lskel.open_object(path), form).save(bundles[-1])
    tables = {"path": str(path), "bundles": bundles, "bpftool": list(bpftool.command())}
    yield Job("jump tables", newest_maps.jump_tables, tables, 120)
    path = directory / "arena.bpf.o"
    path.write_bytes(compile_bpf(ARENA))
    variables = {"path": str(path), "bpftool": list(bpftool.command())}
    yield Job("arena", newest_maps.arena, variables, 60)
    bundle = str(directory / "growing.lskel")
    lskel.generate(lskel.open_object(compile_bpf(HASH), "growing")).save(bundle)
    yield Job("growing hash", newest_maps.growing_hash, {"bundle": bundle}, 60)
    for name, arguments in COMPARED.items():
        job = {"since": SINCE, "arguments": arguments}
        yield Job(f"compared {name}", newest_maps.compared, job, 300)


on_machines = pytest.mark.vm(jobs=plan)


@on_machines
@pytest.mark.parametrize("way", WAYS)
def test_jump_tables(machine: Machine, way: str) -> None:
    """What programs compute, and the instructions that the kernel has of their tables."""
    found = machine.value("jump tables")
    assert set(found) == set(WAYS)
    if version(machine.release) < (6, 19):
        said = "can't create jump table" if way == "libbpf" else "jump tables need Linux 6.19"
        assert said in found[way]
        return
    results = expected()
    for name, functions in PROGRAMS.items():
        ran, tables = found[way][name]
        assert ran == results[name]
        assert len(tables) == len(set(functions))
        assert tables == found["libbpf"][name][1]


@on_machines
@pytest.mark.parametrize("name", COMPARED)
def test_compared_with_the_simulator(machine: Machine, name: str) -> None:
    found = machine.value(f"compared {name}")
    if version(machine.release) < SINCE:
        assert found is None
        return
    assert found["failed"] == {}
    assert found["status"] == 0
    assert found["skipped"] == {}
    assert found["passed"] >= AT_LEAST[name]


@on_machines
def test_hash_that_grows(machine: Machine) -> None:
    found = machine.value("growing hash")
    if version(machine.release) < (7, 2):
        assert "BPF_MAP_CREATE of map 'counts': EINVAL" in found["error"]
        assert "maps of type rhash need Linux 7.2" in found["error"]
        return
    wanted = {number: number * number for number in range(newest_maps.ENTRIES)} | {-1: 99}
    wanted[3] += 1000
    assert dict(found["listed"]) == wanted
    assert found["length"] == len(wanted)
    assert (found["popped"], found["deleted"]) == (49, 2)
    assert "E2BIG" in found["full"]
    assert found["taken"] == newest_maps.ENTRIES + 8
    assert found["left"] == 0


@on_machines
def test_variables_of_an_arena(machine: Machine) -> None:
    """libbpf 1.8 puts them at the end of the arena since Linux 7.0, lskel at its start."""
    if version(machine.release) < (6, 9):
        assert machine.outcomes["arena"].end is End.RAISED
        return
    calls, last, results = 7, 0, []
    for run in range(1, newest_maps.RUNS + 1):
        calls += 3
        last += calls
        results.append(calls * 1000 + last + 2 + 10 * run)
    found = machine.value("arena")
    assert set(found) == set(WAYS)
    assert all(returned == results for returned in found.values())
