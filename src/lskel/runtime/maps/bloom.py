"""Bloom filters: sets with false positives, but no false negatives."""

from __future__ import annotations

from lskel.runtime import one_element
from lskel.runtime.maps.typed import TypedMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    V = TypeVar("V")
else:
    V = object


class BloomFilter(TypedMap[V]):
    """A BLOOM_FILTER. Linux 5.16."""

    def add(self, value: V) -> None:
        """Add a value, permanently."""
        self._call(one_element.update, b"", self._encoded_value(value))

    def __contains__(self, value: V) -> bool:
        return self._call(one_element.has, self._encoded_value(value))
