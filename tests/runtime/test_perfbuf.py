"""Perf buffers: samples of every CPU, and counts of those that were lost."""

from __future__ import annotations

import errno
import mmap
import os
import select
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

import pytest

from lskel.bpf.enums import MapType, ProgType
from lskel.runtime import perf, perfbuf
from lskel.runtime.cpus import online_cpus, possible_cpus
from lskel.runtime.objects import Fd
from lskel.runtime.perfbuf import PerfBuffer
from lskel.runtime.syscall import KernelError
from tests.runtime.programs import create_map, load_program, outputs_to_perf, run_program

PAGE = mmap.PAGESIZE


def u64(number: int) -> bytes:
    return number.to_bytes(8, sys.byteorder)


@pytest.fixture
def events() -> Iterator[Fd]:
    with create_map(MapType.PERF_EVENT_ARRAY, 4, 4, len(possible_cpus())) as fd:
        yield fd


@pytest.mark.kernel
@pytest.mark.parametrize("size", [4, 12, 20, 100])
def test_samples_of_every_cpu(events: Fd, size: int) -> None:
    """Sizes that need no padding: four more than a multiple of eight."""
    with (
        load_program(ProgType.RAW_TRACEPOINT, outputs_to_perf(events.fileno(), size)) as prog,
        PerfBuffer(events.fileno(), pages=1) as buffer,
    ):
        assert list(buffer.consume()) == []
        for start in range(0, 600, 20):
            numbers = range(start, start + 20)
            for number in numbers:
                for cpu in online_cpus():
                    assert run_program(prog, u64(number), cpu=cpu) == 0
            samples = list(buffer.consume())
            for cpu in online_cpus():
                mine = [data for of_cpu, data in samples if of_cpu == cpu]
                assert mine == [(u64(number) * size)[:size] for number in numbers]
        assert set(buffer.lost.values()) == {0}


@pytest.mark.kernel
def test_other_sizes_are_padded(events: Fd) -> None:
    with (
        load_program(ProgType.RAW_TRACEPOINT, outputs_to_perf(events.fileno(), 8)) as prog,
        PerfBuffer(events.fileno()) as buffer,
    ):
        run_program(prog, u64(7))
        ((_, data),) = buffer.consume()
    assert len(data) == 12
    assert data[:8] == u64(7)


@pytest.mark.kernel
def test_lost_samples_are_counted(events: Fd) -> None:
    cpu = online_cpus()[-1]
    sent = 200
    with (
        load_program(ProgType.RAW_TRACEPOINT, outputs_to_perf(events.fileno(), 100)) as prog,
        PerfBuffer(events.fileno(), pages=1) as buffer,
    ):
        for number in range(sent):
            run_program(prog, u64(number), cpu=cpu)
        received = len(list(buffer.consume()))
        assert 0 < received < sent
        # The kernel tells of it in front of the next sample that fits.
        run_program(prog, u64(sent), cpu=cpu)
        assert [data[:8] for _, data in buffer.consume()] == [u64(sent)]
        assert buffer.lost == dict.fromkeys(online_cpus(), 0) | {cpu: sent - received}


@pytest.mark.kernel
def test_waiting(events: Fd) -> None:
    with (
        load_program(ProgType.RAW_TRACEPOINT, outputs_to_perf(events.fileno(), 12)) as prog,
        PerfBuffer(events.fileno()) as buffer,
        select.epoll() as epoll,
    ):
        epoll.register(buffer, select.EPOLLIN)
        assert not buffer.poll(0)
        assert not buffer.poll(0.01)
        later = threading.Timer(0.1, run_program, (prog, u64(7)))
        later.start()
        assert buffer.poll()
        later.join()
        assert buffer.poll(0)
        assert [data[:8] for _, data in buffer.consume()] == [u64(7)]
        assert not buffer.poll(0)

        run_program(prog, u64(8))
        assert epoll.poll(1) == [(buffer.fileno(), select.EPOLLIN)]
        assert buffer.poll(0)
        assert [data[:8] for _, data in buffer.consume()] == [u64(8)]
        assert not buffer.poll(0)


@pytest.mark.kernel
def test_the_map_is_left_empty(events: Fd) -> None:
    buffer = PerfBuffer(events.fileno())
    with load_program(ProgType.RAW_TRACEPOINT, outputs_to_perf(events.fileno(), 12)) as prog:
        assert run_program(prog, u64(1)) == 0
        buffer.close()
        buffer.close()
        assert run_program(prog, u64(1)) != 0  # -ENOENT: no event


@pytest.mark.kernel
def test_a_map_for_fewer_cpus() -> None:
    with (
        create_map(MapType.PERF_EVENT_ARRAY, 4, 4, 1) as fd,
        PerfBuffer(fd.fileno()) as buffer,
    ):
        assert set(buffer.lost) == {0}


@pytest.mark.kernel
def test_a_cpu_that_goes_offline_meanwhile(events: Fd, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_event(kind: int, config: int, cpu: int, *, raw_samples: bool) -> Fd:
        if cpu != 0:
            raise KernelError("perf_event_open", number)
        return real(kind, config, cpu, raw_samples=raw_samples)

    real = perf.open_event
    monkeypatch.setattr(perf, "open_event", open_event)
    monkeypatch.setattr(perfbuf, "online_cpus", lambda: (0, 4000))
    monkeypatch.setattr(perfbuf, "map_info", lambda _: type("Info", (), {"max_entries": 5000}))
    number = errno.ENODEV
    with PerfBuffer(events.fileno()) as buffer:
        assert set(buffer.lost) == {0}
    number = errno.EMFILE
    with pytest.raises(KernelError, match="EMFILE"):
        PerfBuffer(events.fileno())


@pytest.mark.kernel
def test_wrong_sizes_and_maps_are_refused(events: Fd) -> None:
    for pages in (0, 3, -1):
        with pytest.raises(ValueError, match="power of two"):
            PerfBuffer(events.fileno(), pages)
    with create_map(MapType.HASH, 4, 8, 10) as other, pytest.raises(OSError):
        PerfBuffer(other.fileno(), 1 << 30)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no memfd")
def test_records_split_at_the_end_of_the_ring() -> None:
    """As kernel/events/ring_buffer.c writes them, at every offset."""
    with ExitStack() as cleanup:
        fd = cleanup.enter_context(Fd(os.memfd_create("ring"))).fileno()
        os.ftruncate(fd, 2 * PAGE)
        memory = cleanup.enter_context(mmap.mmap(fd, 2 * PAGE))
        words = cleanup.enter_context(memoryview(memory).cast("Q"))
        ring = perfbuf._Ring(0, Fd(-1), memory, words)
        head = 0
        lost = 0
        for number in range(1000):
            data = bytes([number % 256]) * (4 + 8 * (number % 30))
            sample = struct.pack("=IHHI", 9, 0, 12 + len(data), len(data)) + data
            other = struct.pack("=IHHQQ", 2 + number % 2, 0, 24, 77, number)
            for at, byte in enumerate(other + sample):
                memory[PAGE + (head + at) % PAGE] = byte
            head += len(other + sample)
            words[128] = head
            lost += number * (number % 2 == 0)
            assert ring.ready()
            assert list(ring.samples()) == [data]
            assert words[129] == head
            assert ring.lost == lost
        assert head > 10 * PAGE


@pytest.mark.kernel
def test_what_was_not_handed_out_stays(events: Fd) -> None:
    cpu = online_cpus()[-1]
    with load_program(ProgType.RAW_TRACEPOINT, outputs_to_perf(events.fileno(), 12)) as prog:
        with PerfBuffer(events.fileno(), pages=1) as buffer:
            for number in range(10):
                run_program(prog, u64(number), cpu=cpu)
            assert [data[:8] for _, data in islice(buffer.consume(), 4)] == list(map(u64, range(4)))
            one, other = buffer.consume(), buffer.consume()
            turns = [next(one), next(other), next(one), *other, *one]
            assert [data[:8] for _, data in turns] == list(map(u64, range(4, 10)))
            run_program(prog, u64(10), cpu=cpu)
            late = buffer.consume()
            assert next(late)[1][:8] == u64(10)
        del late  # the memory has gone; nothing happens


@pytest.mark.kernel
def test_cpus_take_turns(events: Fd) -> None:
    """Who stops early every time still hears of every CPU."""
    with (
        load_program(ProgType.RAW_TRACEPOINT, outputs_to_perf(events.fileno(), 12)) as prog,
        PerfBuffer(events.fileno()) as buffer,
    ):
        for cpu in online_cpus():
            for number in range(5):
                run_program(prog, u64(number), cpu=cpu)
        firsts = [next(buffer.consume())[0] for _ in online_cpus()]
        assert sorted(firsts) == sorted(online_cpus())
