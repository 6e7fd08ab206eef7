"""A collection in the simulated kernel: no root, no bpf(2)."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import lskel
from lskel.errors import NotSupported, ReplayError, UsageError
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.runtime.syscall import BpfError
from tests.skeleton.modules import compiled, module_of, skeleton_class

SOURCE = """
struct point { int x, y; };
const volatile int limit = 3;
int seen; long sums[4];
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
         __type(key, int); __type(value, struct point); } points SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4);
         __type(key, int); __type(value, long); } numbers SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_HASH); __uint(max_entries, 4);
         __type(key, int); __type(value, long); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(max_entries, 2); __type(value, int); } jobs
         SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2);
         __uint(key_size, 4); __uint(value_size, 4); } calls SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4);
         __uint(value_size, 4); } samples SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1);
         __type(key, int); __type(value, int); };
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, int);
         __array(values, struct inner); } outer SEC(".maps");
#define USE(map) bpf_map_lookup_elem(&map, &key)
SEC("xdp") int count(void *ctx)
{ int key = limit; seen++; bpf_ringbuf_output(&events, &key, 4, 0);
  bpf_perf_event_output(ctx, &samples, 0, &key, 4);
  return USE(points) && USE(numbers) && USE(counts) && USE(outer)
  && !bpf_map_pop_elem(&jobs, &key) && sums[0] && !bpf_tail_call(ctx, &calls, 0); }
"""


def opened(kernel: Any = None) -> Any:
    return lskel.load(compiled(SOURCE), kernel=kernel or lskel.SimulatedMachine())


def test_maps_and_variables() -> None:
    with opened() as bpf:
        bpf.rodata.limit = 7
        bpf.bss.sums[2] = 9
        bpf.maps.points.max_entries = 2
        bpf.load()
        assert bpf.rodata.limit == 7 and list(bpf.bss.sums) == [0, 0, 9, 0]
        bpf.bss.seen = 5  # what its programs would see
        assert bpf.maps.bss.info().max_entries == 1 and bpf.bss.seen == 5

        points = bpf.maps.points
        points.update({1: (2, 3), 4: (5, 6)})
        assert points[1].y == 3 and {k: v.asdict() for k, v in points.items()} == {
            1: {"x": 2, "y": 3},
            4: {"x": 5, "y": 6},
        }
        with pytest.raises(BpfError, match="holds 2 entries"):
            points[7] = (8, 9)
        assert points.pop(4).x == 5 and len(points) == 1 and 4 not in points
        bpf.maps.numbers[3] = -1
        assert bpf.maps.numbers[:] == [0, 0, 0, -1]
        counts = bpf.maps.counts
        cpus = len(counts.setdefault(1, [2] * bpf.maps.counts.kernel.cpus))
        assert counts.sum(1) == 2 * cpus
        bpf.maps.jobs.push(1)
        bpf.maps.jobs.push(2)
        assert (bpf.maps.jobs.pop(), bpf.maps.jobs.peek()) == (1, 2)
        bpf.maps.calls[1] = bpf.progs.count
        assert bpf.maps.calls[1] == bpf.progs.count.info().id


@pytest.mark.parametrize("form", ["table", "unrolled"])
@pytest.mark.parametrize("door", ["load", "module"])
def test_the_calls_are_those_of_the_kernel(form: str, door: str) -> None:
    loader = compiled(SOURCE, form=form)
    machine = lskel.SimulatedMachine()
    made = lskel.load(loader, kernel=machine) if door == "load" else None
    with made or skeleton_class(loader)(kernel=machine) as bpf:
        bpf.load()
        assert bpf.loaded and bpf.progs.count.loaded
        created = [r.attr["map_name"] for r in machine.kernel.records if "map_name" in r.attr]
        assert set(created) >= {m.name[:15] for m in bpf.maps}
        is_open = len(machine.kernel.open_fds)
    assert is_open == len(loader.trace.maps) + 1 and not machine.kernel.open_fds


def test_what_fails() -> None:
    machine = lskel.SimulatedMachine(faults=Faults(calls={1: 12}))
    with opened(machine) as bpf, pytest.raises(ReplayError, match="ENOMEM") as caught:
        bpf.load()
    assert caught.value.label is not None and caught.value.label.name == "events"
    assert not machine.kernel.open_fds


def test_a_module_that_carries_its_own_runtime() -> None:
    """Its errors are its own: what it is given raises none of another lskel's."""
    module = module_of(compiled(SOURCE), embed=True)
    with module.Test(kernel=lskel.SimulatedMachine()) as bpf:
        bpf.maps.points[1] = (2, 3)
        assert bpf.maps.points[1].y == 3 and bpf.maps.points.get(5) is None
        with pytest.raises(module.NoElement):
            del bpf.maps.points[5]
        assert len(bpf.maps.points) == 1 and bpf.maps.points.info().max_entries == 4
    machine = lskel.SimulatedMachine(faults=Faults(calls={1: 12}))
    with module.Test(kernel=machine) as bpf, pytest.raises(module.ReplayError, match="ENOMEM"):
        bpf.load()


def test_what_it_cannot_do() -> None:
    with opened() as bpf:
        for attach in (bpf.attach, lambda: bpf.progs.count.attach("lo")):
            with pytest.raises(NotSupported, match="attaches nothing"):
                attach()
        for read in (bpf.maps.events.consume, lambda: next(bpf.maps.samples.events(0))):
            with pytest.raises(NotSupported, match="sends no events"):
                list(read())
        with pytest.raises(NotSupported, match="runs no programs but loaders"):
            bpf.progs.count.run(bytes(64))
        for pinned in (bpf.maps.points, bpf.progs.count, bpf):
            with pytest.raises(NotSupported, match="has no pins"):
                pinned.pin("/sys/fs/bpf/never")


def test_the_other_byte_order() -> None:
    big = lskel.open_object("examples/hello.bpf.o")
    trace = big.trace()
    other = "big" if sys.byteorder == "little" else "little"
    foreign = lskel.generate(type(trace)(**{**vars(trace), "order": other}))
    bpf = lskel.load(foreign, kernel=lskel.SimulatedMachine())
    with bpf, pytest.raises(UsageError, match="-endian"):
        bpf.load()


def test_the_fds_are_none_of_this_process() -> None:
    machine = lskel.SimulatedMachine()
    with opened(machine) as bpf:
        bpf.load()
        assert all(made.fileno() >= 1 << 30 for made in bpf.maps)
    assert isinstance(machine.kernel, SimulatedKernel)


def test_without_root() -> None:
    script = (
        "import os, lskel\n"
        "obj = open('examples/syscount.bpf.o', 'rb').read()\n"
        "bpf = lskel.load(obj, name='syscount', kernel=lskel.SimulatedMachine())\n"
        "import lskel.runtime.maps.hash, lskel.runtime.maps.data\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "bpf.maps.syscalls[(1, 2)] = (3, b'x'); print(bpf.maps.syscalls[(1, 2)].count)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "3\n", done.stderr
