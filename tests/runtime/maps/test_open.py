"""Opening maps that exist."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from lskel.bpf.enums import MapType
from lskel.errors import UsageError
from lskel.runtime.info import map_info
from lskel.runtime.maps.array import ArrayMap
from lskel.runtime.maps.bloom import BloomFilter
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.percpu import PerCpuArray, PerCpuHash
from lskel.runtime.maps.programs import ProgArray
from lskel.runtime.maps.queue import Queue
from lskel.runtime.maps.trie import LpmTrie
from lskel.runtime.maps.typed import TypedMap
from lskel.runtime.syscall import BpfError
from lskel.runtime.values import raw, u8, u32, u64
from tests.runtime.maps.made import NO_PREALLOC, Flow, Traffic, made
from tests.runtime.programs import create_map

pytestmark = pytest.mark.kernel

KINDS: list[Any] = [
    (HashMap, MapType.HASH, (12, 16, 10), (Flow, Traffic), 0),
    (HashMap, MapType.LRU_HASH, (4, 8, 10), (u32, u64), 0),
    (PerCpuHash, MapType.PERCPU_HASH, (4, 13, 10), (u32, raw(13)), 0),
    (ArrayMap, MapType.ARRAY, (4, 16, 10), (Traffic,), 1 << 10),
    (PerCpuArray, MapType.PERCPU_ARRAY, (4, 4, 10), (u32,), 0),
    (LpmTrie, MapType.LPM_TRIE, (8, 1, 10), (raw(8), u8), NO_PREALLOC),
    (Queue, MapType.QUEUE, (0, 4, 10), (u32,), 0),
    (BloomFilter, MapType.BLOOM_FILTER, (0, 8, 10), (u64,), 0),
    (ProgArray, MapType.PROG_ARRAY, (4, 4, 10), (), 0),
]


@pytest.mark.parametrize(("cls", "map_type", "sizes", "types", "flags"), KINDS)
def test_by_id_and_by_pin(
    cls: type[TypedMap[Any]],
    map_type: MapType,
    sizes: tuple[int, int, int],
    types: Any,
    flags: int,
    bpffs: Path,
) -> None:
    with made(cls, map_type, sizes, *types, flags=flags) as first:
        pin = bpffs / "pinned"
        first.pin(pin)
        for where in (pin, str(pin), first.info().id):
            again = cls.open(where, *types)
            assert again.info() == first.info()
            assert again.name == "lskel_test"
            assert again.max_entries == 10
            assert again.definition.flags & flags == flags
            assert again.fileno() != first.fileno()
            again.close()
        first.unpin(pin)
        with pytest.raises(BpfError, match=r"pinned.*ENOENT"):
            cls.open(pin, *types)


def test_the_elements_are_the_same() -> None:
    with made(HashMap, MapType.HASH, (12, 16, 10), Flow, Traffic) as first:
        second: Any = HashMap.open(first.info().id, Flow, Traffic)
        second[1, 2, 3] = (4, 5)
        assert first == second == {Flow(1, 2, 3): Traffic(4, 5)}
        first.close()
        assert second[1, 2, 3].packets == 4
        second.close()


@pytest.mark.parametrize(
    ("cls", "types", "message"),
    [
        (HashMap, (u64, u64), "its keys have 4 bytes, expected 8"),
        (HashMap, (u32, u32), "its values have 8 bytes, expected 4"),
        (HashMap, (u32, Traffic), "its values have 8 bytes, expected 16"),
        (PerCpuHash, (u32, Traffic), "its values have 8 bytes, expected"),
        (Queue, (u64,), "is of type hash, which Queue does not support"),
    ],
)
def test_other_maps(cls: type[TypedMap[Any]], types: Any, message: str) -> None:
    with (
        create_map(MapType.HASH, 4, 8, 1) as fd,
        pytest.raises(UsageError, match=f"^map 'lskel_test'.*{message}"),
    ):
        cls.open(map_info(fd.fileno()).id, *types)


def test_no_such_map() -> None:
    with pytest.raises(BpfError) as raised:
        HashMap.open((1 << 32) - 1, u32, u32)
    assert raised.value.errno == errno.ENOENT


def test_an_fd_that_is_given_is_owned() -> None:
    fd = create_map(MapType.HASH, 4, 8, 1)
    owner: HashMap[int, int] = HashMap.of(fd, u32, u64)
    owner[1] = 2
    owner.close()
    assert fd.closed
