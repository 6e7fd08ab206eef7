"""Polling several ring and perf buffers together."""

from __future__ import annotations

import os
from _thread import RLock
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from math import inf
from time import monotonic, sleep

from lskel.errors import Closed
from lskel.runtime.maps.event_map import BATCH, MAX_WAIT, RESERVED
from lskel.runtime.objects import Fd, closed
from lskel.runtime.syscall import calling
from lskel.runtime.waiter import Waiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias

    from lskel.runtime.maps.event_map import EventMap

    Buffers: TypeAlias = Mapping[EventMap[Any], Callable[[Any], object]] | Iterable[EventMap[Any]]


def _ignore(event: object) -> None:
    """The default callback."""


class Events:
    """Reads the buffers of several maps in turn, so that a busy one does not starve the others.

    Takes {map: callback} for `poll` and `run`, or just maps for iteration. A context manager; it
    does not close the maps. For one thread at a time, except `stop` and `close`.

    `close` ends a loop in another thread; so does closing the last of the maps.
    """

    def __init__(self, buffers: Buffers) -> None:
        self._callbacks: dict[EventMap[Any], Callable[[Any], object]] = (
            dict(buffers) if isinstance(buffers, Mapping) else dict.fromkeys(buffers, _ignore)
        )
        self.closed = False
        readers = {buffer: buffer.reader() for buffer in self._callbacks}
        # Their waiters stay, and are readable, when another thread has closed the readers.
        self._open = {buffer: (reader, reader.waiter()) for buffer, reader in readers.items()}
        with calling("eventfd"):
            self._stop = Fd(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        self._waiter: Waiter | None = Waiter(self._stop, *(w for _, w in self._open.values()))
        self._lock = RLock()
        self._stopped = False
        # Whether the last wait found events.
        self._readable = False

    def stop(self) -> None:
        """End the current `poll`, `run` or loop, or else the next one.

        May be called from other threads and from signal handlers.
        """
        with self._lock:
            self._stopped = True
            if not self.closed:
                os.eventfd_write(self._stop.fileno(), 1)

    def poll(self, timeout: float | None = None) -> int:
        """Wait for events, at most `timeout` seconds (None: forever), and run the callbacks.

        Returns the number of events: 0 after a timeout or `stop`. If one map has very many, the
        rest is left for the next call. Closed after `close`, or if all maps are closed.
        """
        self._check_open()
        end = inf if timeout is None else monotonic() + timeout
        count = 0
        while not count:
            for buffer, event in self._round():
                self._callbacks[buffer](event)
                count += 1
                if self._stopped:
                    break
            if self._ended() or not (count or self._wait(end)):
                break
        self._readable = False
        if not count:
            self._check_open()
        return count

    def run(self, duration: float | None = None) -> None:
        """Run the callbacks until `stop`, or for `duration` seconds."""
        for buffer, event in self.events(duration):
            self._callbacks[buffer](event)

    def __iter__(self) -> Iterator[tuple[EventMap[Any], Any]]:
        """(map, event) as they come, until `stop`."""
        return self.events()

    def events(self, duration: float | None = None) -> Iterator[tuple[EventMap[Any], Any]]:
        """(map, event) as they come, until `stop`, or for `duration` seconds."""
        self._check_open()
        end = inf if duration is None else monotonic() + duration
        while not self._ended():
            came = False
            for item in self._round():
                came = True
                yield item
                if self._stopped or (end is not inf and monotonic() >= end):
                    break
            if not self._stopped and monotonic() >= end:
                return
            # A perf buffer signals an arrival once: wait only after a round without events.
            if came:
                self._readable = False
            else:
                self._wait(end)

    def consume(self) -> Iterator[tuple[EventMap[Any], Any]]:
        """(map, event) of available events, without waiting; ends when the buffers are empty."""
        came = True
        while came:
            came = False
            for item in self._round():
                came = True
                yield item

    def _check_open(self) -> None:
        if self.closed:
            raise closed("reader of events")

    def _round(self) -> Iterator[tuple[EventMap[Any], Any]]:
        for buffer, (reader, _) in tuple(self._open.items()):
            try:
                for event in islice(buffer.consume(), BATCH):
                    yield buffer, event
            except Closed:
                if not reader.closed:
                    raise
                self._forget(buffer)

    def _forget(self, buffer: EventMap[Any]) -> None:
        """Go on without a map that was closed."""
        with self._lock:
            if buffer not in self._open:
                return
            _, waiter = self._open.pop(buffer)
            if self._waiter is not None:
                self._waiter.remove(waiter)
            if not self._open:
                self.close()

    def _wait(self, end: float) -> bool:
        """Wait for events or `stop`; False after the timeout."""
        left = end - monotonic()
        if left <= 0:
            return False
        if self._readable:
            # Readable but empty: a program has reserved an event and not submitted it.
            sleep(min(left, RESERVED))
        waiter = self._waiter
        self._readable = waiter is not None and waiter.wait(min(left, MAX_WAIT))
        return True

    def _ended(self) -> bool:
        """Whether it is closed, or `stop` was called since the last check."""
        with self._lock:
            if self.closed:
                return True
            if not self._stopped:
                return False
            self._stopped = self._readable = False
            with suppress(BlockingIOError):  # `stop` in a signal handler, during this call
                os.eventfd_read(self._stop.fileno())
            return True

    def close(self) -> None:
        """Stop waiting for the maps; a second call does nothing."""
        with self._lock:
            self.closed = True
            self._open.clear()
            self._stop.close()
            waiter, self._waiter = self._waiter, None
            if waiter is not None:
                waiter.end()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
