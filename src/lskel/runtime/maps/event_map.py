"""What ring buffers and perf buffers have in common: events that come, one after the other."""

from __future__ import annotations

from _thread import RLock
from itertools import islice
from math import inf
from time import monotonic, sleep

from lskel.errors import at
from lskel.named import Generic
from lskel.runtime.kernel import check_running
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.maps.typed import codec_of
from lskel.runtime.objects import duplicate
from lskel.runtime.ringbuf import too_short
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if not TYPE_CHECKING:
    V = object

    def overload(function):
        """As that of `typing`."""
        return function

else:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any, Literal, Protocol, TypeVar, overload

    V = TypeVar("V")
    E = TypeVar("E")

    class Reader(Protocol):
        """What `RingBuffer` and `PerfBuffer` are to waiting."""

        def fileno(self) -> int: ...
        def ready(self) -> bool: ...
        def poll(self, timeout: float | None = None) -> bool: ...
        def close(self) -> None: ...


# So many events of one buffer come before others have their turn.
BATCH = 1024
# poll(2) takes no longer time-outs than some weeks.
MAX_WAIT = 3600.0
# A record that a program has reserved makes its buffer readable, and is submitted soon after.
RESERVED = 0.0005


class EventMap(Map, Generic[V]):
    """A map that programs send events through, of type `event_type`; bytes where none is given.

    An event counts as read when it is handed out, so that a loop may be left and another begun.
    One that is shorter than the type raises BadInput, and counts as read; of one that is longer
    the head is decoded. The buffer is mapped when it is first used. For one thread at a time, but
    for `close`: it ends the reading of others with an LskelError.
    """

    def __init__(self, definition: MapDefinition, event: type[V] | Codec[V] | None = None) -> None:
        super().__init__(definition)
        # Another thread may close the map while this one opens its buffer.
        self._lock = RLock()
        self._decode: Callable[[bytes], V] | None = None
        self.event_type: type[V] | Codec[V] | None = None
        if event is not None:
            self.decode_as(event)

    def decode_as(self, event: type[E] | Codec[E]) -> EventMap[E]:
        """Decode events as another type from now on; `bytes` gives them as they are."""
        typed: Any = self
        typed.event_type = None if event is bytes else event
        typed._decode = None if event is bytes else self._decoder(codec_of(event))
        return typed  # type: ignore[no-any-return]

    def _decoder(self, codec: Codec[E]) -> Callable[[bytes], E]:
        size, decode = codec.size, codec.decode

        def decoded(record: bytes) -> E:
            if len(record) == size:
                return decode(record)
            if len(record) > size:
                return decode(record[:size])
            with at(f"map '{self.name}'"):
                raise too_short(len(record), size)

        return decoded

    # -- what the kinds of buffers differ in ------------------------------------------------------

    def reader(self) -> Reader:
        """What reads the buffer, opened when it is first asked for."""
        raise NotImplementedError

    def records(self) -> Iterator[bytes]:
        """The events that are there, undecoded, without waiting."""
        raise NotImplementedError

    def _decoded(self, decode: Callable[[bytes], V]) -> Iterator[V]:
        """The events that are there, decoded."""
        return map(decode, self.records())

    # -- reading ----------------------------------------------------------------------------------

    @overload
    def consume(self, *, raw: Literal[False] = False) -> Iterator[V]: ...
    @overload
    def consume(self, *, raw: Literal[True]) -> Iterator[bytes]: ...
    def consume(self, *, raw: bool = False) -> Iterator[Any]:
        """The events that are there, without waiting; it ends when the programs pause."""
        if raw or self._decode is None:
            return self.records()
        return self._decoded(self._decode)

    def __iter__(self) -> Iterator[V]:
        """Events as they come, for ever."""
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
        """Events as they come.

        Ends when nothing came for `timeout` seconds, and `duration` seconds after the first was
        asked for. `raw` gives bytes.
        """
        return self._stream(lambda: self.consume(raw=raw), timeout, duration)  # type: ignore[call-overload]

    def _stream(
        self, consume: Callable[[], Iterator[E]], timeout: float | None, duration: float | None
    ) -> Iterator[E]:
        check_running(self.kernel, "sends no events")
        reader = self.reader()
        now = monotonic()
        end = inf if duration is None else now + duration
        patience = inf if timeout is None else timeout
        idle = now + patience
        readable = False
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

    def poll(self, callback: Callable[[V], object], timeout: float | None = None) -> int:
        """Wait for events, at most `timeout` seconds (None: for ever), and call for each there is.

        Gives how many there were: 0 after the time, and where programs have events reserved but
        not submitted. Events beyond many are left for the next call.
        """
        self.reader().poll(timeout)
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
        """Events as they come, for ever, for `async for` in asyncio; several share the events."""
        from asyncio import get_running_loop
        from asyncio import sleep as pause

        loop = get_running_loop()
        # A loop knows one waiter for each fd.
        with duplicate(self.reader().fileno()) as fd:
            while True:
                count = 0
                for event in self.consume(raw=raw):  # type: ignore[call-overload]
                    yield event
                    count += 1
                    if count % BATCH == 0:
                        await pause(0)
                if not count and self.reader().ready():
                    await pause(RESERVED)
                    continue
                readable = loop.create_future()
                loop.add_reader(fd.fileno(), _settle, readable)
                try:
                    # The kernel may have told of what came meanwhile already.
                    if not self.reader().ready():
                        await readable
                finally:
                    loop.remove_reader(fd.fileno())

    def __aiter__(self) -> AsyncIterator[V]:
        return self.aiter()


def _settle(future: Any) -> None:
    if not future.done():
        future.set_result(None)
