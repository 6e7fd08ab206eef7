"""Views of maps that read in batches, where those of `collections.abc` ask for each key."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, ValuesView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

    from lskel.runtime.maps.typed import KeyedMap

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object


class Keys(KeysView[K]):
    """The keys."""

    def __init__(self, of: Any) -> None:
        super().__init__(of)
        self._map: KeyedMap[K, Any] = of

    def __iter__(self) -> Iterator[K]:
        for batch in self._map.batches():
            for key, _ in batch:
                yield key


class Items(ItemsView[K, V]):
    """The elements."""

    def __init__(self, of: Any) -> None:
        super().__init__(of)
        self._map: KeyedMap[K, V] = of

    def __iter__(self) -> Iterator[tuple[K, V]]:
        for batch in self._map.batches():
            yield from batch


class Values(ValuesView[V]):
    """The values."""

    def __init__(self, of: Any) -> None:
        super().__init__(of)
        self._map: KeyedMap[Any, V] = of

    def __iter__(self) -> Iterator[V]:
        for batch in self._map.batches():
            for _, value in batch:
                yield value
