"""Hashes do what dicts do, and bpftool sees it."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lskel.bpf.enums import Cmd, MapType
from lskel.errors import LskelError, UsageError
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.syscall import ENOTSUPP, BpfError, bpf
from lskel.runtime.values import boolean, raw, u8, u16, u32, u64
from tests.conftest import Run
from tests.runtime.maps.shapes import NO_PREALLOC, Stats, Task, dumped, new

pytestmark = pytest.mark.kernel


@pytest.fixture
def counts() -> Iterator[HashMap[int, int]]:
    with new(MapType.HASH, (4, 8), 1000, u32, u64) as made:
        yield made


def test_a_dict(counts: HashMap[int, int], run: Run) -> None:
    counts[1] = 10
    counts[2] = 20
    assert (counts[1], counts.get(2), counts.get(3), counts.get(3, -1)) == (10, 20, None, -1)
    assert 1 in counts and 3 not in counts
    assert -1 not in counts and 1 << 32 not in counts
    with pytest.raises(KeyError) as raised:
        counts[3]
    assert str(raised.value) == "map 'lskel_test' has no element 3"
    assert dumped(run, counts) == {
        struct.pack("=I", 1): struct.pack("=Q", 10),
        struct.pack("=I", 2): struct.pack("=Q", 20),
    }
    assert counts == {1: 10, 2: 20}
    assert (set(counts), len(counts), bool(counts)) == ({1, 2}, 2, True)
    assert sorted(counts.items()) == [(1, 10), (2, 20)]
    assert sorted(counts.values()) == [10, 20] and 20 in counts.values()
    assert counts.keys() & {2, 3} == {2}
    del counts[1]
    with pytest.raises(KeyError):
        del counts[1]
    assert counts.pop(2) == 20
    assert counts.pop(2, None) is None
    with pytest.raises(KeyError):
        counts.pop(2)
    assert not counts and dumped(run, counts) == {}


def test_exclusive_writes(counts: HashMap[int, int]) -> None:
    counts.add(1, 10)
    with pytest.raises(BpfError) as raised:
        counts.add(1, 11)
    assert raised.value.errno == errno.EEXIST
    counts.replace(1, 12)
    with pytest.raises(BpfError) as raised:
        counts.replace(2, 20)
    assert raised.value.errno == errno.ENOENT
    assert counts.setdefault(1, 13) == 12
    assert counts.setdefault(2, 20) == 20
    assert counts == {1: 12, 2: 20}


def test_structs(run: Run) -> None:
    with new(MapType.HASH, (16, 24), 10, Task, Stats) as made:
        made[Task(1, 2, 3)] = Stats(4, b"five")
        made[6, 7, 8] = {"count": 9}
        assert made[Task(pid=1, cpu=2, start=3)] == Stats(4, b"five")
        assert made.copy() == {Task(1, 2, 3): Stats(4, b"five"), Task(6, 7, 8): Stats(9)}
        assert dumped(run, made)[struct.pack("=IH2xQ", 1, 2, 3)] == struct.pack("=Q16s", 4, b"five")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda m: m.__setitem__((1 << 40, 0, 0), (1, b"")),
            "key: Task.pid: u32: 1099511627776 is not in",
        ),
        (
            lambda m: m.__setitem__((1, 0, 0), ("x", b"")),
            "value: Stats.count: u64: expected an integer",
        ),
        (lambda m: m.__getitem__("text"), "key: expected Task, dict or tuple, got str"),
        (lambda m: m.update({(1, 2, 3): (1, b"x" * 17)}), "value: Stats.comm: 17 bytes do not fit"),
        (lambda m: m.pop(5), "key: expected Task, dict or tuple, got int"),
    ],
)
def test_wrong_values_name_map_and_field(write: Any, said: str) -> None:
    with new(MapType.HASH, (16, 24), 10, Task, Stats) as made:
        with pytest.raises((TypeError, ValueError, OverflowError)) as raised:
            write(made)
        assert str(raised.value).startswith(f"map 'lskel_test': {said}")
        assert len(made) == 0


def test_a_bool_is_no_number_in_batches_either() -> None:
    with (
        new(MapType.HASH, (1, 1), 10, u8, boolean) as made,
        pytest.raises(OverflowError, match="value: bool: expected True or False, got 7"),
    ):
        made.update({1: True, 2: 7})


def test_keys_that_do_not_fit(counts: HashMap[int, int]) -> None:
    """A dict has none of them either: no error where a default is given."""
    counts[1] = 10
    keys: tuple[Any, ...] = (-14, 1 << 32, "1", None, 1.5)
    for key in keys:
        assert counts.get(key) is None and counts.get(key, []) == []
        assert key not in counts
        assert counts.pop(key, 7) == 7
        with pytest.raises(LskelError):
            counts[key]
        with pytest.raises(LskelError):
            counts.pop(key)
    assert counts.copy() == {1: 10}
    counts.close()
    with pytest.raises(UsageError, match="is closed"):
        counts.get(-1 + 1)


def test_take_is_items(counts: HashMap[int, int]) -> None:
    wanted = {key: 2 * key for key in range(100)}
    counts.update(wanted)
    taken = counts.take()
    first = next(taken)
    assert {first, *taken} == set(wanted.items())
    assert not counts and list(counts.take()) == []


def test_full(counts: HashMap[int, int]) -> None:
    with new(MapType.HASH, (4, 8), 1, u32, u64) as made:
        made[1] = 1
        made[1] = 2
        writes: tuple[Any, ...] = (
            lambda: made.__setitem__(2, 2),
            lambda: made.update({1: 3, 2: 2}),
        )
        for write in writes:
            with pytest.raises(BpfError, match=r"map 'lskel_test': .*E2BIG.* 1 entries") as raised:
                write()
            assert raised.value.errno == errno.E2BIG
        assert made == {1: 3}
        assert made.popitem() == (1, 3)
        with pytest.raises(KeyError, match="empty"):
            made.popitem()


def test_an_lru_forgets() -> None:
    with new(MapType.LRU_HASH, (4, 8), 100, u32, u64) as made:
        made.update({key: key for key in range(1000)})
        assert 0 < len(made) <= 100
        assert all(key == value for key, value in made.items())


@pytest.mark.parametrize("flags", [0, NO_PREALLOC])
@pytest.mark.parametrize("count", [1, 7, 100_000])
def test_many(count: int, flags: int) -> None:
    wanted = {key * 7: key for key in range(count)}
    with new(MapType.HASH, (4, 8), count, u32, u64, flags=flags) as made:
        made.update(wanted)
        assert made.copy() == wanted
        assert len(made) == count
        assert sum(map(len, made.batches())) == count
        keys = [*list(wanted)[: count // 2], 1, 2]
        assert made.delete_batch(keys) == count // 2
        rest = dict(list(wanted.items())[count // 2 :])
        assert dict(made.items()) == rest
        assert dict(made.take()) == rest
        assert not made
        made.update(wanted.items())
        made.clear()
        assert len(made) == 0


def test_deleting_while_iterating() -> None:
    with new(MapType.HASH, (4, 4), 50_000, u32, u32) as made:
        made.update({key: key for key in range(50_000)})
        seen = set()
        for key in made:
            assert key not in seen
            seen.add(key)
            if key % 2:
                del made[key]
        assert seen == set(range(50_000))
        assert set(made) == set(range(0, 50_000, 2))


def test_kernels_without_batches(
    counts: HashMap[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without lookup-and-delete, which hashes have since 5.14."""

    refused = set()

    def old_kernel(cmd: Cmd, attr: bytearray) -> int:
        is_batch = cmd.name.endswith("_BATCH")
        if is_batch or cmd == Cmd.MAP_LOOKUP_AND_DELETE_ELEM:
            refused.add(cmd)
            raise BpfError(cmd, errno.EINVAL if is_batch else ENOTSUPP)
        return bpf(cmd, attr)

    monkeypatch.setattr("lskel.runtime.kernel.bpf", old_kernel)
    counts.update({1: 10, 2: 20, 3: 30, 4: 40})
    assert counts.copy() == {1: 10, 2: 20, 3: 30, 4: 40}
    assert counts.pop(1) == 10
    assert counts.pop(1, None) is None
    assert counts.delete_batch([2, 5]) == 1
    assert sorted(counts.take()) == [(3, 30), (4, 40)]
    assert not counts
    assert len(refused) == 5


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EINTR])
def test_writes_that_are_cut_short_go_on(
    counts: HashMap[int, int], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The kernel tells how far it came: half of the way, each time."""
    left = iter(range(6))

    def busy_kernel(cmd: Cmd, attr: bytearray) -> int:
        count = int.from_bytes(attr[32:36], "little")
        if not cmd.name.endswith("_BATCH") or next(left, None) is None:
            return bpf(cmd, attr)
        attr[32:36] = (count // 2).to_bytes(4, "little")
        bpf(cmd, attr)
        raise BpfError(cmd, number)

    monkeypatch.setattr("lskel.runtime.kernel.bpf", busy_kernel)
    wanted = {key: key for key in range(100)}
    counts.update(wanted)
    assert counts.delete_batch(range(50)) == 50
    assert counts == {key: key for key in range(50, 100)}
    assert next(left, None) is None


def test_before_load_and_after_close() -> None:
    with new(MapType.HASH, (4, 8), 10, u32, u64) as made:
        pass
    for use in (lambda: made[1], lambda: len(made), lambda: made.update({1: 2}), made.info):
        with pytest.raises(UsageError, match="map 'lskel_test' is"):
            use()


def test_unknown_bytes() -> None:
    with new(MapType.HASH, (3, 5), 10, raw(3), raw(5)) as made:
        made[b"key"] = b"value"
        assert made.copy() == {b"key": b"value"}
        with pytest.raises(ValueError, match="value: expected 5 bytes, got 4"):
            made[b"key"] = b"four"


class LikeADict(RuleBasedStateMachine):
    """Random operations, on a map and a dict."""

    keys = st.integers(0, 20)
    values = st.integers(0, 2**64 - 1)

    def __init__(self) -> None:
        super().__init__()
        self.context = new(MapType.HASH, (2, 8), 21, u16, u64)
        self.map = self.context.__enter__()
        self.dict: dict[int, int] = {}

    @rule(key=keys, value=values)
    def put(self, key: int, value: int) -> None:
        self.map[key] = value
        self.dict[key] = value

    @rule(key=keys)
    def delete(self, key: int) -> None:
        if key in self.dict:
            del self.map[key], self.dict[key]
        else:
            with pytest.raises(KeyError):
                del self.map[key]

    @rule(key=keys, value=values)
    def pop(self, key: int, value: int) -> None:
        assert self.map.pop(key, value) == self.dict.pop(key, value)

    @precondition(lambda self: self.dict)
    @rule()
    def popitem(self) -> None:
        key, value = self.map.popitem()
        assert self.dict.pop(key) == value

    @rule(key=keys, value=values)
    def setdefault(self, key: int, value: int) -> None:
        assert self.map.setdefault(key, value) == self.dict.setdefault(key, value)

    @rule(other=st.dictionaries(keys, values))
    def update(self, other: dict[int, int]) -> None:
        self.map.update(other)
        self.dict.update(other)

    @rule(some=st.sets(keys))
    def delete_batch(self, some: set[int]) -> None:
        assert self.map.delete_batch(some) == len(some & self.dict.keys())
        for key in some:
            self.dict.pop(key, None)

    @rule()
    def clear(self) -> None:
        self.map.clear()
        self.dict.clear()

    @invariant()
    def the_same(self) -> None:
        assert self.map == self.dict
        assert len(self.map) == len(self.dict)
        assert set(self.map) == set(self.dict)
        assert sorted(self.map.values()) == sorted(self.dict.values())

    def teardown(self) -> None:
        self.context.__exit__(None, None, None)


LikeADict.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLikeADict = LikeADict.TestCase
