"""Maps made for a test, and what bpftool says is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from lskel.bpf.enums import MapType
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.values import Struct, layout, u32, u64
from tests.conftest import Run
from tests.runtime.programs import create_map

M = TypeVar("M", bound=Map)

NO_PREALLOC = 1


@layout(12, ("port", u32, 0), ("address", u32, 4), ("zone", u32, 8))
class Flow(Struct):
    """A key."""

    port: int
    address: int
    zone: int


@layout(16, ("packets", u64, 0), ("bytes", u64, 8))
class Traffic(Struct):
    """A value."""

    packets: int
    bytes: int


@contextmanager
def made(
    cls: type[M],
    map_type: MapType,
    sizes: tuple[int, int, int],
    *types: Any,
    flags: int = 0,
) -> Iterator[M]:
    """A new map of (key size, value size, entries), made with the types that its class wants."""
    new = cls(MapDefinition("counts", map_type, *sizes, flags), *types)
    new.bind(create_map(map_type, *sizes, flags=flags))
    try:
        yield new
    finally:
        new.close()


def octets(texts: list[str]) -> bytes:
    """Bytes that bpftool prints as ["0x01", "0x02"]."""
    return bytes(int(text, 16) for text in texts)


def dumped(run: Run, number: int) -> dict[bytes, Any]:
    """All of a map, by its id, as bpftool sees it: the bytes, or a list of bytes by CPU.

    It shows elements that are empty as errors.
    """
    return {
        octets(entry["key"]): octets(entry["value"])
        if "value" in entry
        else [octets(cpu["value"]) for cpu in entry["values"]]
        for entry in json.loads(run("bpftool", "-j", "map", "dump", "id", number))
        if "error" not in entry.get("value", ())
    }
