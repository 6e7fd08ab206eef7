"""LPM tries, as dicts: a lookup finds the longest matching prefix."""

from __future__ import annotations

import sys

from lskel.errors import UsageError, WrongValue
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.values import Codec, codec_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network, IPv6Network
    from typing import Any, TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object

# The prefix length comes first, as a 32-bit number (struct bpf_lpm_trie_key).
_LENGTH = 4
_ADDRESS_SIZES = (4, 16)


class LpmTrie(HashMap[K, V]):
    """An LPM_TRIE. Linux 4.11; listing needs 4.16.

    A key is a struct of the prefix length in bits and the prefix bytes; for keys of the size of an
    IP address, networks and addresses are accepted, too: ``trie["192.0.2.0/24"] = 1``, or those of
    `ipaddress`. Reading, ``in`` and `get` use the longest matching prefix; writing and deleting the
    exact prefix.
    """

    def networks(self) -> Iterator[tuple[IPv4Network | IPv6Network, V]]:
        """The elements, with keys as networks of `ipaddress`; UsageError for other keys."""
        from ipaddress import ip_network

        key_size = self._key.size
        if key_size - _LENGTH not in _ADDRESS_SIZES:
            raise UsageError(f"map '{self.name}': its keys are not IP addresses")
        for keys, values, count in self._chunks():
            starts = range(0, count * key_size, key_size)
            for start, value in zip(starts, self._value.decode_many(values, count), strict=True):
                length = int.from_bytes(keys[start : start + _LENGTH], sys.byteorder)
                address = bytes(keys[start + _LENGTH : start + key_size])
                # The kernel returns the bits after the prefix as they were set.
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
        raise WrongValue(f"{network} has {len(packed)} bytes, expected {size}")
    return network.prefixlen.to_bytes(_LENGTH, sys.byteorder) + packed
