"""Events from ring and perf buffers, decoded by BTF."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from lskel.bpf.enums import MapType
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.btf.value import Decoder, Value
from lskel.errors import BadInput, NotFound
from lskel.replay.loaded import Loaded, LoadedMap
from lskel.runtime import events
from lskel.runtime.maps.base import definition_of
from lskel.runtime.maps.event_map import EventMap
from lskel.runtime.maps.perfbuf import PerfBufferMap
from lskel.runtime.maps.ringbuf import RingBufferMap
from lskel.runtime.objects import MapInfo, duplicate

DEFAULT_TYPE = "event"
BUFFERS: Mapping[int, type[EventMap[Any]]] = {
    MapType.RINGBUF: RingBufferMap,
    MapType.PERF_EVENT_ARRAY: PerfBufferMap,
}


class Event(NamedTuple):
    """A record of a buffer; `value` is None where no type is known or it is too short.

    `source` is the number of the object among those that are read together.
    """

    source: int
    map: str
    raw: bytes
    value: Value | None


class Buffers:
    """The ring and perf buffers of a loaded object, and how they are decoded; a context manager."""

    def __init__(self, loaded: Loaded, types: Mapping[str, str] | None = None) -> None:
        """`types` names a BTF type for a map; NotFound where there is no such map or type."""
        btf = Btf(loaded.trace.btf) if loaded.trace.btf is not None else None
        wanted = dict(types or {})
        pinned = {made.name for made in loaded.trace.maps if made.is_pinned}
        self.decoders: dict[EventMap[Any], Decoder | None] = {}
        with ExitStack() as cleanup:
            for name, made in loaded.maps.items():
                info = made.info()
                if info.type not in BUFFERS:
                    continue
                given = wanted.pop(name, None)
                is_shared = name in pinned and info.type == MapType.PERF_EVENT_ARRAY
                if is_shared and given is None:
                    continue  # reading it would take it from the process that reads it now
                decoder = _decoder(btf, name, given)
                buffer = _buffer(made, info)
                cleanup.callback(buffer.close)
                self.decoders[buffer] = decoder
            if wanted:
                raise NotFound(f"there is no ring or perf buffer '{next(iter(wanted))}'")
            self._cleanup = cleanup.pop_all()

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the buffers."""
        return tuple(buffer.name for buffer in self.decoders)

    @property
    def lost(self) -> Mapping[str, int]:
        """How many events did not fit, by perf buffer; ring buffers do not count them."""
        return {
            buffer.name: sum(buffer.lost.values())
            for buffer in self.decoders
            if isinstance(buffer, PerfBufferMap)
        }

    def close(self) -> None:
        """Unmap all buffers."""
        self._cleanup.close()

    def __enter__(self) -> Buffers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Events:
    """The events of one or more loaded objects, read together; a context manager."""

    def __init__(self, *objects: Buffers) -> None:
        self._sources = {
            buffer: (number, decoder)
            for number, buffers in enumerate(objects)
            for buffer, decoder in buffers.decoders.items()
        }
        self._events = events.Events(self._sources.keys())

    def until(self, end: float | None) -> Iterator[Event]:
        """Events as they come, until `end` (time.monotonic seconds; None: for ever)."""
        duration = None if end is None else max(0, end - time.monotonic())
        for buffer, raw in self._events.events(duration):
            yield self._event(buffer, raw)

    def available(self) -> Iterator[Event]:
        """The events that are there, without waiting.

        It ends when the programs pause: they may write as fast as we read.
        """
        for buffer, raw in self._events.consume():
            yield self._event(buffer, raw)

    def _event(self, buffer: EventMap[Any], raw: bytes) -> Event:
        number, decoder = self._sources[buffer]
        return Event(number, buffer.name, raw, _decode(decoder, raw))

    def close(self) -> None:
        """Stop reading."""
        self._events.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _buffer(made: LoadedMap, info: MapInfo) -> EventMap[Any]:
    buffer = BUFFERS[info.type](definition_of(info, made.name))
    buffer.bind(duplicate(made.fd.fileno()))
    return buffer


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
