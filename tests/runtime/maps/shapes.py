"""Maps of every shape, made on the running kernel for a test, and what bpftool sees in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lskel.bpf.enums import MapType
from lskel.runtime.info import map_info
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.kinds import map_class
from lskel.runtime.objects import Fd
from lskel.runtime.values import Struct, layout, text, u16, u32, u64
from tests.conftest import Run
from tests.runtime.programs import create_map

NAME = "lskel_test"
NO_PREALLOC = 1


@layout(16, ("pid", u32, 0), ("cpu", u16, 4), ("start", u64, 8))
class Task(Struct):
    """A key or value with a gap."""

    pid: int
    cpu: int
    start: int


@layout(24, ("count", u64, 0), ("comm", text(16), 8))
class Stats(Struct):
    """A value."""

    count: int
    comm: bytes


@contextmanager
def new(
    map_type: MapType, sizes: tuple[int, int], entries: int, *types: Any, flags: int = 0
) -> Iterator[Any]:
    """A new map as the class of its type: sizes of key and value, max_entries, types."""
    definition = MapDefinition(NAME, map_type, *sizes, entries, flags)
    made: Any = map_class(map_type)(definition, *types)
    made.bind(create_map(map_type, *sizes, entries, flags=flags))
    try:
        yield made
    finally:
        made.close()


def octets(texts: list[str]) -> bytes:
    """The bytes that bpftool writes as ["0x01", ...]."""
    return bytes(int(text, 16) for text in texts)


def dumped(run: Run, made: Any) -> dict[bytes, Any]:
    """All of a map as bpftool sees it: bytes, or a list of bytes by CPU."""
    found = json.loads(run("bpftool", "-j", "map", "dump", "id", made.info().id))
    return {
        octets(entry["key"]): octets(entry["value"])
        if "value" in entry
        else [octets(cpu["value"]) for cpu in entry["values"]]
        for entry in found
        if "error" not in entry.get("value", ())
    }


def map_id(fd: Fd) -> int:
    """The kernel's id of a map."""
    return map_info(fd.fileno()).id
