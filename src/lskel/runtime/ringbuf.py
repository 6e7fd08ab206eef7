"""Reading a BPF_MAP_TYPE_RINGBUF: the kernel's side is kernel/bpf/ringbuf.c.

The map's fd is mapped in two parts: one page with the consumer's position, which we write; then
one page with the producer's position, with the data twice after it so that no record is ever
split. Positions are of type unsigned long and only grow (they wrap at its limit). A record is a
header of 8 bytes, the first four its length and two flags, then the data, to a multiple of 8.
"""

from __future__ import annotations

import mmap
import os
import select
from collections.abc import Iterator
from contextlib import ExitStack

from lskel.runtime.fence import fence
from lskel.runtime.objects import Fd

# uapi/linux/bpf.h: BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ.
_BUSY = 1 << 31
_DISCARD = 1 << 30
_HEADER = 8
_LENGTH = ~(_BUSY | _DISCARD)


class RingBuffer:
    """The consumer of a ring buffer map of `max_entries` bytes; one at a time per map.

    Keeps an fd of its own: the caller may close `map_fd`. A context manager. Kernel 5.8.
    """

    def __init__(self, map_fd: int, max_entries: int, page_size: int = mmap.PAGESIZE) -> None:
        if max_entries <= 0 or max_entries & (max_entries - 1) or max_entries % page_size:
            raise ValueError(
                f"a ring of {max_entries} bytes is not a power of two and a multiple of a page"
            )
        self._mask = max_entries - 1
        self._data_start = page_size
        with ExitStack() as cleanup:
            self._fd = cleanup.enter_context(Fd(os.dup(map_fd)))
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

    def fileno(self) -> int:
        """For epoll and selectors: readable while there are records."""
        return self._fd.fileno()

    def poll(self, timeout: float | None = None) -> bool:
        """Wait until there is something to consume; False after `timeout` seconds (None: never)."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def consume(self) -> Iterator[bytes]:
        """The records that are there, oldest first, without waiting.

        A record counts as read when it is handed out. Ends early at one that a program has
        reserved and not yet submitted; discarded ones are passed over.
        """
        position = self._consumer[0]
        while position != (end := self._producer[0]):
            fence()
            while position != end:
                offset = self._data_start + (position & self._mask)
                header = self._headers[offset // 4]
                if header & _BUSY:
                    return
                fence()
                start = offset + _HEADER
                length = header & _LENGTH
                record = None if header & _DISCARD else self._ring[start : start + length]
                position = position + _HEADER + (length + 7 & ~7) & self._limit
                # The kernel may overwrite the record once it sees this.
                fence()
                self._consumer[0] = position
                if record is not None:
                    yield record

    def close(self) -> None:
        """Unmap; does nothing the second time."""
        self._cleanup.close()

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
