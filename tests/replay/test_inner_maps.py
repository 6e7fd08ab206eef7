"""Inner maps that are made at run time, by every door."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lskel.bpf.attr import load
from lskel.bpf.layouts import MAP_CREATE
from lskel.errors import NoElement, UsageError
from lskel.runtime.kernel import RunningKernel
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.inner import HashOfMaps, InnerMaps
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError
from lskel.runtime.syscall import bpf as syscall
from lskel.runtime.values import raw, u32, u64
from tests.conftest import Run
from tests.runtime.programs import run_program
from tests.skeleton.modules import by_load, by_module, compiled

pytestmark = pytest.mark.kernel

SOURCE = """
struct flow { __u32 port; __u32 zone; };
struct stats { __u64 packets, bytes; };
struct locked { struct bpf_spin_lock lock; __u32 count; };
// Else clang leaves out their members.
struct flow *flow_used __attribute__((unused)); struct stats *stats_used __attribute__((unused));
struct locked *locked_used __attribute__((unused));
struct table { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
               __type(key, struct flow); __type(value, struct stats); };
struct locks { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
               __type(key, __u32); __type(value, struct locked); };
struct ring { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); };
struct { __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS); __uint(max_entries, 8); __type(key, __u32);
         __array(values, struct table); } tables SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, __u32);
         __array(values, struct locks); } guarded SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, __u32);
         __array(values, struct ring); } rings SEC(".maps");
__u32 seen;
SEC("syscall") int count(void *ctx)
{
    struct flow flow = { 53, 7 };
    __u32 key = 1, one = 1, zero = 0;
    void *table = bpf_map_lookup_elem(&tables, &key), *ring = bpf_map_lookup_elem(&rings, &one);
    void *locks = bpf_map_lookup_elem(&guarded, &one);
    struct stats *stats = table ? bpf_map_lookup_elem(table, &flow) : 0;
    struct locked *locked = locks ? bpf_map_lookup_elem(locks, &zero) : 0;
    if (!stats || !locked || !ring)
        return 1;
    stats->packets += 1;
    stats->bytes += 60;
    bpf_spin_lock(&locked->lock);
    locked->count += 5;
    bpf_spin_unlock(&locked->lock);
    seen++;
    return bpf_ringbuf_output(ring, &seen, sizeof(seen), 0);
}
"""


@pytest.fixture(params=[by_module, by_load], ids=["module", "load"])
def bpf(request: pytest.FixtureRequest) -> Iterator[Any]:
    with request.param(compiled(SOURCE, "inner")) as made:
        yield made


def test_new_ones_are_used_and_read_back(bpf: Any, run: Run) -> None:
    maps = bpf.maps
    table, locks, ring = maps.tables.new(), maps.guarded.new(), maps.rings.new()
    maps.tables[1], maps.guarded[1], maps.rings[1] = table, locks, ring
    table[53, 7] = (1, 2)
    assert run_program(bpf.progs.count) == 0
    number = table.info().id
    for made in (table, locks):
        made.close()
    read = maps.tables[1]
    assert type(read).__name__ == "HashMap" and read.info().id == number
    ((flow, stats),) = read.items()
    assert (flow.port, flow.zone, stats.packets, stats.bytes) == (53, 7, 2, 62)
    assert maps.guarded[1][0].count == 5
    assert [bytes(event) for event in ring.consume()] == [(1).to_bytes(4, "little")]
    ring.close()
    assert type(maps.rings[1]).__name__ == "RingBufferMap"
    (shown,) = json.loads(run("bpftool", "-j", "map", "dump", "id", number))
    assert [int(byte, 0) for byte in shown["key"]] == [53, 0, 0, 0, 7, 0, 0, 0]
    assert maps.tables.ids() == {1: number}
    with pytest.raises(NoElement):
        maps.tables[2]


def test_sizes(bpf: Any) -> None:
    """Hashes may have any, arrays may not."""
    large = bpf.maps.tables.new(max_entries=100)
    assert large.info().max_entries == 100
    bpf.maps.tables[1] = large
    assert bpf.maps.tables[1].max_entries == 100
    with pytest.raises(BpfError, match="those of the declared inner map") as caught:
        bpf.maps.guarded[0] = bpf.maps.tables.new()
    assert caught.value.errno == errno.EINVAL


def test_settings_of_inner_maps_reach_new_ones(bpf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they leave the types alone: without its lock the map would be refused."""
    bpf.maps.guarded.inner_map.max_entries = 2
    bpf.maps.tables.inner_map.numa_node = 3  # without its flag the kernel does not look at it
    bpf.maps.guarded[1] = bpf.maps.guarded.new()
    assert (len(bpf.maps.guarded[1]), bpf.maps.guarded[1][1].count) == (2, 0)
    attrs = []

    def create(kernel: RunningKernel, cmd: int, attr: bytearray) -> Fd:
        attrs.append(bytes(attr))
        return Fd(syscall(cmd, attr))

    monkeypatch.setattr(RunningKernel, "create", create)
    bpf.maps.tables.new().close()
    assert [load(attr, MAP_CREATE, "numa_node", sys.byteorder) for attr in attrs] == [3]


LOCKED = """
struct locked { struct bpf_spin_lock lock; __u32 count; };
struct locked *locked_used __attribute__((unused));
struct numbers { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
                 __type(key, __u32); __type(value, __u32); };
struct locks { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
               __type(key, __u32); __type(value, struct locked); };
struct numbers left_out SEC(".maps"), shared SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, __u32);
         __array(values, struct locks); } guarded SEC(".maps");
__u32 seen;
SEC("syscall") int count(void *ctx) { return seen++; }
"""
OTHER = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
         __type(key, __u32); __type(value, __u32); } shared SEC(".maps");
"""


@pytest.mark.parametrize("door", [by_module, by_load], ids=["module", "load"])
def test_types_of_new_ones_are_those_of_this_object(door: Any, bpffs: Path) -> None:
    """They come from a map that has them: neither one left out, nor one of another object."""
    with by_load(compiled(OTHER, "other")) as other, door(compiled(LOCKED, "inner")) as bpf:
        other.maps.shared.pin(bpffs / "shared")
        bpf.maps.left_out.autocreate = False
        bpf.maps.shared.pin_path = bpffs / "shared"
        bpf.maps.guarded[1] = bpf.maps.guarded.new()
        assert bpf.maps.shared.info().id == other.maps.shared.info().id
        assert bpf.maps.guarded[1][0].count == 0


def test_with_types_of_ones_own(bpf: Any) -> None:
    """As of a map that another process has pinned."""
    bpf.maps.tables[1] = bpf.maps.tables.new()
    number = bpf.maps.tables.info().id
    opened: Any = HashOfMaps.open(number, u32, InnerMaps(HashMap, u64, raw(16)))
    opened[1][53 | 7 << 32] = (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    ((flow, stats),) = bpf.maps.tables[1].items()
    assert (flow.port, flow.zone, stats.packets, stats.bytes) == (53, 7, 1, 2)
    wrong: Any = HashOfMaps.open(number, u32, InnerMaps(HashMap, u64, u64))
    with pytest.raises(UsageError, match="its values have 16 bytes, expected 8"):
        wrong[1]
    untyped: Any = HashOfMaps.open(number, u32)
    assert untyped[1].info() == bpf.maps.tables[1].info()
