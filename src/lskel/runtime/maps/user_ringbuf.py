"""User ring buffers: values for programs, which read them by bpf_user_ringbuf_drain.

The kernel side is kernel/bpf/ringbuf.c. The map's fd is mapped in two parts: one page with the
consumer position, read-only; then one page with the producer position and the data mapped twice,
both writable. The record format is that of other ring buffers.
"""

from __future__ import annotations

import mmap
import select
from contextlib import ExitStack
from struct import Struct
from time import monotonic, sleep

from lskel.errors import UsageError, at
from lskel.light_typing import Generic
from lskel.runtime.fence import fence
from lskel.runtime.kernel import check_running
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.maps.event_map import MAX_WAIT, RESERVED
from lskel.runtime.values import Codec, codec_of
from lskel.runtime.values.codec import as_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    V = TypeVar("V")
else:
    V = object

# The length of a record, and a field that other ring buffers use for a page number.
_HEADER = Struct("=II")
# kernel/bpf/helpers.c: the largest dynptr, through which programs read a record.
_MOST = (1 << 24) - 1


class UserRingBufferMap(Map, Generic[V]):
    """A USER_RINGBUF of `max_entries` bytes. Linux 6.1.

    For one sending process at a time, in one thread.
    """

    def __init__(self, definition: MapDefinition, event: type[V] | Codec[V] | None = None) -> None:
        super().__init__(definition)
        self._encode = as_bytes if event is None or event is bytes else codec_of(event).encode
        self._producer: _Producer | None = None

    def send(self, value: V, timeout: float | None = None) -> None:
        """Send a value to the next program that drains the buffer.

        If it is full: BlockingIOError, or TimeoutError after waiting `timeout` seconds for a
        program to drain it.
        """
        with at(f"map '{self.name}'", "value"):
            data = self._encode(value)
        check_running(self.kernel, "takes no records")
        if self._producer is None:
            self._producer = _Producer(self.fileno(), self.info().max_entries)
        if len(data) > self._producer.most:
            raise UsageError(
                f"map '{self.name}': {len(data)} bytes never fit, at most {self._producer.most} do",
                hint="set max_entries before load()",
            )
        if self._producer.put(data):
            return
        if timeout is None:
            raise BlockingIOError(f"map '{self.name}' is full until a program drains it")
        deadline = monotonic() + timeout
        while self._producer.wait(deadline - monotonic()):
            if self._producer.put(data):
                return
        raise TimeoutError(f"map '{self.name}' was full for {timeout} s: no program drained it")

    def close(self) -> None:
        """Unmap it and close the fd."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None
        super().close()


class _Producer:
    """The producer of a buffer of `size` bytes."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        with ExitStack() as cleanup:
            theirs = cleanup.enter_context(mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ))
            write = mmap.PROT_READ | mmap.PROT_WRITE
            ring = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, write, offset=page)
            self._ring = cleanup.enter_context(ring)
            # Views of machine words: a position is read and written in one access.
            self._consumed = cleanup.enter_context(memoryview(theirs).cast("L"))
            self._produced = cleanup.enter_context(memoryview(ring).cast("L"))
            self._cleanup = cleanup.pop_all()
        self.most = min(size - _HEADER.size, _MOST)
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)

    def put(self, data: bytes) -> bool:
        """Whether there was room."""
        position: int = self._produced[0]
        total = _HEADER.size + (len(data) + 7 & ~7)
        if position - self._consumed[0] + total > self._size:
            return False
        # The kernel has read everything before the consumer position.
        fence()
        start = mmap.PAGESIZE + position % self._size
        _HEADER.pack_into(self._ring, start, len(data), 0)
        start += _HEADER.size
        self._ring[start : start + len(data)] = data
        # After this the kernel may read the record.
        fence()
        self._produced[0] = position + total
        return True

    def wait(self, left: float) -> bool:
        """Wait for more space, which may not be enough; False after the timeout."""
        if left <= 0:
            return False
        if self._room.poll(0):
            sleep(min(left, RESERVED))
        else:
            self._room.poll(min(left, MAX_WAIT) * 1000)
        return True

    def close(self) -> None:
        """Unmap; a second call does nothing."""
        self._cleanup.close()
