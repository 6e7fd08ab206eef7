"""Buffers that are closed while other threads read them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from lskel.errors import Closed, LskelError
from lskel.runtime.events import Events
from lskel.runtime.maps.perfbuf import PerfBufferMap
from lskel.runtime.maps.ringbuf import RingBufferMap
from tests.runtime.maps.buffers import Event, buffers

pytestmark = pytest.mark.kernel
KINDS: dict[str, type[Any]] = {"ring": RingBufferMap, "perf": PerfBufferMap}
READERS: dict[str, Callable[[Any], object]] = {
    "events": lambda made: list(made.events(timeout=0.01)),
    "poll": lambda made: made.poll(lambda _: None, 0.001),
    "consume": lambda made: list(made.consume()),
    "raw": lambda made: list(made.reader().consume()),
    "ready": lambda made: made.reader().ready(),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_maps(kind: str, reader: str) -> None:
    read = READERS[reader]
    for _ in range(20):
        with buffers() as bpf:
            made = bpf.map(kind, KINDS[kind], Event)
            errors = closed_under_readers(bpf, f"to_{kind}", made.close, partial(read, made))
        assert len(errors) == 3 and all(isinstance(error, LskelError) for error in errors), errors


@pytest.mark.parametrize("kind", KINDS)
def test_events(kind: str) -> None:
    for _ in range(20):
        with buffers() as bpf:
            events = Events([bpf.map(kind, KINDS[kind], Event)])
            read = partial(lambda events: list(events.events(duration=0.01)), events)
            errors = closed_under_readers(bpf, f"to_{kind}", events.close, read)
        assert all(isinstance(error, LskelError) for error in errors), errors


def closed_under_readers(
    bpf: Any, program: str, close: Callable[[], None], read: Callable[[], object]
) -> list[Exception]:
    """What readers get that go on until they get something."""
    errors: list[Exception] = []
    begun = threading.Barrier(4)
    over = threading.Event()

    def reading() -> None:
        begun.wait()
        while not over.is_set():
            try:
                read()
            except Exception as error:  # noqa: BLE001 - which they are is what is asked
                errors.append(error)
                return

    threads = [threading.Thread(target=reading) for _ in range(3)]
    for thread in threads:
        thread.start()
    bpf.run(program, *range(50))
    begun.wait()
    time.sleep(0.002)
    close()
    until = time.monotonic() + 10
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    over.set()
    for thread in threads:
        thread.join()
    return errors


def test_afterwards() -> None:
    with buffers() as bpf:
        ring = bpf.map("ring", RingBufferMap, Event)
        reader = ring.reader()
        reader.close()
        for use in (reader.ready, reader.fileno, lambda: list(reader.consume())):
            with pytest.raises(Closed, match="is closed"):
                use()
