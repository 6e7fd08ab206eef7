"""Maps of the simulated kernel, compared with the running kernel's."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.catalog.map_types import BY_TYPE
from lskel.replay.simulator.syscall.errnos import Errno
from tests.build.btf import BtfBuilder
from tests.simulator.worlds import (
    Field,
    Simulated,
    World,
    agree,
    create,
    delete,
    freeze,
    load_btf,
    lookup,
    next_key,
    u32,
    update,
)

NOEXIST, EXIST, LOCK = 1, 2, 4

# What each type needs: key size, value size, max_entries, flags.
GOOD: dict[MapType, tuple[int, int, int, int]] = {
    MapType.HASH: (4, 8, 4, 0),
    MapType.ARRAY: (4, 8, 4, 0),
    MapType.PROG_ARRAY: (4, 4, 4, 0),
    MapType.PERF_EVENT_ARRAY: (4, 4, 4, 0),
    MapType.PERCPU_HASH: (4, 8, 4, 0),
    MapType.PERCPU_ARRAY: (4, 8, 4, 0),
    MapType.STACK_TRACE: (4, 80, 4, 0),
    MapType.CGROUP_ARRAY: (4, 4, 4, 0),
    MapType.LRU_HASH: (4, 8, 4, 0),
    MapType.LRU_PERCPU_HASH: (4, 8, 4, 0),
    MapType.LPM_TRIE: (8, 8, 4, MapFlag.NO_PREALLOC),
    MapType.ARRAY_OF_MAPS: (4, 4, 4, 0),
    MapType.HASH_OF_MAPS: (4, 4, 4, 0),
    MapType.DEVMAP: (4, 4, 4, 0),
    MapType.SOCKMAP: (4, 4, 4, 0),
    MapType.CPUMAP: (4, 4, 2, 0),
    MapType.XSKMAP: (4, 4, 4, 0),
    MapType.SOCKHASH: (4, 4, 4, 0),
    MapType.CGROUP_STORAGE: (8, 8, 0, 0),
    MapType.REUSEPORT_SOCKARRAY: (4, 8, 4, 0),
    MapType.PERCPU_CGROUP_STORAGE: (8, 8, 0, 0),
    MapType.QUEUE: (0, 8, 4, 0),
    MapType.STACK: (0, 8, 4, 0),
    MapType.SK_STORAGE: (4, 8, 0, MapFlag.NO_PREALLOC),
    MapType.DEVMAP_HASH: (4, 4, 4, 0),
    MapType.RINGBUF: (0, 0, 4096, 0),
    MapType.INODE_STORAGE: (4, 8, 0, MapFlag.NO_PREALLOC),
    MapType.TASK_STORAGE: (4, 8, 0, MapFlag.NO_PREALLOC),
    MapType.BLOOM_FILTER: (0, 8, 4, 0),
    MapType.USER_RINGBUF: (0, 0, 4096, 0),
    MapType.CGRP_STORAGE: (4, 8, 0, MapFlag.NO_PREALLOC),
    MapType.ARENA: (0, 0, 1, MapFlag.MMAPABLE),
    MapType.INSN_ARRAY: (4, 16, 4, 0),
    MapType.RHASH: (4, 8, 4, MapFlag.NO_PREALLOC),
}
LOCAL_STORAGE = (
    MapType.SK_STORAGE,
    MapType.INODE_STORAGE,
    MapType.TASK_STORAGE,
    MapType.CGRP_STORAGE,
)
MAP_IN_MAP = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)

# Values to try for one field, the others being good.
VARIATIONS: dict[str, tuple[int, ...]] = {
    "key_size": (
        *(0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 20, 256, 260, 261, 512, 513, 4096),
        *((1 << 22) - 100, 1 << 22, 1 << 31),
    ),
    "value_size": (
        *(0, 1, 3, 4, 5, 7, 8, 12, 16, 32, 80, 1016, 1024, 32768, 32769, 65407, 65408, 65536),
        *((1 << 22) - 280, (1 << 22) - 279, (1 << 22) - 53, (1 << 22) - 52, 1 << 22),
        *((1 << 22) + 1, 1 << 31),
    ),
    "max_entries": (0, 1, 3, 5, 100, 4095, 4096, 4097, 8192, 12288, 1 << 20),
    "map_flags": (*(1 << bit for bit in range(16)), *(1 << bit for bit in range(17, 22))),
    "map_extra": (1, 15, 16, 1 << 20),
    "map_ifindex": (9999,),
    "inner_map_fd": (0, 9999),
    "btf_fd": (9999,),
    "btf_vmlinux_value_type_id": (1,),
    "value_type_btf_obj_fd": (1,),
    "numa_node": (1,),
    "excl_prog_hash_size": (1, 32),
    "excl_prog_hash": (1,),
}
NAMES = (b"abc", b"a.b_C9", b"a-b", b"a b", b"x" * 15, b"x" * 16)
# Read and write of an fd, of programs, of both; LRU lists for each CPU of a NUMA node.
FLAGS_TOGETHER = (0x18, 0x180, 0x404, 0x1400, 0x6)


def types(order: Any = sys.byteorder) -> bytes:
    """1: int, 2: u64, 3: struct of 8 bytes, 4: section of 8 bytes, 5: a function."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4, 1)
    wide = btf.add_int("long", 8, 1)
    btf.add_struct("pair", 8, [("a", number, 0), ("b", number, 32)])
    btf.add_datasec(".data", 8, [(btf.add_var("v", wide), 0, 8)])
    btf.add_func_proto(0)
    return btf.bytes(order)


TYPES = types()
INT, WIDE, PAIR = 1, 2, 3


def good(world: World, map_type: MapType) -> dict[str, Field]:
    """Fields with which a map of this type can be made."""
    key_size, value_size, max_entries, flags = GOOD[map_type]
    fields: dict[str, Field] = {
        "key_size": key_size,
        "value_size": value_size,
        "max_entries": max_entries,
        "map_flags": flags,
    }
    if map_type in MAP_IN_MAP:
        fields["inner_map_fd"] = create(world, MapType.ARRAY)
    if map_type in LOCAL_STORAGE:
        fields |= {
            "btf_fd": load_btf(world, TYPES),
            "btf_key_type_id": INT,
            "btf_value_type_id": WIDE,
        }
    return fields


def variations(map_type: MapType, base: Mapping[str, Field]) -> Iterator[dict[str, Field]]:
    for field, values in VARIATIONS.items():
        for value in values:
            if (
                map_type is MapType.CPUMAP
                and field == "max_entries"
                and 100 < value <= BY_TYPE[MapType.CPUMAP].entry_limit
            ):
                continue  # the running kernel's limit may be lower
            if field == "map_flags":
                flags = base["map_flags"]
                assert isinstance(flags, int)
                value ^= flags
            yield {field: value}
    for name in NAMES:
        yield {"map_name": name}
    for together in FLAGS_TOGETHER:
        yield {"map_flags": together}
    yield {"map_flags": MapFlag.NUMA_NODE, "numa_node": 1}
    yield {"map_flags": MapFlag.STACK_BUILD_ID, "value_size": 64}
    yield {"map_flags": MapFlag.MMAPABLE | MapFlag.SEGV_ON_FAULT}


def test_every_type_has_rules() -> None:
    assert BY_TYPE.keys() - GOOD.keys() == {MapType.STRUCT_OPS}
    assert set(MapType) - BY_TYPE.keys() == {MapType.UNSPEC}


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", GOOD, ids=lambda map_type: map_type.name)
def test_creation_like_the_kernels(map_type: MapType) -> None:
    def script(world: World) -> dict[str, int]:
        base = good(world, map_type)
        answers = {"good": create(world, map_type, **base)}
        for changed in variations(map_type, base):
            answers[repr(changed)] = create(world, map_type, **(base | changed))
        return answers

    agree(script, BY_TYPE[map_type].since)


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", GOOD, ids=lambda map_type: map_type.name)
def test_types_of_keys_and_values_like_the_kernels(map_type: MapType) -> None:
    def script(world: World) -> dict[str, int]:
        base = good(world, map_type)
        base["btf_fd"] = load_btf(world, TYPES)
        answers = {}
        for entries in (GOOD[map_type][2], 1):
            for key in (0, INT, WIDE, PAIR, 6, 99):
                for value in (0, INT, WIDE, PAIR, 5, 6, 99):
                    fields = base | {
                        "max_entries": entries,
                        "btf_key_type_id": key,
                        "btf_value_type_id": value,
                    }
                    name = f"max_entries {entries}, key type {key}, value type {value}"
                    answers[name] = create(world, map_type, **fields)
        return answers

    agree(script, BY_TYPE[map_type].since)


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", [0, 99, (1 << 32) - 1])
def test_unknown_types_like_the_kernels(map_type: int) -> None:
    agree(lambda world: create(world, map_type))


STRUCT_OPS_FIELDS: tuple[dict[str, Field], ...] = (
    {},
    {"btf_vmlinux_value_type_id": 1},
    {"btf_vmlinux_value_type_id": 1, "max_entries": 2},
    {"btf_vmlinux_value_type_id": 1, "map_flags": 1},
    {"btf_vmlinux_value_type_id": 1, "key_size": 8},
    {"btf_vmlinux_value_type_id": 1, "btf_key_type_id": 1},
)


@pytest.mark.parametrize("fields", STRUCT_OPS_FIELDS, ids=repr)
def test_struct_ops_of_unknown_names(fields: dict[str, Field]) -> None:
    """Where any name is known, any struct_ops of the right shape is."""
    world = Simulated()
    base: dict[str, Field] = {"max_entries": 1, "btf_fd": load_btf(world, TYPES)}
    fd = create(world, MapType.STRUCT_OPS, **(base | fields))
    assert (fd > 0) == (fields == {"btf_vmlinux_value_type_id": 1})


# -- elements ---------------------------------------------------------------------------------

# Types with elements that user space can write without sockets, events, cgroups or devices.
PLAIN = (
    MapType.HASH,
    MapType.ARRAY,
    MapType.PERCPU_HASH,
    MapType.PERCPU_ARRAY,
    MapType.LRU_HASH,
    MapType.LRU_PERCPU_HASH,
    MapType.LPM_TRIE,
    MapType.QUEUE,
    MapType.STACK,
    MapType.BLOOM_FILTER,
    MapType.RHASH,
)


def key_of(map_type: MapType, number: int) -> bytes:
    """A key of the size that `GOOD` gives the type."""
    size = GOOD[map_type][0]
    if map_type is MapType.LPM_TRIE:
        return u32(8) + bytes((number, 0, 0, 0))
    return number.to_bytes(size, sys.byteorder) if size else b""


def value_of(number: int) -> bytes:
    return bytes((number,)) * 4096


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", PLAIN, ids=lambda map_type: map_type.name)
def test_elements_like_the_kernels(map_type: MapType) -> None:
    def script(world: World) -> list[Any]:
        fd = create(world, map_type, **good(world, map_type))

        def key(number: int) -> bytes:
            return key_of(map_type, number)

        answers: list[Any] = []
        for flags in (0, NOEXIST, EXIST, NOEXIST | EXIST, LOCK, 8, 1 << 33):
            for number in (0, 0, 1, 200):
                answers.append(update(world, fd, key(number), value_of(number), flags))
        for number in (0, 1, 2, 200):
            answers.append(lookup(world, fd, key(number)))
        answers.append(lookup(world, fd, key(0), flags=NOEXIST))
        answers.append(lookup(world, fd, key(0), flags=LOCK))
        for number in (0, 0, 3, 200):
            answers.append(delete(world, fd, key(number)))
            answers.append(lookup(world, fd, key(number)))
        answers += [freeze(world, fd), freeze(world, fd)]
        answers += [
            update(world, fd, key(1), value_of(1)),
            delete(world, fd, key(1)),
            lookup(world, fd, key(1)),
        ]
        return answers

    agree(script, BY_TYPE[map_type].since)


@pytest.mark.kernel
def test_instructions_like_the_kernels() -> None:
    """Only the first number of a value can be set, of elements that exist, before it is frozen."""

    def script(world: World) -> list[Any]:
        fd = create(world, MapType.INSN_ARRAY, **good(world, MapType.INSN_ARRAY))
        values = [bytes(at) + u32(7) + bytes(12 - at) for at in range(0, 16, 4)]
        answers: list[Any] = [
            update(world, fd, u32(index), value, flags)
            for flags in (0, EXIST, NOEXIST)
            for index, value in itertools.product((0, 3, 4), values)
        ]
        answers += [lookup(world, fd, u32(index), 16) for index in (0, 1, 3, 4)]
        answers += [delete(world, fd, u32(0)), delete(world, fd, u32(4))]
        answers += [next_key(world, fd, key) for key in (None, u32(0), u32(3), u32(9))]
        return [*answers, freeze(world, fd), update(world, fd, u32(0), values[0])]

    agree(script, BY_TYPE[MapType.INSN_ARRAY].since)


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", GOOD, ids=lambda map_type: map_type.name)
def test_frozen_like_the_kernels(map_type: MapType) -> None:
    def script(world: World) -> list[Any]:
        fd = create(world, map_type, **good(world, map_type))
        key = key_of(map_type, 0)
        return [
            freeze(world, fd),
            freeze(world, fd),
            update(world, fd, key, value_of(0)),
            delete(world, fd, key),
        ]

    agree(script, BY_TYPE[map_type].since)


# Values that are fds, devices, ...: 0 and 9999 are none.
@pytest.mark.kernel
@pytest.mark.parametrize(
    "map_type",
    [
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
        MapType.STACK_TRACE,
        MapType.CGROUP_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.SOCKMAP,
        MapType.RINGBUF,
        MapType.USER_RINGBUF,
        MapType.ARENA,
    ],
    ids=lambda map_type: map_type.name,
)
def test_values_that_are_refused_like_the_kernels(map_type: MapType) -> None:
    def script(world: World) -> list[Any]:
        fd = create(world, map_type, **good(world, map_type))
        key, size = key_of(map_type, 1), GOOD[map_type][0]
        answers: list[Any] = [
            update(world, fd, key, u32(value) + bytes(4096), flags)
            for value in (9999, fd)
            for flags in (0, NOEXIST, EXIST, 3, LOCK, 8)
        ]
        answers += [lookup(world, fd, key), delete(world, fd, key)]
        answers += [next_key(world, fd, None, size), lookup(world, fd, key, flags=LOCK)]
        return answers

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", [MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.CPUMAP])
def test_devices_like_the_kernels(map_type: MapType) -> None:
    """Device 1 is lo; 0 is none. For CPUs these are lengths of queues."""

    def script(world: World) -> list[Any]:
        fd = create(world, map_type, **good(world, map_type))
        answers: list[Any] = []
        for value in (0, 1, 99999):
            for key in (u32(0), u32(200)):
                for flags in (0, NOEXIST, EXIST, 3):
                    answers.append(update(world, fd, key, u32(value) + bytes(4), flags))
                answers += [lookup(world, fd, key), delete(world, fd, key), delete(world, fd, key)]
        return answers

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("map_type", "flags"),
    [
        (MapType.HASH, MapFlag.RDONLY),
        (MapType.HASH, MapFlag.WRONLY),
        (MapType.ARRAY, MapFlag.RDONLY),
        (MapType.ARRAY, MapFlag.WRONLY),
    ],
)
def test_access_like_the_kernels(map_type: MapType, flags: int) -> None:
    def script(world: World) -> list[Any]:
        fd = create(world, map_type, map_flags=flags)
        return [
            update(world, fd, u32(0), value_of(1)),
            lookup(world, fd, u32(0)),
            next_key(world, fd, None),
            delete(world, fd, u32(0)),
            freeze(world, fd),
            lookup(world, fd, u32(0)),
        ]

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", [MapType.HASH, MapType.ARRAY, MapType.QUEUE])
def test_bad_pointers_like_the_kernels(map_type: MapType) -> None:
    def script(world: World) -> list[Any]:
        fd = create(world, map_type, **good(world, map_type))
        key = key_of(map_type, 0)
        return [
            update(world, fd, b"", value_of(0)),
            update(world, fd, key, b""),
            lookup(world, fd, b""),
            lookup(world, fd, key, 0),
            delete(world, fd, b""),
            update(world, fd, u32(1), value_of(0)),
            next_key(world, fd, None, 0),
            next_key(world, fd, u32(0)),
        ]

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", [MapType.HASH, MapType.PERCPU_HASH, MapType.HASH_OF_MAPS])
@pytest.mark.parametrize("flags", [0, MapFlag.NO_PREALLOC])
def test_full_hash_like_the_kernels(map_type: MapType, flags: int) -> None:
    def script(world: World) -> list[Any]:
        fields = good(world, map_type) | {"map_flags": flags, "max_entries": 2}
        fd = create(world, map_type, **fields)
        inner = fields.get("inner_map_fd", 7)
        assert isinstance(inner, int)
        value = u32(inner) + bytes(4096)
        return [update(world, fd, u32(number), value) for number in (1, 2, 3, 2, 1)]

    agree(script)


@pytest.mark.kernel
def test_walks_like_the_kernels() -> None:
    def script(world: World) -> list[Any]:
        array = create(world, MapType.ARRAY)
        one = create(world, MapType.HASH)
        update(world, one, u32(5), value_of(1))
        return [
            *(next_key(world, array, key) for key in (None, u32(0), u32(1), u32(7))),
            *(next_key(world, one, key) for key in (None, u32(5), u32(7))),
        ]

    agree(script)


@pytest.mark.kernel
def test_walk_of_a_hash() -> None:
    """The kernel's order is by hash: compared are the keys, and that each comes once."""

    def script(world: World) -> Any:
        fd = create(world, MapType.HASH, max_entries=100)
        for number in range(50):
            update(world, fd, u32(number), value_of(number))
        keys = []
        key = next_key(world, fd, None)
        while isinstance(key, bytes):
            keys.append(key)
            key = next_key(world, fd, key)
        return [*(key.hex() for key in sorted(keys)), key]

    agree(script)


PREFIXES = ((0, "0.0.0.0"), (8, "10.0.0.0"), (16, "10.1.0.0"), (24, "10.1.2.0"), (24, "10.1.9.0"))


def prefix(length: int, address: str) -> bytes:
    return u32(length) + bytes(int(part) for part in address.split("."))


@pytest.mark.kernel
def test_trie_like_the_kernels() -> None:
    def script(world: World) -> list[Any]:
        fields = good(world, MapType.LPM_TRIE) | {"max_entries": 5}
        fd = create(world, MapType.LPM_TRIE, **fields)
        answers: list[Any] = []
        for number, (length, address) in enumerate(PREFIXES):
            answers.append(update(world, fd, prefix(length, address), value_of(number)))
        answers.append(update(world, fd, prefix(32, "1.2.3.4"), value_of(9)))
        answers.append(update(world, fd, prefix(33, "1.2.3.4"), value_of(9)))
        answers.append(update(world, fd, prefix(8, "10.9.9.9"), value_of(7), EXIST))
        for address in ("10.1.2.3", "10.1.3.3", "10.2.2.2", "11.0.0.0"):
            answers.append(lookup(world, fd, prefix(32, address)))
        answers.append(lookup(world, fd, prefix(33, "10.1.2.3")))
        answers.append(lookup(world, fd, prefix(12, "10.1.2.3")))
        key = next_key(world, fd, None, 8)
        while isinstance(key, bytes):
            answers.append(key)
            key = next_key(world, fd, key, 8)
        answers += [key, delete(world, fd, prefix(16, "10.1.0.0"))]
        answers += [
            delete(world, fd, prefix(16, "10.1.0.0")),
            delete(world, fd, prefix(40, "10.1.0.0")),
        ]
        return answers

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", [MapType.QUEUE, MapType.STACK])
def test_queues_like_the_kernels(map_type: MapType) -> None:
    def script(world: World) -> list[Any]:
        fd = create(world, map_type, key_size=0)
        answers: list[Any] = [lookup(world, fd, b"")]
        for number, flags in ((1, 0), (2, 0), (3, 0), (4, EXIST)):
            answers += [update(world, fd, b"", value_of(number), flags), lookup(world, fd, b"")]
        return answers

    agree(script)


# -- maps of maps ---------------------------------------------------------------------------------

INNER: tuple[tuple[MapType, dict[str, Field]], ...] = (
    (MapType.ARRAY, {}),
    (MapType.ARRAY, {"max_entries": 3}),
    (MapType.ARRAY, {"value_size": 4}),
    (MapType.ARRAY, {"map_flags": MapFlag.MMAPABLE}),
    (MapType.ARRAY, {"map_flags": MapFlag.INNER_MAP}),
    (MapType.ARRAY, {"map_flags": MapFlag.INNER_MAP, "max_entries": 3}),
    (MapType.HASH, {}),
    (MapType.HASH, {"max_entries": 3}),
    (MapType.HASH, {"key_size": 8}),
    (MapType.LRU_HASH, {}),
)


@pytest.mark.kernel
@pytest.mark.parametrize("outer_type", MAP_IN_MAP)
@pytest.mark.parametrize("template", INNER, ids=repr)
def test_inner_maps_like_the_kernels(
    outer_type: MapType, template: tuple[MapType, dict[str, Field]]
) -> None:
    def script(world: World) -> list[int]:
        fd = create(world, template[0], **template[1])
        outer = create(world, outer_type, value_size=4, inner_map_fd=fd)
        return [
            update(world, outer, u32(0), u32(create(world, inner, **fields)))
            for inner, fields in INNER
        ]

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize("outer_type", MAP_IN_MAP)
@pytest.mark.parametrize("map_type", GOOD, ids=lambda map_type: map_type.name)
def test_templates_like_the_kernels(outer_type: MapType, map_type: MapType) -> None:
    def script(world: World) -> int:
        inner = create(world, map_type, **good(world, map_type))
        return create(world, outer_type, value_size=4, inner_map_fd=inner)

    agree(script, BY_TYPE[map_type].since)


def test_inner_maps_stay_when_their_fds_are_closed() -> None:
    world = Simulated()
    inner = create(world, MapType.ARRAY)
    outer = create(world, MapType.ARRAY_OF_MAPS, value_size=4, inner_map_fd=inner)
    assert update(world, outer, u32(1), u32(inner)) == 0
    assert world.kernel.close(inner) == 0
    # User space sees the inner map's id.
    assert lookup(world, outer, u32(1), 4) == u32(1)
    assert lookup(world, outer, u32(0), 4) == -Errno.ENOENT


def test_lru_makes_room_by_dropping_the_oldest() -> None:
    world = Simulated()
    fd = create(world, MapType.LRU_HASH)
    assert [update(world, fd, u32(number), value_of(1)) for number in (1, 2, 3)] == [0, 0, 0]
    assert lookup(world, fd, u32(1)) == -Errno.ENOENT
    assert lookup(world, fd, u32(3), 8) == value_of(1)[:8]


def test_huge_maps_cost_nothing() -> None:
    world = Simulated()
    fd = create(world, MapType.ARRAY, max_entries=(1 << 32) - 1, value_size=1 << 20)
    assert lookup(world, fd, u32(1 << 31), 1 << 20) == bytes(1 << 20)
