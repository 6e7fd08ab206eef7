"""Arrays: elements by number, which are always there."""

from __future__ import annotations

from collections.abc import Mapping

from lskel.errors import UsageError
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.maps.views import Items, Values
from lskel.runtime.memory import MappedFd, map_memory
from lskel.runtime.values import Codec, u32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, ValuesView
    from typing import Any, TypeVar

    from lskel.runtime.maps.base import MapDefinition

    V = TypeVar("V")
else:
    V = object

# Numbers of elements, as keys.
INDEX: Any = u32
# uapi/linux/bpf.h
_F_MMAPABLE = 1 << 10


class ArrayMap(KeyedMap[int, V], Mapping[int, V]):
    """An array: a mapping from the numbers 0 to `max_entries` - 1 to values, none of which can go.

    A slice gives a list. IndexError past the end; there are no negative numbers.
    """

    def __init__(self, definition: MapDefinition, value: type[V] | Codec[V]) -> None:
        super().__init__(definition, INDEX, value)

    def _number(self, index: int) -> int:
        if not 0 <= index < self.max_entries:
            raise IndexError(
                f"map '{self.name}' has {self.max_entries} elements, none is [{index}]"
            )
        return index

    def __getitem__(self, index: int | slice) -> V | list[V]:  # type: ignore[override]
        if isinstance(index, slice):
            get = super().__getitem__
            return [get(number) for number in range(*index.indices(self.max_entries))]
        return super().__getitem__(self._number(index))

    def __setitem__(self, index: int, value: V) -> None:
        super().__setitem__(self._number(index), value)

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and 0 <= index < self.max_entries

    def __len__(self) -> int:
        return self.max_entries

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.max_entries))

    def update(self, values: Mapping[int, V]) -> None:
        """Set many elements, in batches."""
        self._write_all((self._number(index), value) for index, value in values.items())

    def mapped(self) -> MappedFd:
        """The elements as memory that programs see at once, each at a multiple of 8 bytes.

        A context manager, whose `memory` it is. UsageError for maps without BPF_F_MMAPABLE.
        """
        if not self.definition.flags & _F_MMAPABLE:
            raise UsageError(f"map '{self.name}' is no memory: BPF_F_MMAPABLE is not set")
        stride = self.definition.value_size + 7 & ~7
        return map_memory(self.fileno(), stride * self.max_entries)

    def items(self) -> ItemsView[int, V]:
        """The elements, read in batches."""
        return Items(self)

    def values(self) -> ValuesView[V]:
        """The values, read in batches."""
        return Values(self)
