"""Events of a loaded object: of all its buffers, decoded by BTF."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

import lskel
from lskel.errors import NotFound
from lskel.live.attach import attach_all
from lskel.live.events import Buffers, Events
from lskel.replay import kernel
from lskel.replay.loaded import Loaded
from lskel.replay.options import Options
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


@pytest.fixture
def loaded() -> Iterator[Loaded]:
    loader = lskel.generate(lskel.open_object(compile_bpf(SOURCE), name="ev"))
    with kernel.run(loader, Options(variables={"rodata.wanted": str(os.getpid())})) as made:
        yield made


def test_ring_and_perf_buffers_together(loaded: Loaded) -> None:
    with Buffers(loaded) as buffers, Events(buffers) as events:
        assert buffers.maps == ("perf", "ring")
        with attach_all(loaded):
            os.getppid()
            found = list(events.until(time.monotonic() + 0.2))
            found += events.available()
        numbers: dict[str, list[object]] = {"perf": [], "ring": []}
        for event in found:
            assert isinstance(event.value, dict)
            assert (event.value["pid"], event.value["name"]) == (os.getpid(), "abc")
            numbers[event.map].append(event.value["number"])
        assert 0 in numbers["ring"] and 0 in numbers["perf"]


@pytest.fixture
def _on_one_cpu() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("_on_one_cpu")
def test_types_and_lost_events(loaded: Loaded) -> None:
    prog = loaded.programs["on_syscall"].fd
    with Buffers(loaded, {"perf": "struct other"}) as buffers, Events(buffers) as events:
        for _ in range(3000):
            run_program(prog, bytes(16))
        found = list(events.available())
        perf = [event for event in found if event.map == "perf"]
        assert 0 < len(perf) < 3000
        first = perf[0].value
        assert isinstance(first, dict) and list(first) == ["number"]
        # The kernel tells of what was lost in front of the next that fits.
        run_program(prog, bytes(16))
        assert len([event for event in events.available() if event.map == "perf"]) == 1
        assert buffers.lost == {"perf": 3000 - len(perf)}
    with pytest.raises(NotFound, match="no type 'nope' for events of map 'perf'"):
        Buffers(loaded, {"perf": "nope"})
    with pytest.raises(NotFound, match=r"no ring or perf buffer 'ev\.bss'"):
        Buffers(loaded, {"ev.bss": "event"})
