"""The base of ring buffers and perf buffers: streams of events."""

from __future__ import annotations

from _thread import RLock
from itertools import islice
from math import inf
from time import monotonic, sleep

from lskel.errors import BadInput, Closed, at
from lskel.light_typing import Generic
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.objects import duplicate
from lskel.runtime.values import Codec, codec_of
from lskel.runtime.values.heads import head_of, is_struct

TYPE_CHECKING = False
if not TYPE_CHECKING:
    V = object

    def overload(function):
        """As `typing.overload`."""
        return function

else:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any, Literal, Protocol, TypeVar, overload

    from lskel.runtime.waiter import Waiter

    V = TypeVar("V")
    E = TypeVar("E")

    class Reader(Protocol):
        """The common interface of `RingBuffer` and `PerfBuffer`."""

        closed: bool

        def waiter(self) -> Waiter: ...
        def ready(self) -> bool: ...
        def poll(self, timeout: float | None = None) -> bool: ...
        def close(self) -> None: ...


# Events of one buffer per turn, before other buffers are served.
BATCH = 1024
# Seconds that asyncio's other tasks and timers wait for a loop over events.
SLICE = 0.002
# The maximum timeout of poll(2) is some weeks.
MAX_WAIT = 3600.0
# A reserved record makes its buffer readable, and is submitted soon after.
RESERVED = 0.0005


class EventMap(Map, Generic[V]):
    """A map for events from programs, of type `event_type`; bytes by default.

    An event counts as read when it is returned, so a loop may be left and another one started. Of
    an event longer than the type the head is decoded. One that is shorter has the members of the
    struct that are in it: others are absent (an AttributeError), and arrays and text are cut short.
    If the type is not a struct, a shorter event raises BadInput, and counts as read.

    The buffer is mapped on first use. For one thread at a time, except `close`: it ends the loops
    of all threads, and `poll` and new loops raise Closed.
    """

    def __init__(self, definition: MapDefinition, event: type[V] | Codec[V] | None = None) -> None:
        super().__init__(definition)
        # Another thread may close the map while this thread opens its buffer.
        self._lock = RLock()
        self._decode: Callable[[bytes], V] | None = None
        self.event_type: type[V] | Codec[V] | None = None
        if event is not None:
            self.decode_as(event)

    def decode_as(self, event: type[E] | Codec[E]) -> EventMap[E]:
        """Decode events as another type from now on; `bytes` for undecoded events."""
        typed: Any = self
        typed.event_type = None if event is bytes else event
        typed._decode = None if event is bytes else self._decoder(event)
        return typed  # type: ignore[no-any-return]

    def _decoder(self, event: type[E] | Codec[E]) -> Callable[[bytes], E]:
        codec = codec_of(event)
        size, decode = codec.size, codec.decode

        def decoded(record: bytes) -> E:
            if len(record) == size:
                return decode(record)
            if len(record) > size:
                return decode(record[:size])
            if is_struct(event):
                return head_of(event, record)
            with at(f"map '{self.name}'"):
                raise BadInput(
                    f"event of {len(record)} bytes is shorter than its type of {size}",
                    hint="decode_as(bytes) returns events undecoded",
                )

        return decoded

    # -- specific to the kind of buffer -----------------------------------------------------------

    def reader(self) -> Reader:
        """The reader of the buffer, opened on first use."""
        raise NotImplementedError

    def records(self) -> Iterator[bytes]:
        """The available events, undecoded, without waiting."""
        raise NotImplementedError

    def _decoded(self, decode: Callable[[bytes], V]) -> Iterator[V]:
        """The available events, decoded."""
        return map(decode, self.records())

    # -- reading ----------------------------------------------------------------------------------

    @overload
    def consume(self, *, raw: Literal[False] = False) -> Iterator[V]: ...
    @overload
    def consume(self, *, raw: Literal[True]) -> Iterator[bytes]: ...
    def consume(self, *, raw: bool = False) -> Iterator[Any]:
        """The available events, without waiting; ends when the buffer is empty."""
        if raw or self._decode is None:
            return self.records()
        return self._decoded(self._decode)

    def __iter__(self) -> Iterator[V]:
        """Events as they arrive, until the map is closed."""
        return self.events()

    @overload
    def events(
        self,
        timeout: float | None = None,
        duration: float | None = None,
        *,
        raw: Literal[False] = False,
    ) -> Iterator[V]: ...
    @overload
    def events(
        self, timeout: float | None = None, duration: float | None = None, *, raw: Literal[True]
    ) -> Iterator[bytes]: ...
    def events(
        self, timeout: float | None = None, duration: float | None = None, *, raw: bool = False
    ) -> Iterator[Any]:
        """Events as they arrive.

        Ends after `timeout` seconds without events, `duration` seconds after the start, and when
        the map is closed. `raw` returns bytes.
        """
        return self._stream(lambda: self.consume(raw=raw), timeout, duration)  # type: ignore[call-overload]

    def _stream(
        self, consume: Callable[[], Iterator[E]], timeout: float | None, duration: float | None
    ) -> Iterator[E]:
        reader = self.reader()
        now = monotonic()
        end = inf if duration is None else now + duration
        patience = inf if timeout is None else timeout
        idle = now + patience
        readable = False
        try:
            while True:
                came = False
                for event in consume():
                    came = True
                    yield event
                    if end is not inf and monotonic() >= end:
                        return
                now = monotonic()
                if came:
                    idle = now + patience
                left = min(idle, end) - now
                if left <= 0:
                    return
                if readable and not came:
                    sleep(min(left, RESERVED))
                readable = reader.poll(min(left, MAX_WAIT))
        except Closed:
            if not reader.closed:
                raise

    def poll(self, callback: Callable[[V], object], timeout: float | None = None) -> int:
        """Wait for events, at most `timeout` seconds (None: forever), and call `callback` for each.

        Returns the number of events: 0 after a timeout, or if events are reserved but not
        submitted. If there are very many, the rest is left for the next call. Closed if another
        thread closes the map.
        """
        reader = self.reader()
        with at(f"map '{self.name}'"):
            reader.poll(timeout)
        count = 0
        for event in islice(self.consume(), BATCH):
            callback(event)
            count += 1
        return count

    @overload
    def aiter(self, *, raw: Literal[False] = False) -> AsyncIterator[V]: ...
    @overload
    def aiter(self, *, raw: Literal[True]) -> AsyncIterator[bytes]: ...
    async def aiter(self, *, raw: bool = False) -> AsyncIterator[Any]:
        """Events as they arrive, until the map is closed, for `async for`.

        Other tasks and timers run meanwhile, however many events there are. Several iterators share
        the events.
        """
        from asyncio import get_running_loop
        from asyncio import sleep as pause

        loop = get_running_loop()
        reader = self.reader()
        # It stays, and is readable, when another thread has closed the reader.
        waiter = reader.waiter()
        # An event loop has one reader per fd.
        with duplicate(waiter.fileno()) as fd:
            due = monotonic() + SLICE
            try:
                while True:
                    came = False
                    for event in self.consume(raw=raw):  # type: ignore[call-overload]
                        came = True
                        yield event
                        if monotonic() >= due:
                            await pause(0)
                            due = monotonic() + SLICE
                    if not came and reader.ready():
                        await pause(RESERVED)
                        continue
                    readable = loop.create_future()
                    loop.add_reader(fd.fileno(), _settle, readable)
                    try:
                        # The kernel may already have signaled what arrived meanwhile.
                        if not reader.ready():
                            await readable
                            due = monotonic() + SLICE
                    finally:
                        loop.remove_reader(fd.fileno())
            except Closed:
                if not reader.closed:
                    raise

    def __aiter__(self) -> AsyncIterator[V]:
        return self.aiter()


def _settle(future: Any) -> None:
    if not future.done():
        future.set_result(None)
