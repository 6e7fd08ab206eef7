"""Queues, stacks and bloom filters."""

from __future__ import annotations

import errno
import json

import pytest

from lskel.bpf.enums import MapType
from lskel.runtime.syscall import BpfError
from lskel.runtime.values import u32, u64
from tests.conftest import Run
from tests.runtime.maps.shapes import Task, new, octets

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("map_type", "order"), [(MapType.QUEUE, [1, 2, 3]), (MapType.STACK, [3, 2, 1])]
)
def test_queues_and_stacks(map_type: MapType, order: list[int], run: Run) -> None:
    with new(map_type, (0, 8), 3, u64) as made:
        assert not made
        for take in (made.pop, made.peek):
            with pytest.raises(IndexError, match="map 'lskel_test' is empty"):
                take()
        for value in (1, 2, 3):
            made.push(value)
        shown = json.loads(run("bpftool", "-j", "map", "peek", "id", made.info().id))
        assert octets(shown["value"]) == made.peek().to_bytes(8, "little")
        with pytest.raises(BpfError, match=r"map 'lskel_test': .*E2BIG.*replace=True") as raised:
            made.push(4)
        assert raised.value.errno == errno.E2BIG
        assert made and made.peek() == order[0]
        assert [made.pop() for _ in range(3)] == order
        assert list(made.drain()) == []
        with pytest.raises(TypeError, match="map 'lskel_test': value: u64"):
            made.push("x")


def test_the_oldest_is_replaced() -> None:
    with new(MapType.QUEUE, (0, 8), 2, u64) as queue:
        for value in (1, 2, 3):
            queue.push(value, replace=True)
        assert list(queue.drain()) == [2, 3]


def test_structs() -> None:
    with new(MapType.STACK, (0, 16), 1, Task) as stack:
        stack.push(Task(1, 2, 3))
        assert stack.pop() == Task(1, 2, 3)


def test_a_bloom_filter() -> None:
    with new(MapType.BLOOM_FILTER, (0, 4), 1000, u32) as bloom:
        assert 1 not in bloom
        for value in range(100):
            bloom.add(value)
        assert all(value in bloom for value in range(100))
        assert sum(value in bloom for value in range(1000, 2000)) < 100
        with pytest.raises(OverflowError, match="map 'lskel_test': value: u32"):
            bloom.add(-1)
