"""Arrays: elements by index, which always exist."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index as as_index

from lskel.bpf.flags import MapFlag
from lskel.errors import NoElement, UsageError, WrongType, at
from lskel.runtime.kernel import check_running
from lskel.runtime.maps.live import Live, stride
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.maps.views import Items, Values
from lskel.runtime.memory import MappedFd, map_memory
from lskel.runtime.values import Codec, u32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Iterator, ValuesView
    from typing import Any, TypeVar, overload

    from lskel.runtime.maps.base import MapDefinition

    V = TypeVar("V")
else:
    V = object

# Indexes as keys.
INDEX: Any = u32


class ArrayMap(KeyedMap[int, V], Mapping[int, V]):
    """An array: a mapping from indexes below `max_entries` to values, which cannot be deleted.

    A slice returns a list. IndexError if out of range; negative indexes are not supported.
    """

    def __init__(self, definition: MapDefinition, value: type[V] | Codec[V]) -> None:
        super().__init__(definition, INDEX, value)
        self._mapped: MappedFd | None = None

    def _encoded_key(self, key: int) -> bytes:
        return super()._encoded_key(self._number(key))

    def _number(self, key: int) -> int:
        try:
            number = as_index(key)
        except TypeError as error:
            raise self._named(WrongType(str(error)), "index") from None
        if not 0 <= number < self.max_entries:
            raise NoElement(f"map '{self.name}' has {self.max_entries} elements, no [{number}]")
        return number

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> V: ...
        @overload
        def __getitem__(self, index: slice) -> list[V]: ...

    def __getitem__(self, index: int | slice) -> V | list[V]:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        numbers = range(*index.indices(self.max_entries))
        if 2 * len(numbers) > self.max_entries:
            return list(self.all_values())[index]
        get = super().__getitem__
        return [get(number) for number in numbers]

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and 0 <= index < self.max_entries

    def __len__(self) -> int:
        return self.max_entries

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.max_entries))

    def items(self) -> ItemsView[int, V]:
        """The elements, read in batches."""
        return Items(self)

    def values(self) -> ValuesView[V]:
        """The values, read in batches."""
        return Values(self)

    def copy(self) -> dict[int, V]:
        """A copy of the current elements."""
        return dict(self.all_items())

    def update(self, other: Mapping[int, V] | Iterable[tuple[int, V]], /) -> None:
        """Set many elements, in batches; on errors, some of them may be set."""
        pairs: Any = other.items() if isinstance(other, Mapping) else other
        self._write_all((self._number(index), value) for index, value in pairs)

    @property
    def live(self) -> Live[V]:
        """The elements as memory shared with programs: read and written without system calls.

        For maps with BPF_F_MMAPABLE (Linux 5.5), UsageError for others; KernelError with EPERM if
        the map is frozen.
        """
        if not self.definition.flags & MapFlag.MMAPABLE:
            raise UsageError(
                f"map '{self.name}' cannot be mapped",
                hint="declare it with __uint(map_flags, BPF_F_MMAPABLE)",
            )
        fd = self.fileno()
        check_running(self.kernel, "shares no elements")
        if self._mapped is None:
            with at(f"map '{self.name}'"):
                self._mapped = map_memory(fd, stride(self._value.size) * self.max_entries)
        return Live(self.name, self.value_type, self._value, self._mapped.memory)

    def close(self) -> None:
        """Unmap, and close the fd. Live structs keep their memory mapped while they are in use."""
        if self._mapped is not None:
            self._mapped.close()
        super().close()


class SparseArray(ArrayMap[V]):
    """An array whose elements may be empty (CPUMAP, ...): KeyError, and not in `items()`.

    ``del`` clears an element.
    """

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            raise self._named(
                WrongType("elements may be empty, so slices are not supported"), "index"
            )
        return super().__getitem__(index)

    def __delitem__(self, index: int) -> None:
        self._remove(index)

    def __contains__(self, index: object) -> bool:
        return super().__contains__(index) and KeyedMap.__contains__(self, index)

    def __iter__(self) -> Iterator[int]:
        return self._all_keys()

    def __len__(self) -> int:
        return sum(count for _, _, count in self._chunks())
