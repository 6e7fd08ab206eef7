"""Polling several ring and perf buffers together."""

from __future__ import annotations

import os
import select
from _thread import RLock
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from itertools import islice
from math import inf
from time import monotonic, sleep

from lskel.runtime.maps.event_map import BATCH, MAX_WAIT, RESERVED
from lskel.runtime.objects import Fd, duplicate, in_use
from lskel.runtime.syscall import calling

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
    does not close the maps. Not thread-safe, except `stop`.
    """

    def __init__(self, buffers: Buffers) -> None:
        self._callbacks: dict[EventMap[Any], Callable[[Any], object]] = (
            dict(buffers) if isinstance(buffers, Mapping) else dict.fromkeys(buffers, _ignore)
        )
        self.closed = False
        with ExitStack() as cleanup, calling("epoll and eventfd"):
            self._epoll = cleanup.enter_context(select.epoll())
            self._stop = cleanup.enter_context(Fd(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)))
            self._epoll.register(self._stop, select.EPOLLIN)
            for buffer in self._callbacks:
                # The same buffer may be in other epoll sets under its own number.
                fd = cleanup.enter_context(duplicate(buffer.reader().fileno()))
                self._epoll.register(fd, select.EPOLLIN)
            self._cleanup = cleanup.pop_all()
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
            os.eventfd_write(self._stop.fileno(), 1)

    def poll(self, timeout: float | None = None) -> int:
        """Wait for events, at most `timeout` seconds (None: forever), and run the callbacks.

        Returns the number of events: 0 after a timeout or `stop`. If one map has very many, the
        rest is left for the next call.
        """
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

    def _round(self) -> Iterator[tuple[EventMap[Any], Any]]:
        for buffer in self._callbacks:
            for event in islice(buffer.consume(), BATCH):
                yield buffer, event

    def _wait(self, end: float) -> bool:
        """Wait for events or `stop`; False after the timeout."""
        left = end - monotonic()
        if left <= 0:
            return False
        if self._readable:
            # Readable but empty: a program has reserved an event and not submitted it.
            sleep(min(left, RESERVED))
        with in_use(self, "reader of events"):
            self._readable = bool(self._epoll.poll(min(left, MAX_WAIT)))
        return True

    def _ended(self) -> bool:
        """Whether `stop` was called since the last check."""
        with self._lock:
            if not self._stopped:
                return False
            self._stopped = self._readable = False
            with suppress(BlockingIOError):  # `stop` in a signal handler, during this call
                os.eventfd_read(self._stop.fileno())
            return True

    def close(self) -> None:
        """Stop waiting for the maps; a second call does nothing."""
        self.closed = True
        self._cleanup.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
