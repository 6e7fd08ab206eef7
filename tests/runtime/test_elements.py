"""Maps as bytes, compared with what bpftool dumps."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from lskel.bpf.enums import Cmd, MapType
from lskel.bpf.layouts import MAP_ELEM
from lskel.catalog.map_types import PER_CPU
from lskel.errors import LskelError
from lskel.runtime import elements, one_element
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.elements import (
    chunks,
    delete_batch,
    items,
    join_percpu,
    lookup_batch,
    lookup_percpu,
    percpu_size,
    split_percpu,
    stored_size,
    update_batch,
    update_percpu,
)
from lskel.runtime.info import map_info
from lskel.runtime.objects import Fd
from lskel.runtime.one_element import delete, freeze, lookup, lookup_and_delete, next_key, update
from lskel.runtime.syscall import ENOTSUPP, BpfError, address_of, bpf, host_attr
from tests.conftest import Run
from tests.runtime.programs import create_map

if TYPE_CHECKING:
    from lskel.runtime.objects import Bpf

BPF_NOEXIST, BPF_EXIST, BPF_F_NO_PREALLOC = 1, 2, 1
EVERY_BATCH_TYPE = sorted(elements._BATCH_TYPES)


def u32(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def entries(fd: Fd, bpf: Bpf = bpf) -> dict[bytes, bytes]:
    """All of the map; no key may come twice."""
    found = list(items(fd.fileno(), map_info(fd.fileno()), bpf=bpf))
    assert len(dict(found)) == len(found)
    return dict(found)


def dumped(run: Run, fd: Fd) -> dict[bytes, Any]:
    """All of the map as bpftool sees it: the bytes, or a list of bytes by CPU."""

    def octets(texts: list[str]) -> bytes:
        return bytes(int(text, 16) for text in texts)

    text = run("bpftool", "-j", "map", "dump", "id", map_info(fd.fileno()).id)
    return {
        octets(entry["key"]): octets(entry["value"])
        if "value" in entry
        else [octets(cpu["value"]) for cpu in entry["values"]]
        for entry in json.loads(text)
    }


@pytest.fixture
def hash_map() -> Iterator[Fd]:
    with create_map(MapType.HASH, 4, 6, 1000) as fd:
        yield fd


def test_the_attr_of_an_element_is_as_the_layout_says() -> None:
    key = b"key!"
    expected = host_attr(MAP_ELEM, "flags", map_fd=7, key=address_of(key), value=9, flags=4)
    assert one_element._elem(7, key, 9, 4) == expected
    assert MAP_ELEM["next_key"] == MAP_ELEM["value"]


@pytest.mark.kernel
def test_elements(hash_map: Fd, run: Run) -> None:
    fd = hash_map.fileno()
    assert lookup(fd, u32(1), 6) is None
    update(fd, u32(1), b"first!")
    update(fd, u32(2), b"second", BPF_NOEXIST)
    update(fd, u32(1), b"FIRST!", BPF_EXIST)
    with pytest.raises(BpfError) as raised:
        update(fd, u32(1), b"again!", BPF_NOEXIST)
    assert raised.value.errno == errno.EEXIST
    assert lookup(fd, u32(1), 6) == b"FIRST!"
    assert dumped(run, hash_map) == {u32(1): b"FIRST!", u32(2): b"second"} == entries(hash_map)
    assert delete(fd, u32(1))
    assert not delete(fd, u32(1))
    assert dumped(run, hash_map) == {u32(2): b"second"}


@pytest.mark.kernel
def test_other_refusals_are_errors(hash_map: Fd) -> None:
    fd = hash_map.fileno()
    for call in (
        lambda: lookup(fd, b"", 6),
        lambda: lookup_and_delete(fd, b"", 6),
        lambda: delete(fd, b""),
        lambda: next_key(1 << 20, None, 4),
    ):
        with pytest.raises(BpfError):
            call()


@pytest.mark.kernel
def test_keys_in_turn(hash_map: Fd) -> None:
    fd = hash_map.fileno()
    assert next_key(fd, None, 4) is None
    for number in range(3):
        update(fd, u32(number), b"value!")
    first = next_key(fd, None, 4)
    assert next_key(fd, u32(99), 4) == first
    found = []
    key = first
    while key is not None:
        found.append(key)
        key = next_key(fd, key, 4)
    assert sorted(found) == [u32(number) for number in range(3)]


@pytest.mark.kernel
def test_a_queue() -> None:
    with create_map(MapType.QUEUE, 0, 4, 10) as queue:
        for number in range(3):
            update(queue.fileno(), b"", u32(number))
        assert lookup(queue.fileno(), b"", 4) == u32(0)
        taken = [lookup_and_delete(queue.fileno(), b"", 4) for _ in range(4)]
    assert taken == [u32(0), u32(1), u32(2), None]


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", EVERY_BATCH_TYPE)
@pytest.mark.parametrize("count", [0, 1, 3, 700])
def test_items_agree_with_bpftool(map_type: MapType, count: int, run: Run) -> None:
    value_size = 5
    with create_map(map_type, 4, value_size, max(count, 1)) as fd:
        info = map_info(fd.fileno())
        for number in range(count):
            value = number.to_bytes(stored_size(info), sys.byteorder)
            update(fd.fileno(), u32(number), value)
        found = entries(fd)
        expected = dumped(run, fd)
    if map_type in PER_CPU:
        split = {key: list(split_percpu(value, value_size)) for key, value in found.items()}
        assert split == expected
    else:
        assert found == expected
    # The LRU kinds evict before they are full; arrays have all their elements always.
    if map_type in (MapType.HASH, MapType.PERCPU_HASH):
        assert len(found) == count
    assert count == 0 or found


def lpm(number: int) -> bytes:
    """The key of a full-length prefix."""
    return u32(32) + number.to_bytes(4, "big")


@pytest.mark.kernel
def test_a_trie_is_walked(run: Run) -> None:
    with create_map(MapType.LPM_TRIE, 8, 4, 300, flags=BPF_F_NO_PREALLOC) as fd:
        assert entries(fd) == {}
        for number in range(300):
            update(fd.fileno(), lpm(number), u32(number))
        assert entries(fd) == dumped(run, fd) == {lpm(n): u32(n) for n in range(300)}


@pytest.mark.kernel
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP])
def test_a_kernel_without_batches(hash_map: Fd, number: int) -> None:
    for key in range(500):
        update(hash_map.fileno(), u32(key), b"value!")
    with_batches = entries(hash_map)
    kernel, refused = without_batches(number)
    assert entries(hash_map, kernel) == with_batches
    assert refused == [Cmd.MAP_LOOKUP_BATCH]


@pytest.mark.kernel
def test_other_refusals_of_batches_are_errors(hash_map: Fd) -> None:
    kernel, _ = without_batches(errno.EPERM)
    with pytest.raises(BpfError):
        entries(hash_map, kernel)


def without_batches(number: int) -> tuple[Bpf, list[int]]:
    """A kernel that refuses batches; the list tells which it refused."""
    refused: list[int] = []

    def old_kernel(cmd: int, attr: bytearray) -> int:
        if cmd == Cmd.MAP_LOOKUP_BATCH:
            refused.append(cmd)
            raise BpfError(cmd, number)
        return bpf(cmd, attr)

    return old_kernel, refused


@pytest.mark.kernel
def test_the_caller_may_delete_as_it_goes(hash_map: Fd) -> None:
    with create_map(MapType.LPM_TRIE, 8, 4, 300, flags=BPF_F_NO_PREALLOC) as trie:
        for number in range(300):
            update(trie.fileno(), lpm(number), u32(number))
            update(hash_map.fileno(), u32(number), b"value!")
        for fd in (hash_map.fileno(), trie.fileno()):
            seen = []
            for key, _ in items(fd, map_info(fd)):
                assert delete(fd, key)
                seen.append(key)
            assert len(seen) == len(set(seen)) == 300
            assert next_key(fd, None, map_info(fd).key_size) is None


@pytest.mark.kernel
def test_others_delete_the_key_that_a_walk_has_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel starts again then; nothing comes twice, and what stays all comes."""

    def meddling(fd: int, key: bytes | None, key_size: int, *, bpf: Bpf) -> bytes | None:
        if key in doomed:
            delete(fd, key)
        return real(fd, key, key_size, bpf=bpf)

    doomed = {u32(number) for number in range(0, 100, 3)}
    real = one_element.next_key
    monkeypatch.setattr(elements, "next_key", meddling)
    with create_map(MapType.HASH, 4, 4, 100) as fd:
        for number in range(100):
            update(fd.fileno(), u32(number), u32(number))
        found = [key for key, _ in elements._walk(fd.fileno(), 4, 4, bpf)]
    assert len(found) == len(set(found))
    assert {u32(number) for number in range(100)} - doomed <= set(found)


def test_a_map_that_never_holds_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "next_key", lambda *_, **__: b"same")
    monkeypatch.setattr(elements, "lookup", lambda *_, **__: b"value")
    with pytest.raises(LskelError, match="changes faster"):
        list(elements._walk(0, 4, 4, bpf))


@pytest.mark.kernel
@pytest.mark.parametrize("count", [1, 2, 7, 1000, 5000])
def test_batches_of_any_size(hash_map: Fd, count: int) -> None:
    """A bucket that holds more than fits makes the batch grow."""
    for number in range(1000):
        update(hash_map.fileno(), u32(number), b"value!")
    batches = list(lookup_batch(hash_map.fileno(), 4, 6, count))
    keys = [key for batch in batches for key, _ in batch]
    assert sorted(keys) == sorted(u32(number) for number in range(1000))
    assert all(value == b"value!" for batch in batches for _, value in batch)


@pytest.mark.kernel
def test_batches_of_a_map_that_has_none() -> None:
    with create_map(MapType.QUEUE, 0, 4, 10) as queue, pytest.raises(BpfError) as raised:
        list(lookup_batch(queue.fileno(), 0, 4, 10))
    assert raised.value.errno in (ENOTSUPP, errno.EINVAL, errno.EOPNOTSUPP)


@pytest.mark.kernel
@pytest.mark.parametrize("number", [errno.EBUSY, errno.EINTR])
def test_a_batch_that_is_cut_short_goes_on(hash_map: Fd, number: int) -> None:
    for key in range(100):
        update(hash_map.fileno(), u32(key), b"value!")
    interruptions = iter(range(5))

    def busy_kernel(cmd: int, attr: bytearray) -> int:
        result = bpf(cmd, attr)
        if next(interruptions, None) is not None:
            raise BpfError(cmd, number)
        return result

    batches = lookup_batch(hash_map.fileno(), 4, 6, 10, bpf=busy_kernel)
    keys = [key for batch in batches for key, _ in batch]
    assert sorted(keys) == [u32(key) for key in range(100)]
    assert next(interruptions, None) is None


@pytest.mark.kernel
def test_a_frozen_map_can_only_be_read(hash_map: Fd, run: Run) -> None:
    fd = hash_map.fileno()
    update(fd, u32(1), b"frozen")
    freeze(fd)
    with pytest.raises(BpfError) as raised:
        update(fd, u32(1), b"change")
    assert raised.value.errno == errno.EPERM
    assert lookup(fd, u32(1), 6) == b"frozen"
    shown = json.loads(run("bpftool", "-j", "map", "show", "id", map_info(fd).id))
    assert shown["frozen"] == 1


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", [MapType.PERCPU_HASH, MapType.PERCPU_ARRAY])
@pytest.mark.parametrize("value_size", [1, 8, 13])
def test_values_of_each_cpu(map_type: MapType, value_size: int, run: Run) -> None:
    values = tuple(bytes([cpu + 1] * value_size) for cpu in range(len(possible_cpus())))
    with create_map(map_type, 4, value_size, 2) as fd:
        update_percpu(fd.fileno(), u32(0), values)
        assert lookup_percpu(fd.fileno(), u32(0), value_size) == values
        assert lookup_percpu(fd.fileno(), u32(9), value_size) is None
        assert dumped(run, fd)[u32(0)] == list(values)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no list of CPUs")
def test_layout_of_percpu_values() -> None:
    cpus = len(possible_cpus())
    assert (percpu_size(1), percpu_size(8), percpu_size(9)) == (8 * cpus, 8 * cpus, 16 * cpus)
    values = tuple(bytes([cpu] * 3) for cpu in range(cpus))
    assert split_percpu(join_percpu(values), 3) == values
    for wrong in (values[1:], (*values, b"abc"), (*values[1:], b"longer")):
        with pytest.raises(ValueError, match="one for each possible CPU"):
            join_percpu(wrong)


@pytest.mark.kernel
def test_a_trie_that_loses_keys_while_it_is_read() -> None:
    """The kernel starts again from the first key then: nothing comes twice, what stays comes."""
    count = 100_000  # more than one batch
    with create_map(MapType.LPM_TRIE, 8, 8, count, flags=BPF_F_NO_PREALLOC) as trie:
        fd, info = trie.fileno(), map_info(trie.fileno())
        keys = [u32(32) + number.to_bytes(4, "big") for number in range(count)]
        update_batch(fd, info, b"".join(keys), b"".join(key[::-1] for key in keys))
        found = []
        for some, _, size in chunks(fd, info):
            found += [bytes(some[at : at + 8]) for at in range(0, 8 * size, 8)]
            delete(fd, found[-1])
        assert sorted(found) == keys


@pytest.mark.kernel
def test_batches_that_write(hash_map: Fd, run: Run) -> None:
    fd, info = hash_map.fileno(), map_info(hash_map.fileno())
    keys = [u32(number) for number in range(10)]
    update_batch(fd, info, b"".join(keys), b"value!" * 10)
    assert dumped(run, hash_map) == dict.fromkeys(keys, b"value!")
    missing = [u32(77), *keys[:3], u32(78), u32(79), keys[4], u32(80)]
    assert delete_batch(fd, info, b"".join(missing)) == 4
    assert dumped(run, hash_map) == dict.fromkeys([keys[3], *keys[5:]], b"value!")
    assert delete_batch(fd, info, b"") == 0


@pytest.mark.kernel
@pytest.mark.parametrize("map_type", [MapType.HASH, MapType.LPM_TRIE])
def test_what_is_taken_is_gone(map_type: MapType) -> None:
    with create_map(map_type, 8, 8, 100, flags=BPF_F_NO_PREALLOC) as fd:
        info = map_info(fd.fileno())
        keys = [u32(32) + u32(number) for number in range(100)]
        update_batch(fd.fileno(), info, b"".join(keys), b"".join(keys))
        taken = [
            bytes(some[at : at + 8])
            for some, _, size in chunks(fd.fileno(), info, take=True)
            for at in range(0, 8 * size, 8)
        ]
        assert sorted(taken) == sorted(keys)
        assert next_key(fd.fileno(), None, 8) is None
