"""Arrays, per-CPU arrays and hashes, compared with what bpftool sees."""

from __future__ import annotations

import struct

import pytest

from lskel.bpf.enums import MapType
from lskel.errors import UsageError
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.one_element import freeze
from lskel.runtime.syscall import KernelError
from lskel.runtime.values import array, raw, text, u32, u64
from tests.conftest import Run
from tests.runtime.maps.shapes import Stats, Task, dumped, new

pytestmark = pytest.mark.kernel

MMAPABLE = 1 << 10
CPUS = len(possible_cpus())


def test_an_array(run: Run) -> None:
    with new(MapType.ARRAY, (4, 8), 5, u64) as made:
        made[0], made[4] = 10, 50
        assert (made[0], made[1], made[4]) == (10, 0, 50)
        assert [struct.unpack("=Q", v)[0] for v in dumped(run, made).values()] == [10, 0, 0, 0, 50]
        assert (len(made), list(made), 4 in made, 5 in made, -1 in made) == (
            *(5, [0, 1, 2, 3, 4], True, False, False),
        )
        assert list(made.items()) == [(0, 10), (1, 0), (2, 0), (3, 0), (4, 50)]
        assert list(made.values()) == [10, 0, 0, 0, 50]
        for wrong in (5, -1, 1 << 40):
            with pytest.raises(IndexError, match="map 'lskel_test'"):
                made[wrong]
            with pytest.raises(IndexError):
                made[wrong] = 1
        with pytest.raises(TypeError, match="map 'lskel_test'"):
            made["0"]
        with pytest.raises(OverflowError, match="map 'lskel_test': value: u64: -1 is not in"):
            made[0] = -1
        assert made.get(9, "none") == "none"
        assert made.get(-1, 7) == made.get("1", 7) == made.get(None, 7) == 7
        made.update({1: 20, 2: 30})
        assert made == {0: 10, 1: 20, 2: 30, 3: 0, 4: 50}


def test_slices_are_those_of_a_list() -> None:
    plain = [n * n for n in range(20)]
    with new(MapType.ARRAY, (4, 8), 20, u64) as made:
        made.update(dict(enumerate(plain)))
        for cut in (slice(None), slice(3), slice(5, 9), slice(-3, None), slice(None, None, 7)):
            assert made[cut] == plain[cut]
        assert made[15:2:-3] == plain[15:2:-3]


def test_one_element() -> None:
    with new(MapType.ARRAY, (4, 24), 1, Stats) as made:
        made[0] = Stats(1, b"one")
        assert made.copy() == {0: Stats(1, b"one")}


def test_many_elements() -> None:
    wanted = dict(enumerate(range(0, 400_000, 2)))
    with new(MapType.ARRAY, (4, 4), 200_000, u32) as made:
        made.update(wanted)
        assert dict(made.items()) == wanted


@pytest.mark.parametrize(
    ("type_", "size", "values"),
    [
        (u32, 4, [1, 0, 3]),
        (u64, 8, [1 << 63, 0, 5]),
        (text(5), 5, [b"abc", b"", b"hello"]),
        (raw(3), 3, [b"abc", b"\0\0\0", b"xyz"]),
        (Task, 16, [Task(1, 2, 3), Task(), Task(4, 5, 6)]),
        (array(u32, 3), 12, [[1, 2, 3], [0, 0, 0], [4, 5, 6]]),
    ],
)
def test_live_elements(type_: object, size: int, values: list[object]) -> None:
    """What the memory has, system calls see, and the other way round."""
    with new(MapType.ARRAY, (4, size), 3, type_, flags=MMAPABLE) as made:
        live = made.live
        assert len(live) == 3
        live[0] = values[0]
        made[2] = values[2]
        assert made[0] == live[0] == values[0]
        assert list(live) == values == list(made.values())
        for wrong in (3, -1):
            with pytest.raises(IndexError):
                live[wrong]
        del live


def test_live_structs_are_views() -> None:
    with new(MapType.ARRAY, (4, 16), 3, Task, flags=MMAPABLE) as made:
        task = made.live[1]
        task.pid += 5
        assert made[1] == Task(5)
        made[1] = Task(6)
        assert task.pid == 6
        with pytest.raises(OverflowError):
            made.live[1] = (1 << 40, 0, 0)
    assert task.pid == 6  # its memory stays


def test_maps_that_are_not_shared_memory() -> None:
    with new(MapType.ARRAY, (4, 8), 1, u64) as made, pytest.raises(UsageError, match="MMAPABLE"):
        assert made.live
    with new(MapType.ARRAY, (4, 8), 1, u64, flags=MMAPABLE) as made:
        freeze(made.fileno())
        with pytest.raises(KernelError, match=r"map 'lskel_test': mmap: EPERM"):
            assert made.live


@pytest.mark.parametrize(
    ("map_type", "types"),
    [
        (MapType.PERCPU_HASH, (u32, u64)),
        (MapType.LRU_PERCPU_HASH, (u32, u64)),
        (MapType.PERCPU_ARRAY, (u64,)),
    ],
)
def test_values_of_each_cpu(map_type: MapType, types: tuple[object, ...], run: Run) -> None:
    values = [cpu + 1 for cpu in range(CPUS)]
    with new(map_type, (4, 8), 4, *types) as made:
        made[1] = values
        made.update({2: values[::-1]})
        assert (made[1], made[2]) == (values, values[::-1])
        shown = dumped(run, made)
        assert [struct.unpack("=Q", one)[0] for one in shown[struct.pack("=I", 1)]] == values
        assert {k: v for k, v in made.items() if any(v)} == {1: values, 2: values[::-1]}
        assert made.sum(1) == sum(values)
        assert {k: v for k, v in made.sums().items() if v} == {1: sum(values), 2: sum(values)}
        for wrong in ([1] * (CPUS + 1), [], 5, b"x" * CPUS, ["x"] * CPUS):
            with pytest.raises((TypeError, ValueError), match="map 'lskel_test': value"):
                made[1] = wrong
        assert made[1] == values


def test_structs_and_small_values_of_each_cpu() -> None:
    tasks = [Task(cpu, cpu, cpu) for cpu in range(CPUS)]
    with new(MapType.PERCPU_HASH, (16, 16), 10, Task, Task) as made:
        made[Task(1)] = tasks
        assert made.copy() == {Task(1): tasks}
        assert made.pop(Task(1)) == tasks
        assert len(made) == 0
    with new(MapType.PERCPU_ARRAY, (4, 4), 3, u32) as made:
        made[1] = range(CPUS)
        assert made[0:2] == [[0] * CPUS, list(range(CPUS))]
