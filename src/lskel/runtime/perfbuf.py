"""Reading a BPF_MAP_TYPE_PERF_EVENT_ARRAY: one ring for each CPU, filled by bpf_perf_event_output.

The layout of a ring is `struct perf_event_mmap_page` (uapi/linux/perf_event.h) in the first page,
then the data, whose records may be split at its end.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic

from lskel.runtime import elements, perf
from lskel.runtime.cpus import online_cpus
from lskel.runtime.fence import fence
from lskel.runtime.objects import Fd, map_info
from lskel.runtime.syscall import KernelError

# Indexes into the first page as 64-bit words.
_DATA_HEAD = 1024 // 8
_DATA_TAIL = 1032 // 8

# struct perf_event_header: type, misc, size of the whole record.
_HEADER = struct.Struct("=IHH")
_LOST = 2
_SAMPLE = 9
# What follows the header: the size of a sample's data; the id and number of lost samples.
_SAMPLE_SIZE = struct.Struct("=I")
_LOST_COUNT = struct.Struct("=QQ")


class PerfBuffer:
    """Reads the samples of all online CPUs; takes over the map's entries for them.

    `pages` is the size of each CPU's ring, a power of two. `lost` counts by CPU the samples that
    did not fit, as far as `consume` has come. Keeps an fd of its own: the caller may close
    `map_fd`. A context manager.
    """

    def __init__(self, map_fd: int, pages: int = 8) -> None:
        if pages <= 0 or pages & (pages - 1):
            raise ValueError(f"{pages} pages are not a power of two")
        with ExitStack() as cleanup:
            fd = cleanup.enter_context(Fd(os.dup(map_fd))).fileno()
            self._epoll = cleanup.enter_context(select.epoll())
            entries = map_info(fd).max_entries
            self._rings = [
                ring
                for cpu in online_cpus()
                if cpu < entries and (ring := _open_ring(cleanup, cpu, pages))
            ]
            for ring in self._rings:
                key = ring.cpu.to_bytes(4, sys.byteorder)
                elements.update(fd, key, ring.event.to_bytes(4, sys.byteorder))
                cleanup.callback(elements.delete, fd, key)
                self._epoll.register(ring.event, select.EPOLLIN)
            self._cleanup = cleanup.pop_all()
        self.lost = dict.fromkeys((ring.cpu for ring in self._rings), 0)

    def fileno(self) -> int:
        """For epoll and selectors: readable once for what has arrived, so consume all of it."""
        return self._epoll.fileno()

    def poll(self, timeout: float | None = None) -> bool:
        """Wait until there is something to consume; False after `timeout` seconds (None: never)."""
        # The kernel tells each arrival to one poll only, be it answered or not.
        deadline = None if timeout is None else monotonic() + timeout
        while not any(ring.ready() for ring in self._rings):
            if not self._epoll.poll(None if deadline is None else max(0, deadline - monotonic())):
                return False
        return True

    def consume(self) -> Iterator[tuple[int, bytes]]:
        """The samples that are there, (CPU, data), without waiting; in order for each CPU.

        A sample counts as read when it is handed out. The kernel pads data to 4 bytes more than
        a multiple of 8, and does not say how much of it is padding.
        """
        for ring in self._rings:
            for kind, body in ring.drain():
                if kind == _SAMPLE:
                    (size,) = _SAMPLE_SIZE.unpack_from(body)
                    yield ring.cpu, body[_SAMPLE_SIZE.size : _SAMPLE_SIZE.size + size]
                elif kind == _LOST:
                    self.lost[ring.cpu] += _LOST_COUNT.unpack_from(body)[1]

    def close(self) -> None:
        """Take the entries out of the map and unmap the rings; does nothing the second time."""
        self._cleanup.close()

    def __enter__(self) -> PerfBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ring:
    """The records of one CPU."""

    def __init__(self, cpu: int, event: int, memory: mmap.mmap, words: memoryview) -> None:
        self.cpu = cpu
        self.event = event
        self._memory = memory
        self._words = words
        self._size = len(memory) - mmap.PAGESIZE

    def ready(self) -> bool:
        """Whether there are records."""
        return bool(self._words[_DATA_HEAD] != self._words[_DATA_TAIL])

    def drain(self) -> Iterator[tuple[int, bytes]]:
        """(type, what follows the header) of each record; it counts as read when handed out."""
        tail: int = self._words[_DATA_TAIL]
        head: int = self._words[_DATA_HEAD]
        fence()
        while tail != head:
            # Records are multiples of 8 bytes, so a header is never split.
            kind, _, size = _HEADER.unpack(self._copy(tail, _HEADER.size))
            body = self._copy(tail + _HEADER.size, size - _HEADER.size)
            tail += size
            # The kernel may overwrite the record once it sees this.
            fence()
            self._words[_DATA_TAIL] = tail
            yield kind, body

    def _copy(self, position: int, size: int) -> bytes:
        start = position % self._size
        straight = min(size, self._size - start)
        base = mmap.PAGESIZE
        return (
            self._memory[base + start : base + start + straight]
            + self._memory[base : base + size - straight]
        )


def _open_ring(cleanup: ExitStack, cpu: int, pages: int) -> _Ring | None:
    """None where the CPU has gone offline meanwhile."""
    try:
        event = perf.open_event(perf.TYPE_SOFTWARE, perf.COUNT_SW_BPF_OUTPUT, cpu, raw_samples=True)
    except KernelError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    fd = cleanup.enter_context(event).fileno()
    memory = cleanup.enter_context(mmap.mmap(fd, (1 + pages) * mmap.PAGESIZE, mmap.MAP_SHARED))
    words = cleanup.enter_context(memoryview(memory).cast("Q"))
    return _Ring(cpu, fd, memory, words)
