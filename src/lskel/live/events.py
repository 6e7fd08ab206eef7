"""Events from ring buffers, decoded by BTF."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from typing import NamedTuple

from lskel.bpf.enums import MapType
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.btf.value import Decoder, Value
from lskel.errors import BadInput, NotFound
from lskel.replay.loaded import Loaded
from lskel.runtime.ringbuf import RingBuffer

DEFAULT_TYPE = "event"
# How many events of one ring come before another ring has its turn.
BATCH = 4096
# epoll takes no longer time-outs than some weeks.
MAX_WAIT = 3600.0


class Event(NamedTuple):
    """A record of a ring buffer; `value` is None where no type is known or it is too short."""

    map: str
    raw: bytes
    value: Value | None


class Events:
    """The ring buffers of a loaded object, read together; a context manager."""

    def __init__(self, loaded: Loaded, types: Mapping[str, str] | None = None) -> None:
        """`types` names a BTF type for a map; NotFound where there is no such map or type."""
        btf = Btf(loaded.trace.btf) if loaded.trace.btf is not None else None
        wanted = dict(types or {})
        self._rings: dict[int, tuple[str, RingBuffer, Decoder | None]] = {}
        self._poll = select.epoll()
        with ExitStack() as cleanup:
            cleanup.callback(self._poll.close)
            for name, made in loaded.maps.items():
                info = made.info()
                if info.type != MapType.RINGBUF:
                    continue
                decoder = _decoder(btf, name, wanted.pop(name, None))
                fd = made.fd.fileno()
                ring = cleanup.enter_context(RingBuffer(fd, info.max_entries))
                self._rings[ring.fileno()] = (name, ring, decoder)
                self._poll.register(ring.fileno(), select.EPOLLIN)
            if wanted:
                raise NotFound(f"there is no ring buffer '{next(iter(wanted))}'")
            self._cleanup = cleanup.pop_all()

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the ring buffers."""
        return tuple(name for name, _, _ in self._rings.values())

    def until(self, end: float | None, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Events as they come, until `end` (time.monotonic seconds; None: for ever) or `stop`."""
        while not stop():
            left = MAX_WAIT if end is None else end - time.monotonic()
            if left <= 0:
                return
            self._poll.poll(min(left, MAX_WAIT))
            for event in self.available(BATCH):
                yield event
                if end is not None and time.monotonic() >= end:
                    return

    def available(self, limit: int | None = None) -> Iterator[Event]:
        """The events that are there, without waiting; at most `limit` of each ring.

        Without a limit it ends when the programs pause: they may write as fast as we read.
        """
        for name, ring, decoder in self._rings.values():
            for raw in islice(ring.consume(), limit):
                yield Event(name, raw, _decode(decoder, raw))

    def close(self) -> None:
        """Unmap all rings."""
        self._cleanup.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _decode(decoder: Decoder | None, raw: bytes) -> Value | None:
    # A program may send records of several types through one ring.
    return decoder(raw) if decoder is not None and decoder.size <= len(raw) else None


def _decoder(btf: Btf | None, map_name: str, wanted: str | None) -> Decoder | None:
    if wanted is not None:
        type_id = _find(btf, wanted.removeprefix("struct ").strip())
        if btf is None or type_id is None:
            raise NotFound(f"BTF has no type '{wanted}' for events of map '{map_name}'")
        return Decoder(btf, type_id)
    for name in (map_name, map_name.removesuffix("s"), DEFAULT_TYPE):
        type_id = _find(btf, name)
        if btf is not None and type_id is not None:
            try:
                return Decoder(btf, type_id)
            except BadInput:
                continue
    return None


def _find(btf: Btf | None, name: str) -> TypeId | None:
    if btf is None:
        return None
    for cls in (t.Struct, t.Union, t.Typedef, t.Enum, t.Int):
        found = btf.find(name, cls)
        if found is not None:
            return found
    return None
