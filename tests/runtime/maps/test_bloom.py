"""Bloom filters."""

from __future__ import annotations

import errno

import pytest

from lskel.bpf.enums import MapType
from lskel.runtime.maps.bloom import BloomFilter
from lskel.runtime.syscall import BpfError
from lskel.runtime.values import u32, u64
from tests.runtime.maps.made import Flow, made

pytestmark = pytest.mark.kernel


def test_never_no_for_what_is_there() -> None:
    with made(BloomFilter, MapType.BLOOM_FILTER, (0, 8, 1000), u64) as seen:
        assert 5 not in seen
        for number in range(1000):
            seen.add(number)
        assert all(number in seen for number in range(1000))
        wrong = sum(number in seen for number in range(10**6, 10**6 + 1000))
        assert wrong < 500, "5 hashes, and more than one bit for each"


def test_structs() -> None:
    with made(BloomFilter, MapType.BLOOM_FILTER, (0, 12, 10), Flow) as seen:
        seen.add((80, 1, 2))
        assert Flow(80, 1, 2) in seen
        assert (80, 1, 3) not in seen


def test_errors_name_the_map() -> None:
    with made(BloomFilter, MapType.BLOOM_FILTER, (0, 4, 10), u32, flags=1 << 4) as seen:
        for use in (seen.add, seen.__contains__):
            with pytest.raises(
                TypeError, match="map 'counts': value: u32: expected an integer, got str"
            ):
                use("a")
        with pytest.raises(BpfError, match=r"^map 'counts'") as raised:
            5 in seen  # noqa: B015 - write-only
        assert raised.value.errno == errno.EPERM
