"""Ring buffers: events of all CPUs in the order of reservation."""

from __future__ import annotations

from ctypes import sizeof

from lskel.runtime.kernel import check_running
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.event_map import EventMap
from lskel.runtime.ringbuf import RingBuffer
from lskel.runtime.values import Codec
from lskel.runtime.values.heads import is_struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    V = TypeVar("V")
    E = TypeVar("E")
else:
    V = object


class RingBufferMap(EventMap[V]):
    """A RINGBUF of `max_entries` bytes. Linux 5.8.

    If it is full, the helper fails in the program, which may count that; the kernel does not.
    """

    def __init__(self, definition: MapDefinition, event: type[V] | Codec[V] | None = None) -> None:
        self._reader: RingBuffer | None = None
        self._class: type[Any] | None = None
        super().__init__(definition, event)

    def decode_as(self, event: type[E] | Codec[E]) -> RingBufferMap[E]:
        """Decode events as another type from now on; `bytes` for undecoded events."""
        typed: Any = super().decode_as(event)
        typed._class = event if is_struct(event) else None
        return typed  # type: ignore[no-any-return]

    def reader(self) -> RingBuffer:
        """The buffer's consumer, mapped on first use."""
        check_running(self.kernel, "sends no events")
        with self._lock:
            if self._reader is None:
                self._reader = RingBuffer(self.fileno(), self.info().max_entries)
            return self._reader

    def records(self) -> Iterator[bytes]:
        """The available records, without waiting."""
        return self.reader().consume()

    def _decoded(self, decode: Callable[[bytes], V]) -> Iterator[V]:
        if self._class is None:
            return super()._decoded(decode)
        # Structs are copied directly from the ring, without creating bytes first.
        place, size = self._class.from_buffer_copy, sizeof(self._class)
        return self.reader().consume(place, size, decode)

    def close(self) -> None:
        """Unmap it and close the fd."""
        with self._lock:
            super().close()
            if self._reader is not None:
                self._reader.close()
                self._reader = None
