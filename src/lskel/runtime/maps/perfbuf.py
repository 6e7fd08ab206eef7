"""Perf buffers: events by CPU, and counts of lost events."""

from __future__ import annotations

from lskel.errors import UsageError
from lskel.runtime.kernel import check_running
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
    """A PERF_EVENT_ARRAY for samples from programs; its entries are set by lskel. Linux 4.4.

    Samples are ordered per CPU. The kernel pads them to 4 bytes more than a multiple of 8. Samples
    before its buffers are opened are lost and not counted: `attach` of a collection opens them, and
    so does the first read. For an array of perf counters, set ``pages = 0``.
    """

    _settable = (*EventMap._settable, "pages")

    def __init__(self, definition: MapDefinition, event: type[V] | Codec[V] | None = None) -> None:
        super().__init__(definition, event)
        self._pages = _PAGES
        self._reader: PerfBuffer | None = None

    def decode_as(self, event: type[E] | Codec[E]) -> PerfBufferMap[E]:
        """Decode events as another type from now on; `bytes` for undecoded events."""
        typed: Any = super().decode_as(event)
        return typed  # type: ignore[no-any-return]

    @property
    def pages(self) -> int:
        """Pages per CPU, a power of two, or 0 for no buffers; settable before first use."""
        return self._pages

    @pages.setter
    def pages(self, pages: int) -> None:
        if self._reader is not None:
            raise UsageError(
                f"map '{self.name}' is already in use", hint="set its pages before the first read"
            )
        if pages < 0 or pages & (pages - 1):
            raise UsageError(f"map '{self.name}': {pages} pages are not a power of two")
        self._pages = pages

    @property
    def lost(self) -> Mapping[int, int]:
        """Dropped samples by CPU; the kernel reports them before the next sample that fits."""
        return {} if self._reader is None else self._reader.lost

    def reader(self) -> PerfBuffer:
        """The rings of all online CPUs, opened on first use."""
        if not self._pages:
            raise UsageError(f"map '{self.name}' has no buffers: its pages are 0")
        check_running(self.kernel, "sends no events")
        with self._lock:
            if self._reader is None:
                self._reader = PerfBuffer(self.fileno(), self._pages)
            return self._reader

    def listen(self) -> None:
        """Open the buffers, unless `pages` is 0 or the map is shared with other processes."""
        if self._pages and not self.is_shared:
            self.reader()

    def records(self) -> Iterator[bytes]:
        """The available samples, without waiting."""
        return (data for _, data in self.reader().consume())

    def samples(
        self, timeout: float | None = None, duration: float | None = None
    ) -> Iterator[tuple[int, V]]:
        """As `events`, but pairs of CPU and event."""
        return self._stream(self._samples, timeout, duration)

    def _samples(self) -> Iterator[tuple[int, Any]]:
        decode = self._decode
        for cpu, data in self.reader().consume():
            yield cpu, data if decode is None else decode(data)

    def close(self) -> None:
        """Remove the buffers from the map, and close the fds."""
        with self._lock:
            super().close()
            if self._reader is not None:
                self._reader.close()
                self._reader = None
