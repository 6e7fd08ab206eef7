"""Several buffers read together."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lskel.runtime.events import Events
from lskel.runtime.maps.event_map import EventMap
from lskel.runtime.maps.perfbuf import PerfBufferMap
from lskel.runtime.maps.ringbuf import RingBufferMap
from lskel.runtime.values import u64
from tests.runtime.maps.buffers import Buffers, Event, buffers

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.kernel


class Maps:
    """Three buffers."""

    def __init__(self, bpf: Buffers) -> None:
        self.bpf = bpf
        self.ring = bpf.map("ring", RingBufferMap, Event)
        self.other: RingBufferMap[Any] = bpf.map("other", RingBufferMap, u64)
        self.perf = bpf.map("perf", PerfBufferMap, Event)

    def all(self) -> list[EventMap[Any]]:
        return [self.ring, self.other, self.perf]

    def send(self, *numbers: int) -> None:
        for program in ("to_ring", "to_other", "to_perf"):
            self.bpf.run(program, *numbers)


@pytest.fixture
def maps() -> Iterator[Maps]:
    with buffers() as bpf:
        yield Maps(bpf)


def plain(found: Iterator[tuple[EventMap[Any], Any]]) -> list[tuple[str, int]]:
    return sorted((m.name, getattr(event, "number", event)) for m, event in found)


def test_pairs(maps: Maps) -> None:
    with Events(maps.all()) as events:
        assert list(events.consume()) == []
        assert list(events.events(duration=0.01)) == []
        maps.send(1, 2)
        expected = [(name, n) for name in ("other", "perf", "ring") for n in (1, 2)]
        assert plain(islice(events, 6)) == expected
        maps.send(1, 2)
        assert plain(events.events(duration=0.05)) == expected
        maps.send(1, 2)
        assert plain(events.consume()) == expected
        for number in range(20):
            later = threading.Timer(0.002, maps.bpf.run, ("to_perf", number))
            later.start()
            assert plain(islice(events, 1)) == [("perf", number)]
            later.join()


def test_callbacks(maps: Maps) -> None:
    ring: list[Event] = []
    other: list[int] = []
    with Events({maps.ring: ring.append, maps.other: other.append}) as events:
        assert events.poll(timeout=0) == events.poll(timeout=0.01) == 0
        maps.send(1, 2)
        assert events.poll() == 4
        assert ([event.number for event in ring], other) == ([1, 2], [1, 2])
        maps.send(3)
        events.run(duration=0.05)
        assert ([event.number for event in ring], other) == ([1, 2, 3], [1, 2, 3])


def test_a_busy_buffer_does_not_silence_the_others(
    maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lskel.runtime.events.BATCH", 10)
    seen = []
    with Events(maps.all()) as events:
        maps.send(0)
        for buffer, event in events:
            seen.append(buffer.name)
            if buffer is maps.ring:
                maps.bpf.run("to_ring", event.number)  # it never runs dry
            if len(seen) == 100:
                break
    assert seen[:13] == ["ring"] * 10 + ["other", "perf", "ring"]


def test_stop_from_a_callback_and_another_thread(maps: Maps) -> None:
    seen: list[int] = []

    def take(number: int) -> None:
        seen.append(number)
        if number == 2:
            events.stop()

    with Events({maps.other: take}) as events:
        maps.bpf.run("to_other", 1, 2, 3)
        events.run()
        assert seen == [1, 2]
        assert events.poll() == 1
        assert seen == [1, 2, 3]
        for wait in (events.run, lambda: list(events), events.poll):
            later = threading.Timer(0.05, events.stop)
            later.start()
            wait()
            later.join()
            events.stop()
            events.stop()
            wait()
        # Nothing of it is left.
        assert events.poll(timeout=0.01) == 0
        maps.bpf.run("to_other", 4)
        assert events.poll() == 1


def test_closing_leaves_the_maps(maps: Maps) -> None:
    events = Events(maps.all())
    events.close()
    events.close()
    with pytest.raises(ValueError, match="closed"):
        events.poll(0.01)
    maps.send(1)
    with Events(maps.all()) as again:
        assert plain(again.consume()) == [("other", 1), ("perf", 1), ("ring", 1)]


CHILD = """
import signal
from lskel.runtime.events import Events
from lskel.runtime.maps.ringbuf import RingBufferMap
from lskel.runtime.maps.perfbuf import PerfBufferMap
from tests.runtime.maps.buffers import Event, buffers
with buffers() as bpf:
    maps = [bpf.map("ring", RingBufferMap, Event), bpf.map("perf", PerfBufferMap, Event)]
    with Events(maps) as events:
        signal.signal(signal.SIGTERM, lambda *_: events.stop())
        bpf.run("to_ring", 5)
        try:
            for buffer, event in events:
                print(buffer.name, event.number, flush=True)
            print("stopped")
        except KeyboardInterrupt:
            print("interrupted")
"""


@pytest.mark.parametrize(
    ("number", "last"), [(signal.SIGINT, "interrupted\n"), (signal.SIGTERM, "stopped\n")]
)
def test_signals(number: signal.Signals, last: str) -> None:
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ring 5\n"
        child.send_signal(number)
        assert child.stdout.read() == last
        assert child.wait(10) == 0
