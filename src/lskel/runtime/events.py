"""Several ring and perf buffers, read together."""

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
    """What is done with an event where no callback is given."""


class Events:
    """Reads the buffers of several maps in turns, so that a busy one does not silence the others.

    Made of {map: callback} for `poll` and `run`, or of maps for iteration alone. A context
    manager; the maps stay as they are. For one thread, but for `stop`.
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
                # The same buffer may wait in other places under its own number.
                fd = cleanup.enter_context(duplicate(buffer.reader().fileno()))
                self._epoll.register(fd, select.EPOLLIN)
            self._cleanup = cleanup.pop_all()
        self._lock = RLock()
        self._stopped = False
        # Whether something was there when it last waited.
        self._readable = False

    def stop(self) -> None:
        """End the `poll`, `run` or loop that is at work, or else the next one.

        May be called from other threads and from signal handlers.
        """
        with self._lock:
            self._stopped = True
            os.eventfd_write(self._stop.fileno(), 1)

    def poll(self, timeout: float | None = None) -> int:
        """Wait for events, at most `timeout` seconds (None: for ever), and call for each there is.

        Gives how many there were: 0 after the time, and after `stop`. Events beyond many of one
        map are left for the next call.
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
        """Call for each event until `stop`, or for `duration` seconds."""
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
            # A perf buffer tells of an arrival once: wait only where a round found nothing.
            if came:
                self._readable = False
            else:
                self._wait(end)

    def consume(self) -> Iterator[tuple[EventMap[Any], Any]]:
        """(map, event) of what is there, without waiting; it ends when the programs pause."""
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
        """Wait until something is there, or `stop`; False where the time is over."""
        left = end - monotonic()
        if left <= 0:
            return False
        if self._readable:
            # And still nothing was there: a program has reserved an event.
            sleep(min(left, RESERVED))
        with in_use(self, "reader of events"):
            self._readable = bool(self._epoll.poll(min(left, MAX_WAIT)))
        return True

    def _ended(self) -> bool:
        """Whether `stop` was called since it was last asked."""
        with self._lock:
            if not self._stopped:
                return False
            self._stopped = self._readable = False
            with suppress(BlockingIOError):  # `stop` in a signal handler, in the midst of this
                os.eventfd_read(self._stop.fileno())
            return True

    def close(self) -> None:
        """Stop waiting for the maps; does nothing the second time."""
        self.closed = True
        self._cleanup.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
