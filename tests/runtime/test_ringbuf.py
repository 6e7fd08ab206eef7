"""Ring buffers: as a kernel fills them, and as one could."""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import struct
import sys
import threading
from collections.abc import Iterator
from unittest import mock

import pytest

from lskel.bpf.enums import MapType, ProgType
from lskel.errors import Closed
from lskel.runtime import fence, ringbuf
from lskel.runtime.objects import Fd
from lskel.runtime.ringbuf import RingBuffer
from lskel.runtime.waiter import Waiter
from tests.runtime.programs import (
    create_map,
    discards_in_ring,
    load_program,
    outputs_to_ring,
    run_program,
)

PAGE = mmap.PAGESIZE
BUSY, DISCARD = 1 << 31, 1 << 30
WORD = struct.Struct("@L")


def u64(number: int) -> bytes:
    return number.to_bytes(8, sys.byteorder)


@pytest.fixture(autouse=True, params=["fence_by_locks", "no_fence"])
def _fence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both must work on every machine; only the order of accesses may differ."""
    monkeypatch.setattr(ringbuf, "fence", getattr(fence, request.param))


@pytest.fixture
def ring_map() -> Iterator[Fd]:
    with create_map(MapType.RINGBUF, 0, 0, PAGE) as fd:
        yield fd


@pytest.mark.kernel
@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 100, 500])
def test_records_come_in_order_round_and_round(ring_map: Fd, size: int) -> None:
    code = outputs_to_ring(ring_map.fileno(), size)
    per_round = PAGE // (8 + (size + 7 & ~7)) // 2
    with (
        load_program(ProgType.RAW_TRACEPOINT, code) as prog,
        RingBuffer(ring_map.fileno(), PAGE) as ring,
    ):
        assert list(ring.consume()) == []
        for start in range(0, 11 * per_round, per_round):
            numbers = range(start, start + per_round)
            for number in numbers:
                assert run_program(prog, u64(number)) == 0
            assert list(ring.consume()) == [(u64(number) * size)[:size] for number in numbers]


@pytest.mark.kernel
def test_a_full_ring_has_room_again_for_what_was_handed_out(ring_map: Fd) -> None:
    code = outputs_to_ring(ring_map.fileno(), 500)
    with (
        load_program(ProgType.RAW_TRACEPOINT, code) as prog,
        RingBuffer(ring_map.fileno(), PAGE) as ring,
    ):
        sent = 0
        while run_program(prog, u64(sent)) == 0:
            sent += 1
        assert sent == (PAGE - 1) // 512
        records = ring.consume()
        assert next(records)[:8] == u64(0)
        del records
        assert run_program(prog, u64(sent)) == 0
        assert [record[:8] for record in ring.consume()] == [u64(n) for n in range(1, sent + 1)]


@pytest.mark.kernel
def test_discarded_records_are_passed_over(ring_map: Fd) -> None:
    fd = ring_map.fileno()
    with (
        load_program(ProgType.RAW_TRACEPOINT, outputs_to_ring(fd, 8)) as output,
        load_program(ProgType.RAW_TRACEPOINT, discards_in_ring(fd, 20)) as discard,
        RingBuffer(fd, PAGE) as ring,
    ):
        for prog in (discard, output, discard, discard, output, discard):
            run_program(prog, u64(5))
        assert list(ring.consume()) == [u64(5), u64(5)]
        assert list(ring.consume()) == []
        assert not ring.poll(0)


@pytest.mark.kernel
def test_waiting(ring_map: Fd) -> None:
    code = outputs_to_ring(ring_map.fileno(), 8)
    with (
        load_program(ProgType.RAW_TRACEPOINT, code) as prog,
        RingBuffer(ring_map.fileno(), PAGE) as ring,
        select.epoll() as epoll,
    ):
        epoll.register(ring, select.EPOLLIN)
        assert not ring.poll(0)
        assert not ring.poll(0.01)
        assert epoll.poll(0) == []
        later = threading.Timer(0.1, run_program, (prog, u64(7)))
        later.start()
        assert ring.poll()
        later.join()
        assert epoll.poll(0) == [(ring.fileno(), select.EPOLLIN)]
        assert list(ring.consume()) == [u64(7)]
        assert not ring.poll(0)


@pytest.mark.kernel
def test_every_record_wakes_a_reader_that_sleeps(ring_map: Fd) -> None:
    total = 2000
    code = outputs_to_ring(ring_map.fileno(), 8)
    with (
        load_program(ProgType.RAW_TRACEPOINT, code) as prog,
        RingBuffer(ring_map.fileno(), PAGE) as ring,
    ):

        def send() -> None:
            for number in range(total):
                while run_program(prog, u64(number)):
                    pass  # full

        sender = threading.Thread(target=send)
        sender.start()
        received: list[bytes] = []
        while len(received) < total:
            assert ring.poll(10), f"nothing came after {len(received)} records"
            received.extend(ring.consume())
        sender.join()
    assert received == [u64(number) for number in range(total)]


@pytest.mark.kernel
def test_the_callers_fd_may_go(ring_map: Fd) -> None:
    code = outputs_to_ring(ring_map.fileno(), 8)
    with (
        load_program(ProgType.RAW_TRACEPOINT, code) as prog,
        RingBuffer(ring_map.fileno(), PAGE) as ring,
    ):
        ring_map.close()
        run_program(prog, u64(1))
        assert ring.poll(0)
        assert list(ring.consume()) == [u64(1)]


@pytest.mark.kernel
def test_a_wrong_size_or_map_is_refused(ring_map: Fd) -> None:
    for wrong in (0, PAGE - 1, PAGE * 3, PAGE // 2):
        with pytest.raises(ValueError, match="power of two"):
            RingBuffer(ring_map.fileno(), wrong)
    with pytest.raises(OSError):
        RingBuffer(ring_map.fileno(), 16 * PAGE)
    with create_map(MapType.HASH, 4, 4, 1) as fd, pytest.raises(OSError):
        RingBuffer(fd.fileno(), PAGE)


class KernelSide:
    """A ring in ordinary memory, filled as kernel/bpf/ringbuf.c does, with every state it has."""

    def __init__(self, size: int, position: int = 0) -> None:
        self.size = size
        self.fd = Fd(os.memfd_create("ring"))
        self.readable = Fd(os.eventfd(1))
        os.ftruncate(self.fd.fileno(), 2 * PAGE + 2 * size)
        self.memory = mmap.mmap(self.fd.fileno(), 2 * PAGE + 2 * size)
        self.position = position
        WORD.pack_into(self.memory, 0, position)
        WORD.pack_into(self.memory, PAGE, position)

    def reader(self) -> RingBuffer:
        """The consumer. It is always readable, as with a record that is reserved."""
        # epoll refuses files.
        with mock.patch.object(ringbuf, "Waiter", lambda _: Waiter(self.readable)):
            return RingBuffer(self.fd.fileno(), self.size)

    def put(self, data: bytes, flags: int = 0) -> int:
        """Reserve and fill a record; its position."""
        position = self.position
        record = struct.pack("@II", len(data) | flags, 0) + data
        for at, byte in enumerate(record):
            self._poke(position + at, byte)
        self.position = position + len(record) + 7 & ~7 & sys.maxsize * 2 + 1
        WORD.pack_into(self.memory, PAGE, self.position)
        return position

    def submit(self, position: int, length: int) -> None:
        """Clear the flag of a busy record."""
        for at, byte in enumerate(struct.pack("@I", length)):
            self._poke(position + at, byte)

    def consumed(self) -> int:
        """The consumer's position."""
        return int(WORD.unpack_from(self.memory, 0)[0])

    def _poke(self, position: int, byte: int) -> None:
        # The kernel maps the data twice, a file does not.
        at = 2 * PAGE + position % self.size
        self.memory[at] = self.memory[at + self.size] = byte

    def __enter__(self) -> KernelSide:
        return self

    def __exit__(self, *_: object) -> None:
        self.memory.close()
        self.readable.close()
        self.fd.close()


linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no memfd")


@linux
@pytest.mark.parametrize("start", [0, PAGE - 24, (1 << 8 * ctypes.sizeof(ctypes.c_ulong)) - 40])
def test_states_of_records(start: int) -> None:
    with KernelSide(PAGE, start) as kernel, kernel.reader() as ring:
        kernel.put(b"one")
        kernel.put(b"not wanted", DISCARD)
        kernel.put(b"")
        busy = kernel.put(b"reserved", BUSY)
        kernel.put(b"after")
        assert list(ring.consume()) == [b"one", b""]
        assert kernel.consumed() == busy
        assert list(ring.consume()) == []
        kernel.submit(busy, len(b"reserved"))
        assert list(ring.consume()) == [b"reserved", b"after"]
        assert kernel.consumed() == kernel.position


@linux
def test_a_record_counts_as_read_when_it_is_handed_out() -> None:
    with KernelSide(PAGE) as kernel, kernel.reader() as ring:
        kernel.put(b"first")
        second = kernel.put(b"second")
        assert next(ring.consume()) == b"first"
        assert kernel.consumed() == second
        assert list(ring.consume()) == [b"second"]


@linux
@pytest.mark.parametrize("start", [0, (1 << 8 * ctypes.sizeof(ctypes.c_ulong)) - 600])
def test_the_kernel_gets_room_back_soon(start: int) -> None:
    """A sixteenth of the ring at once, though the iterator goes on."""
    size, part = 2 * PAGE, 2 * PAGE // 16
    with KernelSide(size, start) as kernel, kernel.reader() as ring:
        for number in range(60):
            kernel.put(bytes([number]) * 100)
        held = []
        for read, _ in enumerate(records := ring.consume(), 1):
            held.append(start + 112 * read - kernel.consumed() & sys.maxsize * 2 + 1)
        assert max(held) < part + 112
        assert kernel.consumed() == kernel.position
        del records


@linux
def test_iterators_share_what_is_there() -> None:
    with KernelSide(PAGE) as kernel, kernel.reader() as ring:
        for number in range(4):
            kernel.put(bytes([number]))
        one, other = ring.consume(), ring.consume()
        assert [next(one), next(other), next(one)] == [b"\0", b"\1", b"\2"]
        kernel.put(b"\4")
        # The end that `one` saw is passed by now.
        assert list(other) == [b"\3", b"\4"]
        assert list(one) == []
        assert kernel.consumed() == kernel.position
        assert not ring.ready()


@linux
def test_closing_gives_room_back() -> None:
    with KernelSide(PAGE) as kernel:
        with kernel.reader() as ring:
            kernel.put(b"read")
            unread = kernel.put(b"unread")
            records = ring.consume()
            assert next(records) == b"read"
        assert kernel.consumed() == unread
        del records  # the memory has gone; nothing happens


@linux
def test_a_ring_of_many_pages() -> None:
    size = 16 * PAGE
    with KernelSide(size) as kernel, kernel.reader() as ring:
        for number in range(100):
            data = bytes([number]) * (number * 37)
            kernel.put(data)
            assert list(ring.consume()) == [data]


@linux
def test_closing_twice() -> None:
    with KernelSide(PAGE) as kernel:
        ring = kernel.reader()
        kernel.put(b"unread")
        ring.close()
        ring.close()
        with pytest.raises(Closed, match="the ring buffer is closed"):
            list(ring.consume())
        with pytest.raises(Closed, match="closed"):
            ring.poll(0)
