"""Reading a BPF_MAP_TYPE_RINGBUF: the kernel's side is kernel/bpf/ringbuf.c.

The map's fd is mapped in two parts: one page with the consumer's position, which we write; then
one page with the producer's position, with the data twice after it so that no record is ever
split. Positions are of type unsigned long and only grow (they wrap at its limit). A record is a
header of 8 bytes, the first four its length and two flags, then the data, to a multiple of 8.
"""

from __future__ import annotations

import mmap
import select
from contextlib import ExitStack, contextmanager

from lskel.errors import BadInput
from lskel.runtime.fence import fence, no_fence
from lskel.runtime.objects import duplicate, in_use
from lskel.runtime.syscall import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar, overload

    E = TypeVar("E")

# uapi/linux/bpf.h: BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ.
BUSY = 1 << 31
DISCARD = 1 << 30
HEADER = 8
# The kernel is told how far we are once in so many parts of the ring, so that we keep that much
# of it at most that was read already.
_PARTS = 16
_WHAT = "ring buffer"


def checked_size(max_entries: int, page_size: int) -> int:
    """The size of a ring; ValueError where no ring can have it."""
    if max_entries <= 0 or max_entries & (max_entries - 1) or max_entries % page_size:
        raise ValueError(
            f"a ring of {max_entries} bytes is not a power of two and a multiple of a page"
        )
    return max_entries


def too_short(length: int, size: int) -> BadInput:
    """The error of a record that is shorter than the type it should be of."""
    return BadInput(
        f"an event of {length} bytes is shorter than its type, which has {size}",
        hint="decode_as(bytes) gives events as they are",
    )


class RingBuffer:
    """The consumer of a ring buffer map of `max_entries` bytes; one at a time per map.

    Keeps an fd of its own: the caller may close `map_fd`. A context manager. Kernel 5.8.

    Another thread may close it: what reads it then raises Closed.
    """

    def __init__(self, map_fd: int, max_entries: int, page_size: int = mmap.PAGESIZE) -> None:
        self.closed = False
        self._mask = checked_size(max_entries, page_size) - 1
        self._data_start = page_size
        with ExitStack() as cleanup, calling("mmap of a ring buffer"):
            self._fd = cleanup.enter_context(duplicate(map_fd))
            fd = self._fd.fileno()
            write = mmap.PROT_READ | mmap.PROT_WRITE
            page = cleanup.enter_context(mmap.mmap(fd, page_size, mmap.MAP_SHARED, write))
            size = page_size + 2 * max_entries
            ring = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page_size)
            self._ring = cleanup.enter_context(ring)
            # Views of whole words: a position is read and written in one access.
            self._consumer = cleanup.enter_context(memoryview(page).cast("L"))
            self._producer = cleanup.enter_context(memoryview(ring).cast("L"))
            self._headers = cleanup.enter_context(memoryview(ring).cast("I"))
            self._cleanup = cleanup.pop_all()
        self._limit = (1 << 8 * self._producer.itemsize) - 1
        # Behind what was handed out: the kernel may be told later, and iterators share it.
        self._position: int = self._consumer[0]

    def fileno(self) -> int:
        """For epoll and selectors: readable while there are records."""
        return self._fd.fileno()

    def ready(self) -> bool:
        """Whether there are records, be it that a program has yet to submit the first."""
        with in_use(self, _WHAT):
            return bool(self._position != self._producer[0])

    def poll(self, timeout: float | None = None) -> bool:
        """Wait until there is something to consume; False after `timeout` seconds (None: never)."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    if TYPE_CHECKING:

        @overload
        def consume(self) -> Iterator[bytes]: ...
        @overload
        def consume(self, place: Callable[[Any, int], E], size: int) -> Iterator[E]: ...

    def consume(self, place: Any = None, size: int = 0) -> Iterator[Any]:
        """The records that are there, oldest first, without waiting.

        A record counts as read when it is handed out. The kernel gets its room back soon, a
        sixteenth of the ring at once, and at the latest when the iterator ends or is dropped.

        Ends early at a record that a program has reserved and not yet submitted; discarded ones
        are passed over. With `place`, that makes something of memory at an offset (the
        `from_buffer_copy` of a ctypes class), that is handed out instead of bytes: faster than to
        do it with them. BadInput for a record of fewer than `size` bytes, which counts as read.
        """
        # Each access that is saved here is saved for every record.
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
                        self._position = after
                        raise too_short(header, size)
                    else:
                        record = place(ring, start)
                    # Nothing may come between these: an interrupt would lose the record.
                    self._position = after
                    yield record
                    position = self._position
                    if position != after:
                        break  # another iterator read on meanwhile
                    if (position - published & limit) >= kept:
                        self._publish()
                        published = position
                self._publish()

    @contextmanager
    def _publishing(self) -> Iterator[None]:
        """The kernel is told in the end how far we are."""
        try:
            yield
        finally:
            if not self.closed:
                self._publish()

    def _publish(self) -> None:
        # The kernel may overwrite what we have read once it sees this.
        fence()
        self._consumer[0] = self._position

    def close(self) -> None:
        """Unmap; does nothing the second time."""
        if not self.closed:
            self._publish()
            self.closed = True
        self._cleanup.close()

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
