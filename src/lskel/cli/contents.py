"""What `lskel run` shows of a collection: events as they come, and what maps hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.catalog.map_types import LISTABLE
from lskel.cli.values import Plain, plain
from lskel.errors import at
from lskel.runtime.collection import Collection
from lskel.runtime.elements import lookup
from lskel.runtime.maps.base import Map
from lskel.runtime.maps.data import DataMap
from lskel.runtime.maps.event_map import EventMap
from lskel.runtime.maps.perfbuf import PerfBufferMap
from lskel.runtime.maps.typed import KeyedMap, codec_of

_KEY = bytes(4)


class Event(NamedTuple):
    """A record of a buffer; bytes where no type is known, or it is shorter."""

    map: str
    value: Plain


class Buffers:
    """The ring and perf buffers of a collection that are read, and the types of their events.

    Perf buffers that are shared are read only where their events are given a type: reading would
    take them from the process that reads them now.
    """

    def __init__(self, bpf: Collection, given: Mapping[str, str]) -> None:
        self.types: dict[EventMap[Any], Any] = {}
        for made in bpf.maps:
            if not isinstance(made, EventMap):
                continue
            definition = made.definition
            is_shared = definition.pinned and definition.type == MapType.PERF_EVENT_ARRAY
            if is_shared and made.name not in given:
                continue
            self.types[made] = made.event_type
            made.decode_as(bytes)

    @property
    def lost(self) -> dict[str, int]:
        """How many events did not fit, by perf buffer; ring buffers do not count them."""
        return {
            made.name: sum(made.lost.values())
            for made in self.types
            if isinstance(made, PerfBufferMap)
        }

    def event(self, made: EventMap[Any], raw: bytes) -> Event:
        """A record as its map's type, where it is long enough: a ring may carry several types."""
        kind = self.types[made]
        if kind is None:
            return Event(made.name, raw)
        codec = codec_of(kind)
        if len(raw) < codec.size:
            return Event(made.name, raw)
        return Event(made.name, plain(kind, codec.decode(raw[: codec.size])))


class Contents(NamedTuple):
    """A map's first entries; `more` says whether there are others."""

    map: str
    entries: tuple[tuple[Plain, Plain], ...]
    more: bool


def contents(bpf: Collection, limit: int) -> Iterator[Contents]:
    """The maps that can be read, each with at most `limit` entries."""
    for made in bpf.maps:
        definition = made.definition
        if definition.type in LISTABLE and not definition.flags & MapFlag.WRONLY:
            with at(f"map '{made.name}'"):
                pairs = list(islice(_entries(made), limit + 1))
            yield Contents(made.name, tuple(pairs[:limit]), len(pairs) > limit)


def _entries(made: Map) -> Iterator[tuple[Plain, Plain]]:
    if isinstance(made, DataMap):
        kind = made.variables
        size = made.definition.value_size
        raw = lookup(made.fileno(), _KEY, size) or b""
        yield 0, plain(kind, made.value) if kind._members_ else raw
    elif isinstance(made, KeyedMap):
        for key, value in made.all_items():
            yield plain(made.key_type, key), plain(made.value_type, value)
