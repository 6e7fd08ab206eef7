"""Ring buffer maps: typed events in loops, by callbacks and in asyncio."""

from __future__ import annotations

import asyncio
import mmap
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lskel.errors import BadInput, UsageError
from lskel.runtime.maps import event_map
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.ringbuf import RingBufferMap
from lskel.runtime.values import u32, u64
from tests.runtime.maps.buffers import Buffers, Event, buffers
from tests.runtime.test_ringbuf import BUSY, DISCARD, KernelSide, linux

ROOT = Path(__file__).parent.parent.parent.parent
kernel = pytest.mark.kernel


@pytest.fixture
def bpf() -> Iterator[Buffers]:
    with buffers() as made:
        yield made


@pytest.fixture
def ring(bpf: Buffers) -> RingBufferMap[Event]:
    return bpf.map("ring", RingBufferMap, Event)


def numbers(events: Iterator[Event]) -> list[int]:
    return [event.number for event in events]


@kernel
def test_typed_events_in_a_loop(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    assert list(ring.consume()) == []
    bpf.run("to_ring", *range(5))
    found = []
    for event in ring:
        found.append(event)
        if len(found) == 5:
            break
    assert numbers(iter(found)) == [0, 1, 2, 3, 4]
    assert found[0].name == b"abcdefg"
    found[0].number = 7  # a copy: the ring is read-only
    assert not list(ring.consume())


@kernel
def test_a_loop_that_is_left_leaves_the_rest(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    bpf.run("to_ring", *range(6))
    assert numbers(islice(ring, 2)) == [0, 1]
    assert numbers(islice(ring.consume(), 1)) == [2]
    assert numbers(ring.events(timeout=0)) == [3, 4, 5]


@kernel
def test_two_loops_share_the_events(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    per_ring = mmap.PAGESIZE // 32 - 1
    first, second = ring.consume(), ring.events(timeout=0)
    bpf.run("to_ring", *range(per_ring))
    found = [next(first).number, next(second).number, next(first).number]
    # The second reads past what the first has seen.
    bpf.run("to_ring", 1000, 1001)
    found += numbers(second)
    bpf.run("to_ring", 2000)
    found += numbers(first)
    assert found == [*range(per_ring), 1000, 1001, 2000]


@kernel
def test_raw_bytes_and_other_types(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    bpf.run("to_ring", *range(5))
    (raw,) = islice(ring.consume(raw=True), 1)
    assert len(raw) == 24 and raw[12:20] == b"abcdefg\0"
    assert len(next(ring.events(raw=True))) == 24
    # The head of what is longer.
    heads: list[Any] = [next(ring.decode_as(ctype).consume()) for ctype in (u64, u32)]
    assert heads == [2, 3]
    assert next(ring.decode_as(bytes).consume())[:8] == (4).to_bytes(8, sys.byteorder)
    untyped = bpf.map("other", RingBufferMap)
    bpf.run("to_other", 5)
    assert list(untyped.consume()) == [(5).to_bytes(8, sys.byteorder)]


@kernel
def test_an_event_that_is_too_short(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    bpf.run("to_ring", 1)
    bpf.run("short_to_ring", 2)
    bpf.run("to_ring", 3)
    first, head, last = ring.events(timeout=0)
    assert (first.number, last.number) == (1, 3)
    assert isinstance(head, Event) and head.asdict() == {}
    bpf.run("short_to_ring", 2)
    with pytest.raises(BadInput, match=r"'ring': event of 4 bytes .* of 8 .*decode_as"):
        next(ring.decode_as(u64).consume())
    bpf.run("short_to_ring", 2)
    assert list(ring.consume(raw=True)) == [(2).to_bytes(4, sys.byteorder)]


@kernel
def test_discarded_events_are_passed_over(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    for program, number in (("discard", 0), ("to_ring", 1), ("discard", 0), ("to_ring", 2)):
        bpf.run(program, number)
    assert numbers(ring.events(timeout=0)) == [1, 2]
    bpf.run("discard", 0)
    assert ring.poll(print, timeout=0) == 0


@kernel
def test_a_loop_ends_by_itself(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    assert numbers(ring.events(timeout=0.01)) == []
    assert numbers(ring.events(duration=0.01)) == []
    later = threading.Timer(0.1, bpf.run, ("to_ring", 1, 2))
    later.start()
    assert numbers(ring.events(timeout=0.5)) == [1, 2]
    later.join()
    # However many come, the time goes on.
    count = 0
    bpf.run("to_ring", 1)
    for event in ring.events(timeout=10, duration=0.05):
        count += 1
        bpf.run("to_ring", event.number)
    assert count > 1


@kernel
def test_callbacks(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    seen: list[Event] = []
    assert ring.poll(seen.append, timeout=0) == 0
    bpf.run("to_ring", 1, 2)
    assert ring.poll(seen.append) == 2
    later = threading.Timer(0.1, bpf.run, ("to_ring", 3))
    later.start()
    assert ring.poll(seen.append, timeout=10) == 1
    later.join()
    assert numbers(iter(seen)) == [1, 2, 3]


@kernel
def test_after_closing(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    bpf.run("to_ring", 1)
    assert numbers(ring.events(timeout=0)) == [1]
    ring.close()
    ring.close()
    for use in (ring.consume, ring.reader, lambda: next(iter(ring))):
        with pytest.raises(UsageError, match="map 'ring' is closed"):
            use()


@linux
def test_reserved_events_are_waited_for() -> None:
    """The ring is readable all the time."""
    ring: RingBufferMap[Any] = RingBufferMap(MapDefinition("ring", 27, 0, 0, mmap.PAGESIZE), u64)
    with KernelSide(mmap.PAGESIZE) as side:
        ring._reader = side.reader()
        side.put((1).to_bytes(8, sys.byteorder))
        busy = side.put((2).to_bytes(8, sys.byteorder), BUSY)
        side.put(bytes(8), DISCARD)
        side.put((3).to_bytes(8, sys.byteorder))
        assert list(ring.events(timeout=0.01)) == [1]
        assert list(ring.events(duration=0.01)) == []
        assert ring.poll(print, timeout=1) == 0
        later = threading.Timer(0.05, side.submit, (busy, 8))
        later.start()
        assert list(islice(ring, 2)) == [2, 3]
        later.join()
        ring.close()


# -- asyncio ------------------------------------------------------------------------------------


def run_async(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end; no reader may be left."""
    selector = selectors.DefaultSelector()
    loop = asyncio.SelectorEventLoop(selector)
    before = len(selector.get_map())
    try:
        loop.run_until_complete(main())
        assert len(selector.get_map()) == before
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


@kernel
def test_asyncio_two_maps_at_once(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    other = bpf.map("other", RingBufferMap, u64)

    async def first() -> list[int]:
        found = []
        async for event in ring:
            found.append(event.number)
            bpf.run("to_other", event.number + 100)
            if len(found) == 50:
                break
        return found

    async def second() -> list[int]:
        found = []
        async for number in other.aiter():
            found.append(number)
            if len(found) == 50:
                break
            bpf.run("to_ring", number - 99)
        return found

    async def main() -> None:
        tasks = asyncio.gather(first(), second())
        await asyncio.sleep(0.01)
        bpf.run("to_ring", 0)
        one, two = await asyncio.wait_for(tasks, 10)
        assert (one, two) == ([*range(50)], [*range(100, 150)])

    run_async(main)


@kernel
def test_asyncio_two_readers_of_one_map(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    found: list[int] = []

    async def reader() -> None:
        async for event in ring.aiter():
            found.append(event.number)
            await asyncio.sleep(0)

    async def main() -> None:
        tasks = [asyncio.create_task(reader()) for _ in range(2)]
        for start in range(0, 300, 30):
            await asyncio.sleep(0.001)
            bpf.run("to_ring", *range(start, start + 30))
        while len(found) < 300:
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(result, asyncio.CancelledError)
            for result in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert sorted(found) == [*range(300)]

    run_async(main)


@kernel
def test_asyncio_timeout_and_cancellation(bpf: Buffers, ring: RingBufferMap[Event]) -> None:
    async def main() -> None:
        events = ring.aiter()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(events.__anext__(), 0.02)
        with pytest.raises(StopAsyncIteration):  # as any generator that was cancelled
            await events.__anext__()
        bpf.run("to_ring", 1)
        bpf.run("short_to_ring", 2)
        assert (await ring.aiter().__anext__()).number == 1
        assert len(await ring.aiter(raw=True).__anext__()) == 4

    run_async(main)


@linux
def test_asyncio_waits_for_reserved_events(monkeypatch: pytest.MonkeyPatch) -> None:
    ring: RingBufferMap[Any] = RingBufferMap(MapDefinition("ring", 27, 0, 0, mmap.PAGESIZE), u64)
    monkeypatch.setattr(event_map, "RESERVED", 0.01)
    with KernelSide(mmap.PAGESIZE) as side:
        ring._reader = side.reader()
        busy = side.put((2).to_bytes(8, sys.byteorder), BUSY)

        async def main() -> None:
            task = asyncio.ensure_future(ring.aiter().__anext__())
            await asyncio.sleep(0.03)
            assert not task.done()
            side.submit(busy, 8)
            assert (await asyncio.wait_for(task, 10)) == 2

        run_async(main)
        ring.close()


# -- signals ------------------------------------------------------------------------------------

CHILD = """
from tests.runtime.maps.buffers import Event, buffers
from lskel.runtime.maps.ringbuf import RingBufferMap
with buffers() as bpf:
    ring = bpf.map("ring", RingBufferMap, Event)
    bpf.run("to_ring", 5)
    try:
        for event in ring:
            print(event.number, flush=True)
    except KeyboardInterrupt:
        bpf.run("to_ring", 6)
        print([event.number for event in ring.consume()])
"""


@kernel
def test_control_c() -> None:
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "5\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == "[6]\n"
        assert child.wait(10) == 0
