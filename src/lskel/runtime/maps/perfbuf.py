"""Perf buffers: events by CPU, and counts of those that were lost."""

from __future__ import annotations

from lskel.errors import UsageError
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.event_map import EventMap
from lskel.runtime.perfbuf import PerfBuffer
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeVar

    V = TypeVar("V")
    E = TypeVar("E")
else:
    V = object

_PAGES = 8


class PerfBufferMap(EventMap[V]):
    """A PERF_EVENT_ARRAY that programs send samples through; it is taken over for them. Kernel 4.4.

    Samples are in order for each CPU. The kernel pads them to 4 bytes more than a multiple of 8.
    What is sent before its buffers are opened is lost and in no count: a skeleton's `attach` opens
    them, and so does the first read. An array of counters is left alone with ``pages = 0``.
    """

    def __init__(self, definition: MapDefinition, event: type[V] | Codec[V] | None = None) -> None:
        super().__init__(definition, event)
        self._pages = _PAGES
        self._reader: PerfBuffer | None = None

    def decode_as(self, event: type[E] | Codec[E]) -> PerfBufferMap[E]:
        """Decode events as another type from now on; `bytes` gives them as they are."""
        typed: Any = super().decode_as(event)
        return typed  # type: ignore[no-any-return]

    @property
    def pages(self) -> int:
        """Of the buffer of each CPU, a power of two, or 0 for none; settable before it is used."""
        return self._pages

    @pages.setter
    def pages(self, pages: int) -> None:
        if self._reader is not None:
            raise UsageError(
                f"map '{self.name}' is read already", hint="set its pages before the first event"
            )
        if pages < 0 or pages & (pages - 1):
            raise UsageError(f"map '{self.name}': {pages} pages are not a power of two")
        self._pages = pages

    @property
    def lost(self) -> Mapping[int, int]:
        """How many samples did not fit, by CPU; the kernel tells in front of the next that does."""
        return {} if self._reader is None else self._reader.lost

    def reader(self) -> PerfBuffer:
        """The rings of all online CPUs, opened when they are first asked for."""
        if not self._pages:
            raise UsageError(f"map '{self.name}' is not read: its pages are 0")
        with self._lock:
            if self._reader is None:
                self._reader = PerfBuffer(self.fileno(), self._pages)
            return self._reader

    def listen(self) -> None:
        """Open the buffers, unless there are to be none or other processes share the map."""
        if self._pages and not self.definition.pinned:
            self.reader()

    def records(self) -> Iterator[bytes]:
        """The samples that are there, without waiting."""
        return (data for _, data in self.reader().consume())

    def samples(
        self, timeout: float | None = None, duration: float | None = None
    ) -> Iterator[tuple[int, V]]:
        """As `events`, but as pairs of the CPU and the event."""
        return self._stream(self._samples, timeout, duration)

    def _samples(self) -> Iterator[tuple[int, Any]]:
        decode = self._decode
        for cpu, data in self.reader().consume():
            yield cpu, data if decode is None else decode(data)

    def close(self) -> None:
        """Take the buffers out of the map, and give the fds back."""
        with self._lock:
            super().close()
            if self._reader is not None:
                self._reader.close()
                self._reader = None
