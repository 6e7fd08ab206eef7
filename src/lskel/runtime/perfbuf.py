"""Reading a BPF_MAP_TYPE_PERF_EVENT_ARRAY: one ring per CPU, filled by bpf_perf_event_output.

A ring is `struct perf_event_mmap_page` (uapi/linux/perf_event.h) in the first page, then the data;
a record may wrap around its end.
"""

from __future__ import annotations

import errno
import mmap
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic

from lskel.runtime import one_element, perf
from lskel.runtime.cpu_events import CpuEvents
from lskel.runtime.cpus import online_cpus
from lskel.runtime.fence import fence
from lskel.runtime.info import map_info
from lskel.runtime.objects import Fd, closed, duplicate, in_use
from lskel.runtime.syscall import KernelError, calling
from lskel.runtime.waiter import Waiter

_WHAT = "perf buffer"
# Indexes into the first page as 64-bit words.
_DATA_HEAD = 1024 // 8
_DATA_TAIL = 1032 // 8

# struct perf_event_header: type, misc, size of the whole record.
_HEADER = struct.Struct("=IHH")
_LOST = 2
_SAMPLE = 9
# After the header: the size of a sample's data; the id and number of lost samples.
_SAMPLE_SIZE = struct.Struct("=I")
_LOST_COUNT = struct.Struct("=QQ")
# Offset of the data.
_BASE = mmap.PAGESIZE
# The consumer position is published after this fraction of a ring.
_PARTS = 16


class PerfBuffer:
    """Reads the samples of all online CPUs; sets the map's entries for them.

    Also of CPUs that come online later, if the system allows netlink sockets: the kernel removes
    the event of a CPU that goes offline.

    `pages` is the size of each CPU's ring, a power of two. `lost` counts dropped samples by CPU, as
    far as `consume` has read. It duplicates `map_fd`, which the caller may close. A context
    manager.

    Another thread may close it: readers, also those that wait, then raise Closed.
    """

    def __init__(self, map_fd: int, pages: int = 8) -> None:
        if pages <= 0 or pages & (pages - 1):
            raise ValueError(f"{pages} pages are not a power of two")
        self.closed = False
        with ExitStack() as cleanup, calling("mmap of perf events"):
            self._map = cleanup.enter_context(duplicate(map_fd))
            self._entries = map_info(self._map.fileno()).max_entries
            self._pages = pages
            self._rings: list[_Ring] = []
            self._waiter: Waiter | None = Waiter()
            # Before the CPUs are listed, so that none is missed.
            self._cpus = _cpu_events()
            if self._cpus is not None:
                self._waiter.add(cleanup.enter_context(self._cpus))
            self._cleanup = cleanup
            for cpu in online_cpus():
                self._add(cpu)
            self._cleanup = cleanup.pop_all()
        # The next CPU: partial reads serve all CPUs in turn.
        self._turn = 0

    def _add(self, cpu: int) -> None:
        """Read the samples of a CPU that is online."""
        if cpu >= self._entries:
            return
        event = _open_event(cpu)
        if event is None:
            return
        ring = next((ring for ring in self._rings if ring.cpu == cpu), None)
        if ring is None:
            ring = _open_ring(self._cleanup, cpu, event, self._pages)
            self._rings.append(ring)
            key = cpu.to_bytes(4, sys.byteorder)
            self._cleanup.callback(one_element.delete, self._map.fileno(), key)
        else:
            perf.set_output(event.fileno(), ring.event.fileno())
            self.waiter().remove(ring.event)
            ring.replace(event)
        self.waiter().add(event)
        key, value = (n.to_bytes(4, sys.byteorder) for n in (cpu, event.fileno()))
        one_element.update(self._map.fileno(), key, value)

    def _follow_cpus(self) -> None:
        if self._cpus is not None:
            for cpu in self._cpus.came_online():
                self._add(cpu)

    @property
    def lost(self) -> dict[int, int]:
        """Dropped samples by CPU; the kernel reports them before the next sample that fits."""
        return {ring.cpu: ring.lost for ring in self._rings}

    def fileno(self) -> int:
        """For epoll and selectors: readable once per arrival, so consume everything; and once it is
        closed.
        """
        return self.waiter().fileno()

    def waiter(self) -> Waiter:
        """What waits for records, or until this is closed; it stays open as long as it is used."""
        waiter = self._waiter
        if waiter is None:
            raise closed(_WHAT)
        return waiter

    def ready(self) -> bool:
        """Whether there are records."""
        if self.closed:
            raise closed(_WHAT)
        with in_use(self, _WHAT):
            self._follow_cpus()
            return any(ring.ready() for ring in self._rings)

    def poll(self, timeout: float | None = None) -> bool:
        """Wait for records; False after `timeout` seconds (None: no timeout)."""
        # The kernel reports each arrival to a single poll, even if ignored.
        deadline = None if timeout is None else monotonic() + timeout
        while not self.ready():
            left = None if deadline is None else max(0, deadline - monotonic())
            if not self.waiter().wait(left):
                return False
        return True

    def consume(self) -> Iterator[tuple[int, bytes]]:
        """The available samples as (CPU, data), without waiting; ordered per CPU.

        A sample counts as read when it is returned; its space is released as in a `RingBuffer`. The
        kernel pads data to 4 bytes more than a multiple of 8, and does not report the padding.
        """
        with in_use(self, _WHAT):
            self._follow_cpus()
        for number in range(self._turn, self._turn + len(self._rings)):
            ring = self._rings[number % len(self._rings)]
            self._turn = (number + 1) % len(self._rings)
            cpu = ring.cpu
            with in_use(self, _WHAT):
                for data in ring.samples():
                    yield cpu, data

    def close(self) -> None:
        """Delete the map's entries and unmap the rings; a second call does nothing."""
        self.closed = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.end()
        self._cleanup.close()

    def __enter__(self) -> PerfBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ring:
    """The records of one CPU, which outlive the event that wrote them."""

    def __init__(self, cpu: int, event: Fd, memory: mmap.mmap, words: memoryview) -> None:
        self.cpu = cpu
        self.event = event
        self.lost = 0
        self._memory = memory
        self._words = words
        self._size = len(memory) - mmap.PAGESIZE
        # End of what was returned: published later, shared by iterators.
        self._position: int = words[_DATA_TAIL]

    def replace(self, event: Fd) -> None:
        """Take ownership of the event that writes to the ring instead."""
        self.event.close()
        self.event = event

    def close(self) -> None:
        """Close the event."""
        self.event.close()

    def ready(self) -> bool:
        """Whether there are records."""
        return bool(self._words[_DATA_HEAD] != self._position)

    def samples(self) -> Iterator[bytes]:
        """The data of the available samples; each counts as read when it is returned."""
        memory, mask = self._memory, self._size - 1
        position = published = self._position
        head: int = self._words[_DATA_HEAD]
        fence()
        try:
            while position < head:
                # Records are multiples of 8 bytes, so neither of these wraps.
                kind, _, size = _HEADER.unpack_from(memory, _BASE + (position & mask))
                after = position + size
                if kind == _SAMPLE:
                    start = position + _HEADER.size
                    (length,) = _SAMPLE_SIZE.unpack_from(memory, _BASE + (start & mask))
                    data = self._copy(start + _SAMPLE_SIZE.size, length)
                    # Nothing may come between these: an exception would lose the sample.
                    self._position = after
                    yield data
                else:
                    if kind == _LOST:
                        count = self._copy(position + _HEADER.size, _LOST_COUNT.size)
                        self.lost += _LOST_COUNT.unpack(count)[1]
                    self._position = after
                position = self._position
                if position - published >= self._size // _PARTS:
                    self._publish()
                    published = position
        finally:
            if not self._memory.closed:
                self._publish()

    def _publish(self) -> None:
        # After this the kernel may overwrite what we have read.
        fence()
        self._words[_DATA_TAIL] = self._position

    def _copy(self, position: int, size: int) -> bytes:
        start = _BASE + (position & self._size - 1)
        end = start + size
        if end <= len(self._memory):
            return self._memory[start:end]
        return self._memory[start:] + self._memory[_BASE : end - self._size]


def _cpu_events() -> CpuEvents | None:
    """None if the system refuses netlink sockets, as sandboxes may."""
    try:
        return CpuEvents()
    except KernelError:
        return None


def _open_event(cpu: int) -> Fd | None:
    """None if the CPU has gone offline meanwhile."""
    try:
        return perf.open_event(perf.TYPE_SOFTWARE, perf.COUNT_SW_BPF_OUTPUT, cpu, raw_samples=True)
    except KernelError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def _open_ring(cleanup: ExitStack, cpu: int, event: Fd, pages: int) -> _Ring:
    """Map the ring of an event; takes ownership of it."""
    with ExitStack() as undo:
        undo.callback(event.close)
        size = (1 + pages) * mmap.PAGESIZE
        memory = undo.enter_context(mmap.mmap(event.fileno(), size, mmap.MAP_SHARED))
        words = undo.enter_context(memoryview(memory).cast("Q"))
        ring = _Ring(cpu, event, memory, words)
        undo.callback(ring.close)
        cleanup.push(undo.pop_all())
    return ring
