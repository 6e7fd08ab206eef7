"""Events of a loaded object: of all its buffers, decoded by BTF."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import lskel
from lskel.errors import NotFound
from lskel.runtime.events import Events
from lskel.skeleton.dynamic import DynamicCollection
from tests.build.clang import compile_bpf
from tests.runtime.programs import run_program

pytestmark = pytest.mark.kernel

SOURCE = """
struct event { unsigned pid; unsigned number; char name[12]; };
struct other { unsigned long number; };
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __type(key, int); __type(value, int); }
    perf SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct event unused_event;
struct other unused_other;
const volatile unsigned wanted;
unsigned count;
SEC("raw_tp/sys_enter") int on_syscall(void *ctx)
{
    struct event event = { .pid = bpf_get_current_pid_tgid() >> 32, .name = "abc" };
    if (event.pid != wanted)
        return 0;
    event.number = count++;
    bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &event, sizeof(event));
    bpf_ringbuf_output(&ring, &event, sizeof(event), 0);
    return 0;
}
"""


def opened(**event_types: str) -> DynamicCollection:
    data = compile_bpf(SOURCE)
    wanted = {"rodata.wanted": os.getpid()}
    return lskel.load(data, name="ev", variables=wanted, event_types=event_types)


def test_ring_and_perf_buffers_together() -> None:
    with opened() as bpf, Events((bpf.maps.perf, bpf.maps.ring)) as events:
        bpf.attach()
        os.getppid()
        found = list(events.events(0.2))
        bpf.detach()
        found += events.consume()
        numbers: dict[str, list[int]] = {"perf": [], "ring": []}
        for made, event in found:
            assert (event.pid, event.name) == (os.getpid(), b"abc")
            numbers[made.name].append(event.number)
        assert 0 in numbers["ring"] and 0 in numbers["perf"]


@pytest.fixture
def _on_one_cpu() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("_on_one_cpu")
def test_types_and_lost_events() -> None:
    with opened(perf="struct other") as bpf:
        prog, perf = bpf.progs.on_syscall, bpf.maps.perf
        with Events((perf, bpf.maps.ring)) as events:
            for _ in range(3000):
                run_program(prog, bytes(16))
            found = [event for made, event in events.consume() if made is perf]
            assert 0 < len(found) < 3000
            assert list(found[0].asdict()) == ["number"]
            # The kernel tells of what was lost in front of the next that fits.
            run_program(prog, bytes(16))
            assert len([event for made, event in events.consume() if made is perf]) == 1
            assert sum(perf.lost.values()) == 3000 - len(found)
    with pytest.raises(NotFound, match="no type 'nope' for events of map 'perf'"):
        opened(perf="nope")
    with pytest.raises(NotFound, match=r"no ring or perf buffer 'ev\.bss'"):
        opened(**{"ev.bss": "event"})
