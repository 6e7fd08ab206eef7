"""What `lskel run` prints: events as they arrive, and the contents of maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.catalog.map_types import LISTABLE
from lskel.cli.values import Plain, to_plain
from lskel.errors import at
from lskel.runtime.collection import Collection
from lskel.runtime.maps.base import Map
from lskel.runtime.maps.data import DataMap
from lskel.runtime.maps.event_map import EventMap
from lskel.runtime.maps.perfbuf import PerfBufferMap
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.one_element import lookup
from lskel.runtime.values import codec_of
from lskel.runtime.values.heads import head_of, is_struct

_KEY = bytes(4)


class Event(NamedTuple):
    """An event of a buffer; bytes if its type is unknown, or a number larger than the event."""

    map: str
    value: Plain


class Buffers:
    """The ring and perf buffers that are read, and the types of their events.

    A shared perf buffer is read only if a type is given for its events: reading it takes the
    events from the process that reads it now.
    """

    def __init__(self, bpf: Collection, given: Mapping[str, str]) -> None:
        self.types: dict[EventMap[Any], Any] = {}
        for made in bpf.maps:
            if not isinstance(made, EventMap) or not made.autocreate:
                continue
            definition = made.definition
            is_shared = made.is_shared and definition.type == MapType.PERF_EVENT_ARRAY
            if is_shared and made.name not in given:
                continue
            self.types[made] = made.event_type
            made.decode_as(bytes)

    @property
    def lost(self) -> dict[str, int]:
        """Number of lost events by perf buffer; ring buffers do not count them."""
        return {
            made.name: sum(made.lost.values())
            for made in self.types
            if isinstance(made, PerfBufferMap)
        }

    def event(self, made: EventMap[Any], raw: bytes) -> Event:
        """An event decoded as its map's type; of a shorter one, the members that are in it."""
        kind = self.types[made]
        if kind is None:
            return Event(made.name, raw)
        codec = codec_of(kind)
        if len(raw) < codec.size:
            if not is_struct(kind):
                return Event(made.name, raw)
            return Event(made.name, to_plain(kind, head_of(kind, raw)))
        return Event(made.name, to_plain(kind, codec.decode(raw[: codec.size])))


class Contents(NamedTuple):
    """The first entries of a map; `more`: whether it has further entries."""

    map: str
    entries: tuple[tuple[Plain, Plain], ...]
    more: bool


def contents(bpf: Collection, limit: int) -> Iterator[Contents]:
    """The readable maps, each with at most `limit` entries."""
    for made in bpf.maps:
        definition = made.definition
        if (
            made.autocreate
            and definition.type in LISTABLE
            and not definition.flags & MapFlag.WRONLY
        ):
            with at(f"map '{made.name}'"):
                pairs = list(islice(_entries(made), limit + 1))
            yield Contents(made.name, tuple(pairs[:limit]), len(pairs) > limit)


def _entries(made: Map) -> Iterator[tuple[Plain, Plain]]:
    if isinstance(made, DataMap):
        kind = made.variables
        size = made.definition.value_size
        raw = lookup(made.fileno(), _KEY, size) or b""
        yield 0, to_plain(kind, made.value) if kind._members_ else raw
    elif isinstance(made, KeyedMap):
        for key, value in made.all_items():
            yield to_plain(made.key_type, key), to_plain(made.value_type, value)
