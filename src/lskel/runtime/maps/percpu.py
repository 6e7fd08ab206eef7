"""Maps with a value for each CPU: lists of them, in the order of possible CPUs."""

from __future__ import annotations

from lskel.runtime.cpus import possible_cpus
from lskel.runtime.elements import join_percpu, percpu_size
from lskel.runtime.maps.array import ArrayMap
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


def per_cpu(one: Codec[V]) -> Codec[list[V]]:
    """The codec of a list with one value for each possible CPU."""
    stride = one.size + 7 & ~7
    size, cpus = percpu_size(one.size), len(possible_cpus())

    def encode(values: Any) -> bytes:
        return join_percpu([one.encode(value) for value in values])

    def decode(data: Any) -> list[V]:
        return one.decode_many(data, cpus, stride)

    return Codec(size, encode, decode)


class PerCpuHash(HashMap[K, list[V]]):
    """A hash whose values are lists (PERCPU_HASH, LRU_PERCPU_HASH)."""

    def _value_codec(self, value: Any) -> Any:
        return per_cpu(codec_of(value))


class PerCpuArray(ArrayMap[list[V]]):
    """An array whose values are lists (PERCPU_ARRAY)."""

    def _value_codec(self, value: Any) -> Any:
        return per_cpu(codec_of(value))
