"""Bloom filters: sets that may say yes wrongly, and never no."""

from __future__ import annotations

from lskel.named import Generic
from lskel.runtime import elements
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.maps.typed import codec_of
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    V = TypeVar("V")
else:
    V = object


class BloomFilter(Map, Generic[V]):
    """A BLOOM_FILTER. Kernel 5.16."""

    def __init__(self, definition: MapDefinition, value: type[V] | Codec[V]) -> None:
        super().__init__(definition)
        self._value = codec_of(value)

    def add(self, value: V) -> None:
        """Put a value in, for good."""
        elements.update(self.fileno(), b"", self._value.encode(value))

    def __contains__(self, value: V) -> bool:
        return elements.has(self.fileno(), self._value.encode(value))
