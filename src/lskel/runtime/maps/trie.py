"""Tries of prefixes, as dicts: a key finds the value of the longest prefix that it begins with."""

from __future__ import annotations

import sys

from lskel.errors import UsageError, WrongValue
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import codec_of
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network, IPv6Network
    from typing import Any, TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object

# The prefix's length comes first, as a 32-bit number (struct bpf_lpm_trie_key).
_LENGTH = 4
_ADDRESS_SIZES = (4, 16)


class LpmTrie(HashMap[K, V]):
    """A LPM_TRIE. Kernel 4.11; 4.16 to list it.

    A key is a struct of the prefix's length in bits and its bytes; where these are as many as an
    address has, networks and addresses are taken, too: ``trie["192.0.2.0/24"] = 1``, or those of
    `ipaddress`. Reading, ``in`` and `get` go by the longest prefix, writing and deleting by the
    very same one.
    """

    def networks(self) -> Iterator[tuple[IPv4Network | IPv6Network, V]]:
        """The elements, with their keys as networks of `ipaddress`; UsageError for other keys."""
        from ipaddress import ip_network

        key_size = self._key.size
        if key_size - _LENGTH not in _ADDRESS_SIZES:
            raise UsageError(f"map '{self.name}': its keys are no addresses")
        for keys, values, count in self._chunks():
            starts = range(0, count * key_size, key_size)
            for start, value in zip(starts, self._value.decode_many(values, count), strict=True):
                length = int.from_bytes(keys[start : start + _LENGTH], sys.byteorder)
                address = bytes(keys[start + _LENGTH : start + key_size])
                # The bits behind the prefix are there as they were given.
                yield ip_network((address, length), strict=False), value

    def _key_codec(self, key: type[K] | Codec[K]) -> Codec[K]:
        plain = codec_of(key)

        def encode(wanted: Any) -> bytes:
            if isinstance(wanted, str) or hasattr(wanted, "max_prefixlen"):
                return _network(wanted, plain.size - _LENGTH)
            return plain.encode(wanted)

        return Codec(plain.size, encode, plain.decode)


def _network(wanted: Any, size: int) -> bytes:
    from ipaddress import ip_network

    try:
        network = ip_network(wanted)
    except ValueError as error:
        raise WrongValue(str(error)) from None
    packed = network.network_address.packed
    if len(packed) != size:
        raise WrongValue(f"{network} has {len(packed)} bytes, the map's keys have {size}")
    return network.prefixlen.to_bytes(_LENGTH, sys.byteorder) + packed
