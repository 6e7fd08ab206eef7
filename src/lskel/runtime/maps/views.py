"""Views of maps that read in batches, instead of one lookup per key as in `collections.abc`."""

from __future__ import annotations

from collections.abc import ItemsView, ValuesView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

    from lskel.runtime.maps.typed import KeyedMap

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object


class Items(ItemsView[K, V]):
    """The elements."""

    def __init__(self, of: Any) -> None:
        super().__init__(of)
        self._map: KeyedMap[K, V] = of

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._map.all_items()


class Values(ValuesView[V]):
    """The values."""

    def __init__(self, of: Any) -> None:
        super().__init__(of)
        self._map: KeyedMap[Any, V] = of

    def __contains__(self, value: object) -> bool:
        return any(value == found for found in self)

    def __iter__(self) -> Iterator[V]:
        return self._map.all_values()
