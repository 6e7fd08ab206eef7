"""Maps with a value per CPU: lists, in the order of possible CPUs."""

from __future__ import annotations

import struct

from lskel.errors import WrongType
from lskel.light_typing import Generic
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.elements import join_percpu, percpu_size
from lskel.runtime.maps.array import ArrayMap
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.values import Codec, codec_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from lskel.runtime.maps.base import MapDefinition

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object


def per_cpu(one: Codec[V]) -> Codec[list[V]]:
    """The codec of a list with one value for each possible CPU."""
    size, cpus = percpu_size(one.size), len(possible_cpus())
    stride = size // cpus

    def encode(values: Any) -> bytes:
        if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__iter__"):
            raise WrongType(f"expected a list of {cpus} values, got {type(values).__name__}")
        return join_percpu([one.encode(value) for value in values])

    if one.code:
        unpack = struct.Struct("=" + f"{one.code}{stride - one.size}x" * cpus).unpack_from
        return Codec(size, encode, lambda data: list(unpack(data)))
    return Codec(size, encode, lambda data: one.decode_many(data, cpus, stride))


class _Sums(KeyedMap[K, list[V]], Generic[K, V]):
    def sum(self, key: K) -> V:
        """The sum over all CPUs of an element of numbers; KeyError if it does not exist."""
        total: V = _sum(self[key])
        return total

    def sums(self) -> dict[K, V]:
        """The sums of all elements, read in batches."""
        return {key: _sum(values) for key, values in self.all_items()}


def _sum(values: Any) -> Any:
    return sum(values)


class PerCpuHash(_Sums[K, V], HashMap[K, list[V]]):
    """A hash whose values are lists (PERCPU_HASH, LRU_PERCPU_HASH)."""

    def __init__(
        self, definition: MapDefinition, key: type[K] | Codec[K], value: type[V] | Codec[V]
    ) -> None:
        lists: Any = value  # `_value_codec` converts it to lists
        super().__init__(definition, key, lists)

    def _value_codec(self, value: Any) -> Any:
        return per_cpu(codec_of(value))


class PerCpuArray(_Sums[int, V], ArrayMap[list[V]]):
    """An array whose values are lists (PERCPU_ARRAY)."""

    def __init__(self, definition: MapDefinition, value: type[V] | Codec[V]) -> None:
        lists: Any = value  # `_value_codec` converts it to lists
        ArrayMap.__init__(self, definition, lists)

    def _value_codec(self, value: Any) -> Any:
        return per_cpu(codec_of(value))
