"""User ring buffers: what is sent, a program takes and sends back."""

from __future__ import annotations

import mmap
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lskel.errors import UsageError
from lskel.runtime import fence
from lskel.runtime.maps import user_ringbuf
from lskel.runtime.maps.ringbuf import RingBufferMap
from lskel.runtime.maps.user_ringbuf import UserRingBufferMap
from lskel.runtime.values import u64
from tests.runtime.maps.buffers import Buffers, Order, buffers

pytestmark = pytest.mark.kernel

# What a record takes, with its header.
TAKEN = 8 + 16


@pytest.fixture(autouse=True, params=["fence_by_locks", "no_fence"])
def _fence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both must work on every machine; only the order of accesses may differ."""
    monkeypatch.setattr(user_ringbuf, "fence", getattr(fence, request.param))


@pytest.fixture
def bpf() -> Iterator[Buffers]:
    with buffers() as made:
        yield made


@pytest.fixture
def back(bpf: Buffers) -> RingBufferMap[Order]:
    return bpf.map("ring", RingBufferMap, Order)


@pytest.fixture
def user(bpf: Buffers) -> UserRingBufferMap[Any]:
    return bpf.map("user", UserRingBufferMap, Order)


def test_values_arrive_in_order_round_and_round(
    bpf: Buffers, back: RingBufferMap[Order], user: UserRingBufferMap[Any]
) -> None:
    assert bpf.drain() == 0
    for start in range(0, 1000, 50):
        orders = [Order(n, n + 1, n << 40) for n in range(start, start + 50)]
        for order in orders:
            user.send(order)
        assert bpf.drain() == 50
        assert list(back.consume()) == orders
    user.send({"what": 1, "number": 2})
    user.send((3, 4, 5))
    assert bpf.drain() == 2
    assert list(back.consume()) == [Order(1, 0, 2), Order(3, 4, 5)]


def test_a_full_buffer(
    bpf: Buffers, back: RingBufferMap[Order], user: UserRingBufferMap[Any]
) -> None:
    room = mmap.PAGESIZE // TAKEN
    for number in range(room):
        user.send(Order(number))
    with pytest.raises(BlockingIOError, match="map 'user' is full"):
        user.send(Order(room))
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="no program drained it"):
        user.send(Order(room), timeout=0.05)
    assert time.monotonic() - start >= 0.05
    # 4096 bytes hold 170 records and 16 bytes: what waits finds too little room, then enough.
    later = threading.Timer(0.1, bpf.drain)
    later.start()
    user.send(Order(room), timeout=10)
    later.join()
    found = [order.what for order in back.consume()]
    assert bpf.drain() == 1
    found += [order.what for order in back.consume()]
    assert found == [*range(len(found) - 1), room]


def test_to_the_last_byte(bpf: Buffers, back: RingBufferMap[Order]) -> None:
    user: UserRingBufferMap[bytes] = bpf.map("user", UserRingBufferMap)
    back.decode_as(bytes)
    whole = bytes(range(256)) * 15 + bytes(mmap.PAGESIZE - 8 - 15 * 256)
    for number in range(3):
        user.send(whole)
        with pytest.raises(BlockingIOError):
            user.send(b"")
        assert bpf.drain() == 1
        user.send(bytes(8 * number))
        assert bpf.drain() == 1
    assert {bytes(record) for record in back.consume()} == {whole[:16], bytes(16)}
    with pytest.raises(UsageError, match="4089 bytes never fit, at most 4088 do"):
        user.send(bytes(mmap.PAGESIZE - 7))


def test_what_is_no_such_value(bpf: Buffers, user: UserRingBufferMap[Any]) -> None:
    with pytest.raises(TypeError, match="map 'user': value: "):
        user.send(7)
    with pytest.raises(OverflowError, match=r"map 'user': value: .*is not in"):
        user.send((1 << 32, 0, 0))
    with pytest.raises(TypeError, match="map 'user': value: expected bytes, got str"):
        bpf.map("user", UserRingBufferMap).send("text")
    bpf.map("user", UserRingBufferMap, u64).send(5)
    assert bpf.drain() == 1


def test_after_closing(user: UserRingBufferMap[Any]) -> None:
    user.send(Order(1))
    user.close()
    user.close()
    with pytest.raises(UsageError, match="is closed"):
        user.send(Order(1))
