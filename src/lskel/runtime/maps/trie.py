"""Tries of prefixes, as dicts: a key finds the value of the longest prefix that it begins with."""

from __future__ import annotations

import sys

from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import codec_of
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object

# The prefix's length comes first, as a 32-bit number (struct bpf_lpm_trie_key).
_LENGTH = 4


class LpmTrie(HashMap[K, V]):
    """A LPM_TRIE. Kernel 4.11.

    A key is a struct of the prefix's length in bits and its bytes; where these are as many as an
    address has, networks and addresses are taken, too: ``trie["192.0.2.0/24"] = 1``, or those of
    `ipaddress`.
    """

    def __init__(self, definition: Any, key: type[K] | Codec[K], value: type[V] | Codec[V]) -> None:
        super().__init__(definition, key, value)
        plain = codec_of(key)

        def encode(wanted: Any) -> bytes:
            if isinstance(wanted, str) or hasattr(wanted, "packed"):
                return _network(wanted, plain.size - _LENGTH)
            if hasattr(wanted, "network_address"):
                return _network(wanted, plain.size - _LENGTH)
            return plain.encode(wanted)

        self._key = Codec(plain.size, encode, plain.decode, plain.code)


def _network(wanted: Any, size: int) -> bytes:
    from ipaddress import ip_network

    network = ip_network(wanted)
    packed = network.network_address.packed
    if len(packed) != size:
        raise ValueError(f"{network} has {len(packed)} bytes, the map's keys have {size}")
    return network.prefixlen.to_bytes(_LENGTH, sys.byteorder) + packed
