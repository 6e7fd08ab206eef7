"""Reading a BPF_MAP_TYPE_RINGBUF; the kernel side is kernel/bpf/ringbuf.c.

The map's fd is mapped in two parts: one page with the consumer position, which we write; then one
page with the producer position, followed by the data mapped twice, so that no record wraps.
Positions are unsigned long and only grow (with wrap-around). A record is a header of 8 bytes, the
first four its length and two flags, then the data, padded to a multiple of 8.
"""

from __future__ import annotations

import mmap
from contextlib import ExitStack, contextmanager

from lskel.runtime.fence import fence, no_fence
from lskel.runtime.objects import closed, duplicate, in_use
from lskel.runtime.syscall import calling
from lskel.runtime.waiter import Waiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar, overload

    E = TypeVar("E")

# uapi/linux/bpf.h: BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ.
BUSY = 1 << 31
DISCARD = 1 << 30
HEADER = 8
# The consumer position is published after this fraction of the ring: at most that much stays
# occupied by records that were read.
_PARTS = 16
_WHAT = "ring buffer"


def checked_size(max_entries: int, page_size: int) -> int:
    """The size of a ring; ValueError if it is not valid."""
    if max_entries <= 0 or max_entries & (max_entries - 1) or max_entries % page_size:
        raise ValueError(
            f"{max_entries} bytes are not a power of two and a multiple of the page size"
        )
    return max_entries


class RingBuffer:
    """The consumer of a ring buffer map of `max_entries` bytes; one at a time per map.

    It duplicates `map_fd`, which the caller may close. A context manager. Linux 5.8.

    Another thread may close it: readers, also those that wait, then raise Closed.
    """

    def __init__(self, map_fd: int, max_entries: int, page_size: int = mmap.PAGESIZE) -> None:
        self.closed = False
        self._mask = checked_size(max_entries, page_size) - 1
        self._data_start = page_size
        with ExitStack() as cleanup, calling("mmap of a ring buffer"):
            fd = cleanup.enter_context(duplicate(map_fd)).fileno()
            write = mmap.PROT_READ | mmap.PROT_WRITE
            page = cleanup.enter_context(mmap.mmap(fd, page_size, mmap.MAP_SHARED, write))
            size = page_size + 2 * max_entries
            ring = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page_size)
            self._ring = cleanup.enter_context(ring)
            # Views of machine words: a position is read and written in one access.
            self._consumer = cleanup.enter_context(memoryview(page).cast("L"))
            self._producer = cleanup.enter_context(memoryview(ring).cast("L"))
            self._headers = cleanup.enter_context(memoryview(ring).cast("I"))
            self._waiter: Waiter | None = Waiter(fd)
            self._cleanup = cleanup.pop_all()
        self._limit = (1 << 8 * self._producer.itemsize) - 1
        # End of what was returned: published later, shared by iterators.
        self._position: int = self._consumer[0]

    def fileno(self) -> int:
        """For epoll and selectors: readable while there are records, or once it is closed."""
        return self.waiter().fileno()

    def waiter(self) -> Waiter:
        """What waits for records, or until this is closed; it stays open as long as it is used."""
        waiter = self._waiter
        if waiter is None:
            raise closed(_WHAT)
        return waiter

    def ready(self) -> bool:
        """Whether there are records, even if the first is not submitted yet."""
        with in_use(self, _WHAT):
            return bool(self._position != self._producer[0])

    def poll(self, timeout: float | None = None) -> bool:
        """Wait for records; False after `timeout` seconds (None: no timeout)."""
        found = self.waiter().wait(timeout)
        if self.closed:
            raise closed(_WHAT)
        return found

    if TYPE_CHECKING:

        @overload
        def consume(self) -> Iterator[bytes]: ...
        @overload
        def consume(
            self, place: Callable[[Any, int], E], size: int, decode: Callable[[bytes], E]
        ) -> Iterator[E]: ...

    def consume(self, place: Any = None, size: int = 0, decode: Any = None) -> Iterator[Any]:
        """The available records, oldest first, without waiting.

        A record counts as read when it is returned. Its space is released per sixteenth of the
        ring, at the latest when the iterator ends or is dropped.

        Ends early at a record that is reserved but not submitted; discarded ones are skipped.
        `place` converts memory at an offset (the `from_buffer_copy` of a ctypes class), and its
        result is returned instead of bytes, which is faster; a record of fewer than `size` bytes is
        decoded by `decode`.
        """
        # Hot path: once per record.
        ring, headers, producer = self._ring, self._headers, self._producer
        mask, limit, data_start = self._mask, self._limit, self._data_start
        kept = (mask + 1) // _PARTS
        order = None if fence is no_fence else fence
        with in_use(self, _WHAT), self._publishing():
            while (position := self._position) != (end := producer[0]):
                if order:
                    order()
                published = position
                while position != end:
                    start = data_start + (position & mask)
                    header = headers[start >> 2]
                    if header >= DISCARD:
                        if header >= BUSY:
                            return
                        position = position + (header - DISCARD + HEADER + 7 & ~7) & limit
                        self._position = position
                        continue
                    if order:
                        order()
                    start += HEADER
                    after = position + (header + HEADER + 7 & ~7) & limit
                    if place is None:
                        record = ring[start : start + header]
                    elif header < size:
                        record = decode(ring[start : start + header])
                    else:
                        record = place(ring, start)
                    # Nothing may come between these: an exception would lose the record.
                    self._position = after
                    yield record
                    position = self._position
                    if position != after:
                        break  # another iterator has read further meanwhile
                    if (position - published & limit) >= kept:
                        self._publish()
                        published = position
                self._publish()

    @contextmanager
    def _publishing(self) -> Iterator[None]:
        """Publish the consumer position at the end."""
        try:
            yield
        finally:
            if not self.closed:
                self._publish()

    def _publish(self) -> None:
        # After this the kernel may overwrite what we have read.
        fence()
        self._consumer[0] = self._position

    def close(self) -> None:
        """Unmap; a second call does nothing."""
        if not self.closed:
            self._publish()
            self.closed = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.end()
        self._cleanup.close()

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
