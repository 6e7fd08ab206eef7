"""Tries of prefixes; `ipaddress` says which prefix is the longest."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lskel.bpf.enums import MapType
from lskel.errors import UsageError
from lskel.runtime.syscall import BpfError
from lskel.runtime.values import Struct, array, layout, u8, u32, u64
from tests.conftest import Run
from tests.runtime.maps.shapes import NO_PREALLOC, dumped, new

pytestmark = pytest.mark.kernel


@layout(8, ("prefixlen", u32, 0), ("data", array(u8, 4), 4))
class V4(Struct):
    """struct bpf_lpm_trie_key with an IPv4 address."""

    prefixlen: int


@layout(20, ("prefixlen", u32, 0), ("data", array(u8, 16), 4))
class V6(Struct):
    """struct bpf_lpm_trie_key with an IPv6 address."""

    prefixlen: int


@layout(6, ("prefixlen", u32, 0), ("data", array(u8, 2), 4))
class Short(Struct):
    """No address."""

    prefixlen: int


def test_networks_and_addresses(run: Run) -> None:
    with new(MapType.LPM_TRIE, (8, 8), 10, V4, u64, flags=NO_PREALLOC) as trie:
        trie["192.0.2.0/24"] = 24
        trie[ipaddress.ip_network("192.0.0.0/16")] = 16
        trie[V4(32, [192, 0, 2, 7])] = 32
        assert dumped(run, trie)[struct.pack("=I4B", 24, 192, 0, 2, 0)] == struct.pack("=Q", 24)
        for address, found in (("192.0.2.7", 32), ("192.0.2.8", 24), ("192.0.9.9", 16)):
            assert trie[address] == trie[ipaddress.ip_address(address)] == found
        assert "192.1.0.0" not in trie and "192.0.2.9" in trie
        with pytest.raises(KeyError):
            trie["192.0.2.0/23"] and trie["10.0.0.0/8"]
        assert dict(trie.networks()) == {
            ipaddress.ip_network("192.0.2.0/24"): 24,
            ipaddress.ip_network("192.0.0.0/16"): 16,
            ipaddress.ip_network("192.0.2.7/32"): 32,
        }
        for wrong in ("192.0.2.1/24", "2001:db8::/32", "nonsense"):
            with pytest.raises(ValueError, match="map 'lskel_test': key"):
                trie[wrong] = 1


def test_changes_mean_exactly_the_key() -> None:
    with new(MapType.LPM_TRIE, (20, 8), 10, V6, u64, flags=NO_PREALLOC) as trie:
        trie["2001:db8::/32"] = 32
        assert trie["2001:db8::1"] == 32
        assert trie.setdefault("2001:db8::1", 128) == 128
        assert trie["2001:db8::1"] == 128
        assert trie.pop("2001:db8::2", None) is None
        with pytest.raises(KeyError):
            del trie["2001:db8::/33"]
        assert trie.pop("2001:db8::/32") == 32
        assert len(trie) == 1


def test_full() -> None:
    with new(MapType.LPM_TRIE, (8, 8), 1, V4, u64, flags=NO_PREALLOC) as trie:
        trie["10.0.0.0/8"] = 1
        with pytest.raises(BpfError, match=r"map 'lskel_test': .*ENOSPC.* 1 entries"):
            trie["11.0.0.0/8"] = 1


def test_keys_that_are_no_addresses() -> None:
    with new(MapType.LPM_TRIE, (6, 8), 10, Short, u64, flags=NO_PREALLOC) as trie:
        trie[Short(8, [1, 0])] = 1
        assert trie[Short(16, [1, 2])] == 1
        with pytest.raises(UsageError, match="not IP addresses"):
            list(trie.networks())
        with pytest.raises(ValueError, match="key"):
            trie["10.0.0.0/8"] = 1


def test_many() -> None:
    wanted = {ipaddress.ip_network((n << 12, 20)): n for n in range(20_000)}
    with new(MapType.LPM_TRIE, (8, 8), 20_000, V4, u64, flags=NO_PREALLOC) as trie:
        trie.update(wanted)
        assert dict(trie.networks()) == wanted
        seen = 0
        for key in trie:  # the kernel loses its place with each key that goes
            del trie[key]
            seen += 1
        assert (seen, len(trie)) == (20_000, 0)


NETWORKS = st.builds(
    lambda bits, address: ipaddress.ip_network((address << 24, bits), strict=False),
    *(st.integers(0, 9), st.integers(0, 255)),
)


@given(st.dictionaries(NETWORKS, st.integers(0, 99)), st.lists(st.integers(0, 255)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_longest_prefix(wanted: dict[ipaddress.IPv4Network, int], asked: list[int]) -> None:
    with new(MapType.LPM_TRIE, (8, 8), 600, V4, u64, flags=NO_PREALLOC) as trie:
        trie.update(wanted)
        for first in asked:
            address = ipaddress.IPv4Address(first << 24 | 0x00FFFFFF)
            matching = [network for network in wanted if address in network]
            longest = max(matching, key=lambda network: network.prefixlen, default=None)
            assert trie.get(address) == (None if longest is None else wanted[longest])
        assert dict(trie.networks()) == wanted
