"""Perf buffer maps: typed events by CPU, lost ones, in loops, by callbacks and in asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from lskel.errors import UsageError
from lskel.runtime.cpus import online_cpus
from lskel.runtime.maps.perfbuf import PerfBufferMap
from tests.runtime.maps.buffers import Buffers, Event, buffers
from tests.runtime.maps.test_ringbuf_map import run_async

pytestmark = pytest.mark.kernel


@pytest.fixture
def bpf() -> Iterator[Buffers]:
    with buffers() as made:
        yield made


@pytest.fixture
def perf(bpf: Buffers) -> PerfBufferMap[Event]:
    return bpf.map("perf", PerfBufferMap, Event)


def test_typed_events_of_every_cpu(bpf: Buffers, perf: PerfBufferMap[Event]) -> None:
    assert (perf.pages, perf.lost) == (8, {})
    assert list(perf.consume()) == []
    for number in range(20):
        for cpu in online_cpus():
            bpf.run("to_perf", number, cpu=cpu)
    found = list(perf.samples(timeout=0))
    for cpu in online_cpus():
        mine = [event for on, event in found if on == cpu]
        assert [(event.cpu, event.number) for event in mine] == [(cpu, n) for n in range(20)]
    assert perf.lost == dict.fromkeys(online_cpus(), 0)


def test_raw_events_are_padded(bpf: Buffers, perf: PerfBufferMap[Event]) -> None:
    assert not list(perf.consume())
    bpf.run("to_perf", 1, 2, cpu=0)
    first = next(perf.events(raw=True))
    assert len(first) == 28 and first[:8] == (1).to_bytes(8, "little")
    ((cpu, second),) = perf.decode_as(bytes).samples(timeout=0)
    assert cpu == 0 and second[:8] == (2).to_bytes(8, "little")


def test_lost_events_are_counted(bpf: Buffers, perf: PerfBufferMap[Event]) -> None:
    perf.pages = 1
    assert list(perf.consume()) == []
    cpu, sent = online_cpus()[-1], 300
    bpf.run("to_perf", *range(sent), cpu=cpu)
    received = [event.number for event in perf.consume()]
    assert 0 < len(received) < sent
    # The kernel tells of it in front of the next that fits.
    bpf.run("to_perf", sent, cpu=cpu)
    assert [event.number for event in perf.consume()] == [sent]
    assert perf.lost == dict.fromkeys(online_cpus(), 0) | {cpu: sent - len(received)}


def test_pages(bpf: Buffers, perf: PerfBufferMap[Event]) -> None:
    for wrong in (3, -1):
        with pytest.raises(UsageError, match="power of two"):
            perf.pages = wrong
    perf.pages = 64
    assert list(perf.consume()) == []
    # Three times what the usual rings hold.
    bpf.run("to_perf", *range(2000), cpu=0)
    assert [event.number for event in perf.consume()] == [*range(2000)]
    with pytest.raises(UsageError, match="before the first read"):
        perf.pages = 8


def test_waiting(bpf: Buffers, perf: PerfBufferMap[Event]) -> None:
    seen: list[Event] = []
    assert perf.poll(seen.append, timeout=0.01) == 0
    later = threading.Timer(0.1, bpf.run, ("to_perf", 1))
    later.start()
    assert perf.poll(seen.append) == 1
    later.join()
    bpf.run("to_perf", 2, 3)
    assert [event.number for event in islice(perf, 1)] == [2]
    assert [event.number for event in perf.events(duration=0.05)] == [3]
    assert [event.number for event in seen] == [1]


def test_closing_empties_the_map(bpf: Buffers, perf: PerfBufferMap[Event]) -> None:
    list(perf.consume())
    assert bpf.run("to_perf", 1) == [0]
    perf.close()
    perf.close()
    assert bpf.run("to_perf", 1) != [0]  # -ENOENT: no event


def test_asyncio(bpf: Buffers, perf: PerfBufferMap[Event]) -> None:
    found: list[int] = []

    async def reader() -> None:
        async for event in perf.aiter():
            found.append(event.number)

    async def main() -> None:
        task = asyncio.create_task(reader())
        await asyncio.sleep(0.01)
        for number in range(100):
            bpf.run("to_perf", number, cpu=online_cpus()[number % len(online_cpus())])
            if number % 3:
                await asyncio.sleep(0.001)
            if number % 10 == 9:
                while len(found) <= number:
                    await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(found) == [*range(100)]

    run_async(lambda: asyncio.wait_for(main(), 20))
