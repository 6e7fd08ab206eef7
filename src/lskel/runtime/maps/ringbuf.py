"""Ring buffers: events of all CPUs in the order in which they were reserved."""

from __future__ import annotations

from ctypes import sizeof

from lskel.errors import at
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.event_map import EventMap
from lskel.runtime.ringbuf import RingBuffer
from lskel.runtime.values import Codec
from lskel.runtime.values.structs import Composite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    V = TypeVar("V")
    E = TypeVar("E")
else:
    V = object


class RingBufferMap(EventMap[V]):
    """A RINGBUF, of `max_entries` bytes. Kernel 5.8.

    What does not fit is refused to the program that sends it: nothing is lost unknown to it, and
    nobody else counts it.
    """

    def __init__(self, definition: MapDefinition, event: type[V] | Codec[V] | None = None) -> None:
        self._reader: RingBuffer | None = None
        self._class: type[Any] | None = None
        super().__init__(definition, event)

    def decode_as(self, event: type[E] | Codec[E]) -> RingBufferMap[E]:
        """Decode events as another type from now on; `bytes` gives them as they are."""
        typed: Any = super().decode_as(event)
        is_memory = isinstance(event, type) and issubclass(event, Composite)
        typed._class = event if is_memory else None
        return typed  # type: ignore[no-any-return]

    def reader(self) -> RingBuffer:
        """The buffer's consumer, mapped when it is first asked for."""
        with self._lock:
            if self._reader is None:
                self._reader = RingBuffer(self.fileno(), self.info().max_entries)
            return self._reader

    def records(self) -> Iterator[bytes]:
        """The records that are there, without waiting."""
        return self.reader().consume()

    def _decoded(self, decode: Callable[[bytes], V]) -> Iterator[V]:
        if self._class is None:
            return super()._decoded(decode)
        # Structs are copied right out of the ring, which saves making bytes of them first.
        place, size = self._class.from_buffer_copy, sizeof(self._class)
        return self._named(self.reader().consume(place, size))

    def _named(self, events: Iterator[V]) -> Iterator[V]:
        with at(f"map '{self.name}'"):
            yield from events

    def close(self) -> None:
        """Unmap it and give the fd back."""
        with self._lock:
            super().close()
            if self._reader is not None:
                self._reader.close()
                self._reader = None
