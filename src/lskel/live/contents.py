"""What maps hold, decoded by BTF."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from lskel.bpf.flags import MapFlag
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.btf.value import Decoder, Value
from lskel.catalog.map_types import INDEXED, LISTABLE, PER_CPU
from lskel.errors import at
from lskel.replay.loaded import Loaded, LoadedMap
from lskel.runtime.elements import items, split_percpu
from lskel.runtime.objects import MapInfo


class Entry(NamedTuple):
    """An element; bytes where BTF does not say their type. Per-CPU values are lists."""

    key: Value | bytes
    value: Value | bytes


class Contents(NamedTuple):
    """A map's first entries; `more` says whether there are others."""

    map: str
    entries: tuple[Entry, ...]
    more: bool


def contents(loaded: Loaded, limit: int) -> Iterator[Contents]:
    """The maps that can be read, each with at most `limit` entries."""
    btf = Btf(loaded.trace.btf) if loaded.trace.btf is not None else None
    for slot, made in enumerate(loaded.maps.values()):
        info = made.info()
        op = loaded.trace.map_create(slot)
        if info.type in LISTABLE and not info.flags & MapFlag.WRONLY:
            key = _reader(btf, TypeId(op.key_type))
            value = _reader(btf, TypeId(op.value_type))
            with at(f"map '{made.name}'"):
                shown = _read(made, info, key, value, limit)
            yield shown


def _read(
    made: LoadedMap,
    info: MapInfo,
    key: Callable[[bytes], Value | bytes],
    value: Callable[[bytes], Value | bytes],
    limit: int,
) -> Contents:
    def decoded(raw: bytes) -> Value | bytes:
        if info.type not in PER_CPU:
            return value(raw)
        return [value(one) for one in split_percpu(raw, info.value_size)]

    if info.type in INDEXED:
        key = _index
    pairs = list(islice(items(made.fd.fileno(), info), limit + 1))
    entries = tuple(Entry(key(k), decoded(v)) for k, v in pairs[:limit])
    return Contents(made.name, entries, len(pairs) > limit)


def _index(raw: bytes) -> int:
    return int.from_bytes(raw, sys.byteorder)


def _reader(btf: Btf | None, type_id: TypeId) -> Callable[[bytes], Value | bytes]:
    return Decoder(btf, type_id) if btf is not None and type_id else bytes
