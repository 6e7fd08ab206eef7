"""Read events from a ring buffer, by lskel and by BCC's classes."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lskel
from benchmarks.measure import alternate, figure, ratio, rounded, seconds
from benchmarks.report import table
from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import TEST
from lskel.runtime import one_element
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.ringbuf import RingBufferMap
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import address_of, bpf, host_attr
from lskel.runtime.values import Struct, layout, text, u32, u64
from tests.build.clang import compile_bpf

# The ring buffer has room for these events, so none is lost.
FILLED = 50_000
# Events that are sent while the reader runs.
STREAMED = 500_000

SOURCE = """
struct event { __u64 number; __u32 pid, cpu; char comm[16]; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4 << 20); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int);
         __type(value, __u64); } lost SEC(".maps");
SEC("tc") int fill(struct __sk_buff *skb)
{
    struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    int key = 0;
    __u64 *missed;
    if (!event) {
        missed = bpf_map_lookup_elem(&lost, &key);
        if (missed)
            ++*missed;
        return 0;
    }
    event->number = 1;
    event->pid = 2;
    event->cpu = bpf_get_smp_processor_id();
    __builtin_memcpy(event->comm, "a command's name", 16);
    bpf_ringbuf_submit(event, 0);
    return 0;
}
"""
_BCC = "/usr/lib/python3/dist-packages"


@layout(32, ("number", u64, 0), ("pid", u32, 8), ("cpu", u32, 12), ("comm", text(16), 16))
class Event(Struct):
    """The program's `struct event`, as in a skeleton."""

    number: int
    pid: int
    cpu: int
    comm: bytes


class BccEvent(ctypes.Structure):
    """The same, as BCC derives it from the C source."""

    _fields_ = (
        ("number", ctypes.c_ulonglong),
        ("pid", ctypes.c_uint),
        ("cpu", ctypes.c_uint),
        ("comm", ctypes.c_char * 16),
    )


class Source:
    """A ring buffer and its program, loaded for one reader."""

    def __init__(self, cleanup: ExitStack) -> None:
        bpf = cleanup.enter_context(lskel.load(compile_bpf(SOURCE), name="events"))
        self.ring = bpf.maps.events.fileno()
        self.size = bpf.maps.events.info().max_entries
        self._lost = bpf.maps.lost.fileno()
        self._program = bpf.progs.fill.fileno()

    def fill(self, count: int) -> None:
        """Send `count` events by one system call, without the GIL."""
        packet = bytes(64)
        attr = host_attr(
            TEST,
            "repeat",
            prog_fd=self._program,
            data_in=address_of(packet),
            data_size_in=len(packet),
            repeat=count,
        )
        bpf(Cmd.PROG_RUN, attr)

    def lost(self) -> int:
        """The number of events lost so far."""
        value = one_element.lookup(self._lost, bytes(4), 8)
        assert value is not None
        return int.from_bytes(value, sys.byteorder)


class Reader(NamedTuple):
    """A way to read: `drain` reads available events, `wait` waits first; both return the count."""

    source: Source
    drain: Callable[[], int]
    wait: Callable[[], int]


class Streamed(NamedTuple):
    """The rate of events read while events were sent, and the share of lost events."""

    rate: float
    lost: float


def events(_scratch: Path, rounds: int) -> Iterator[str]:
    """How fast events are read, and how many are lost if they arrive faster."""
    with ExitStack() as cleanup:
        readers = _readers(cleanup)
        drained = alternate({way: partial(_drain, r) for way, r in readers.items()}, rounds)
        streamed = alternate({way: partial(_stream, r) for way, r in readers.items()}, rounds)
    yield "## Events"
    yield ""
    yield (
        "Events of 32 bytes from a ring buffer of 4 MB; *typed* reads two fields of each. "
        f"*Drained*: {FILLED} events that are in the buffer. *Streamed*: a program sends "
        f"{STREAMED} events as fast as it can on another CPU; events that the reader is too slow "
        "for are lost. *BCC* is its Python class RingBuf of Debian's package, with a callback for "
        f"each event, in the same process. {rounds} rounds."
    )
    yield ""
    base = "BCC typed" if "BCC typed" in readers else "lskel typed"
    rows = []
    for way in readers:
        each = figure([taken / FILLED * 1e6 for taken in drained[way]])
        came, lost = (figure(values) for values in zip(*streamed[way], strict=True))
        rows.append(
            (
                way,
                f"{ratio(drained[base], drained[way]):.2f}",
                f"{1 / each.median:.2f} million/s",
                f"{rounded(each.median)} µs ({rounded(each.low)} to {rounded(each.high)})",
                f"{came.median / 1e6:.2f} million/s",
                f"{lost.median:.0%} ({lost.low:.0%} to {lost.high:.0%})",
            )
        )
    heads = ("reader", f"speed to {base}", "drained", "an event", "streamed", "lost")
    yield from table(heads, rows)


def _drain(reader: Reader) -> float:
    reader.source.fill(FILLED)
    counts: list[int] = []
    taken = seconds(lambda: counts.append(reader.drain()))
    assert counts == [FILLED], counts
    return taken


def _stream(reader: Reader) -> Streamed:
    before = reader.source.lost()
    sender = threading.Thread(target=reader.source.fill, args=(STREAMED,))
    start = time.perf_counter()
    sender.start()
    count = 0
    while sender.is_alive():
        count += reader.wait()
    count += reader.drain()
    taken = time.perf_counter() - start
    lost = reader.source.lost() - before
    assert count + lost == STREAMED, (count, lost)
    return Streamed(count / taken, lost / STREAMED)


# -- lskel --------------------------------------------------------------------------------------


def _readers(cleanup: ExitStack) -> Mapping[str, Reader]:
    readers = {
        "lskel bytes": _by_lskel(Source(cleanup), cleanup, bytes, _lengths),
        "lskel typed": _by_lskel(Source(cleanup), cleanup, Event, _fields),
    }
    if Path(_BCC, "bcc").is_dir():
        readers["BCC raw"] = _by_bcc(Source(cleanup), cleanup, typed=False)
        readers["BCC typed"] = _by_bcc(Source(cleanup), cleanup, typed=True)
    return readers


def _by_lskel(
    source: Source, cleanup: ExitStack, event: type[Any], count: Callable[[Iterator[Any]], int]
) -> Reader:
    ring: RingBufferMap[Any] = RingBufferMap(MapDefinition("events", 27, 0, 0, source.size), event)
    ring.bind(Fd(os.dup(source.ring)))
    cleanup.callback(ring.close)

    def wait() -> int:
        ring.reader().poll(0.01)
        return count(ring.consume())

    return Reader(source, lambda: count(ring.consume()), wait)


def _lengths(found: Iterator[bytes]) -> int:
    count = 0
    for event in found:
        if len(event) == 32:
            count += 1
    return count


def _fields(found: Iterator[Event]) -> int:
    count = 0
    for event in found:
        if event.number == 1 and event.pid == 2:
            count += 1
    return count


# -- BCC ----------------------------------------------------------------------------------------


def _by_bcc(source: Source, cleanup: ExitStack, *, typed: bool) -> Reader:
    """BCC's classes without its compiler, which they do not need for reading."""
    sys.path.append(_BCC)
    try:
        bcc = importlib.import_module("bcc")
    finally:
        sys.path.remove(_BCC)
    owner = bcc.BPF.__new__(bcc.BPF)
    owner._ringbuf_manager = None
    ring = bcc.table.RingBuf.__new__(bcc.table.RingBuf)
    ring.bpf, ring.map_fd, ring._cbs, ring._event_class = owner, source.ring, {}, BccEvent
    count = 0

    def on_event(_context: object, data: int, _size: int) -> None:
        nonlocal count
        event = ring.event(data)
        if event.number == 1 and event.pid == 2:
            count += 1

    def on_bytes(_context: object, data: int, size: int) -> None:
        nonlocal count
        if len(ctypes.string_at(data, size)) == 32:
            count += 1

    def counted(read: Callable[[], object]) -> int:
        before = count
        read()
        return count - before

    ring.open_ring_buffer(on_event if typed else on_bytes)

    def close() -> None:
        # `ring` holds the only reference to the callback that the library calls.
        bcc.libbcc.lib.bpf_free_ringbuf(ring.bpf._ringbuf_manager)

    cleanup.callback(close)
    return Reader(
        source,
        partial(counted, owner.ring_buffer_consume),
        partial(counted, partial(owner.ring_buffer_poll, 10)),
    )
