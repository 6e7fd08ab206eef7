"""Threads and tasks that wait for events: what ends their wait, and what else runs meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.errors import Closed
from lskel.runtime.events import Events
from lskel.runtime.maps.perfbuf import PerfBufferMap
from lskel.runtime.maps.ringbuf import RingBufferMap
from tests.build.clang import compile_bpf
from tests.runtime.maps.buffers import Event, buffers

pytestmark = pytest.mark.kernel

KINDS: dict[str, type[Any]] = {"ring": RingBufferMap, "perf": PerfBufferMap}


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """A wait that nothing ends fails."""

    def never_ends(*_: object) -> None:
        raise AssertionError("nothing else ran for a minute")

    before = signal.signal(signal.SIGALRM, never_ends)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


async def in_asyncio(made: Any) -> list[Any]:
    return [event async for event in made]


# Loops end, other calls raise Closed.
LOOPS: dict[str, Callable[[Any], object]] = {
    "loop": list,
    "events": lambda made: list(made.events(timeout=60)),
    "raw": lambda made: list(made.events(raw=True)),
    "together": lambda made: list(Events([made])),
    "callbacks": lambda made: Events([made]).run(),
    "asyncio": lambda made: asyncio.run(in_asyncio(made)),
}
CALLS: dict[str, Callable[[Any], object]] = {
    "poll": lambda made: made.poll(print),
    "reader": lambda made: made.reader().poll(),
    "together": lambda made: Events([made]).poll(),
}


class Waiting:
    """A thread that waits; `outcome` is what it returned or raised."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self.outcome: object = None
        self._wait = wait
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._until_asleep()

    def _run(self) -> None:
        try:
            self.outcome = self._wait()
        except Exception as error:  # noqa: BLE001 - which it is is what is asked
            self.outcome = error

    def _until_asleep(self) -> None:
        """Until the kernel says that it waits in epoll."""
        place = Path(f"/proc/self/task/{self._thread.native_id}/wchan")
        deadline = time.monotonic() + 10
        while "poll" not in place.read_text():
            assert self._thread.is_alive() and time.monotonic() < deadline, self.outcome
            time.sleep(0.001)

    def end(self) -> object:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.outcome


@pytest.mark.parametrize("wait", LOOPS)
@pytest.mark.parametrize("kind", KINDS)
def test_closing_a_map_ends_loops(kind: str, wait: str) -> None:
    with buffers() as bpf:
        made = bpf.map(kind, KINDS[kind], Event)
        waiting = [Waiting(partial(LOOPS[wait], made)) for _ in range(3)]
        made.close()
        outcomes = [one.end() for one in waiting]
    assert outcomes == [None if wait == "callbacks" else []] * 3


@pytest.mark.parametrize("wait", CALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_closing_a_map_ends_calls(kind: str, wait: str) -> None:
    with buffers() as bpf:
        made = bpf.map(kind, KINDS[kind], Event)
        waiting = [Waiting(partial(CALLS[wait], made)) for _ in range(3)]
        made.close()
        for one in waiting:
            error = one.end()
            assert isinstance(error, Closed) and "is closed" in str(error)


def test_what_came_before_is_read() -> None:
    with buffers() as bpf:
        ring = bpf.map("ring", RingBufferMap, Event)
        waiting = Waiting(lambda: [event.number for event in ring])
        bpf.run("to_ring", 1, 2)
        waiting._until_asleep()
        ring.close()
        assert waiting.end() == [1, 2]


def test_the_others_go_on_without_a_map_that_is_closed() -> None:
    with buffers() as bpf:
        ring, perf = (bpf.map(kind, cls, Event) for kind, cls in KINDS.items())
        waiting = Waiting(lambda: [m.name for m, _ in islice(Events([ring, perf]), 2)])
        ring.close()
        bpf.run("to_perf", 1)
        waiting._until_asleep()
        bpf.run("to_perf", 2)
        assert waiting.end() == ["perf", "perf"]


def test_closing_the_reader_of_several() -> None:
    with buffers() as bpf:
        ring = bpf.map("ring", RingBufferMap, Event)
        for wait, expected in ((list, []), (Events.run, None)):
            events = Events([ring])
            waiting = Waiting(partial(wait, events))
            events.close()
            assert waiting.end() == expected
        bpf.run("to_ring", 1)
        assert [event.number for event in ring.consume()] == [1]


def open_fds() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_fd_is_left() -> None:
    """Also of a generator that waits no more."""
    before = open_fds()
    for kind, cls in KINDS.items():
        with buffers() as bpf:
            made = bpf.map(kind, cls, Event)
            made.reader()
            bpf.run(f"to_{kind}", 1, 2)
            left = iter(made)
            assert next(left).number == 1
            with Events([made]) as events:
                assert len(list(events.consume())) == 1
            waiting = [Waiting(partial(list, made)) for _ in range(3)]
            made.close()
            for one in waiting:
                one.end()
            assert list(left) == []
    assert open_fds() == before


# -- a flow that does not end ---------------------------------------------------------------------

SOURCE = """
struct event { __u64 number; };
struct event *used __attribute__((unused));
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 20); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __type(key, int); __type(value, int); }
    perf SEC(".maps");
const volatile __u32 pid;
__u64 calls;
_Bool is_quiet;
SEC("raw_tp/sys_enter") int on_call(void *ctx)
{
    struct event event = {};
    if (bpf_get_current_pid_tgid() >> 32 != pid)
        return 0;
    event.number = ++calls;
    if (is_quiet)
        return 0;
    bpf_ringbuf_output(&ring, &event, sizeof(event), 0);
    bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &event, sizeof(event));
    return 0;
}
"""


@pytest.fixture
def flood() -> Iterator[Any]:
    """Each system call of this process is an event: a reader that makes some never runs dry."""
    types = dict.fromkeys(KINDS, "event")
    with lskel.load(compile_bpf(SOURCE), name="flood", event_types=types) as bpf:
        bpf.rodata.pid = os.getpid()
        bpf.attach()
        yield bpf


@pytest.mark.parametrize("kind", KINDS)
def test_asyncio_goes_on(flood: Any, kind: str) -> None:
    """Timers, other tasks, timeouts and cancellation, with two readers."""
    numbers: list[int] = []
    ticks = 0

    async def read() -> None:
        async for event in flood.maps[kind]:
            numbers.append(event.number)

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def main() -> None:
        tasks = [asyncio.create_task(task()) for task in (read, read, tick)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(), 0.5)
        for task in tasks:
            task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 3

    asyncio.run(main())
    assert len(numbers) > 100
    # Few if the machine is busy; without turns for others there are none.
    assert ticks >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_slow_work_on_events_leaves_turns_for_others(flood: Any, kind: str) -> None:
    turns = 0

    async def work() -> None:
        async for _ in flood.maps[kind]:
            time.sleep(0.005)

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def main() -> None:
        task = asyncio.create_task(others())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(work(), 0.2)
        task.cancel()

    asyncio.run(main())
    # One after each event: more than with any number of events per turn.
    assert turns >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_closing_the_collection_in_a_flood(flood: Any, kind: str) -> None:
    numbers: list[int] = []
    ended = threading.Thread(
        target=lambda: numbers.extend(event.number for event in flood.maps[kind]), daemon=True
    )
    ended.start()
    time.sleep(0.05)
    flood.close()
    ended.join(10)
    assert not ended.is_alive() and numbers


READS: dict[str, Callable[[Any], object]] = {
    "loop": lambda made: sum(1 for _ in made.events(timeout=0)),
    "together": lambda made: sum(1 for _ in Events([made]).consume()),
    "asyncio": lambda made: asyncio.run(first(made, 20_000)),
}


async def first(made: Any, count: int) -> int:
    numbers = 0
    async for _ in made:
        numbers += 1
        if numbers == count:
            break
    return numbers


@pytest.mark.parametrize("read", READS)
def test_events_cost_no_system_calls(flood: Any, read: str) -> None:
    """As the program itself counts them."""
    ring, calls = flood.maps.ring, flood.bss
    READS[read](ring) if read != "asyncio" else asyncio.run(first(ring, 1))
    for _ in range(30_000):
        os.getppid()
    calls.is_quiet = True
    before = calls.calls
    assert READS[read](ring) >= 20_000  # type: ignore[operator]
    # Some for the wait, and every 2 ms one for other tasks.
    assert calls.calls - before < 500
