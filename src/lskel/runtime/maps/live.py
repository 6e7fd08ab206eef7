"""Elements of arrays as memory shared with programs (BPF_F_MMAPABLE)."""

from __future__ import annotations

from lskel.errors import NoElement
from lskel.light_typing import Generic
from lskel.runtime.values import Array, Struct, Union

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

    from lskel.runtime.values import Codec

    V = TypeVar("V")
else:
    V = object


def stride(size: int) -> int:
    """Distance between elements of an array with values of `size` bytes."""
    return size + 7 & ~7


class Live(Generic[V]):
    """The elements of an array (`ArrayMap.live`), by index.

    Structs and arrays are views: ``live[3].packets += 1`` changes the element. Numbers are read and
    written in one access; ``+=`` is not atomic.
    """

    def __init__(
        self, name: str, type_: type[V] | Codec[V], codec: Codec[Any], memory: memoryview
    ) -> None:
        self._name = name
        self._codec = codec
        self._memory = memory
        self._stride = stride(codec.size)
        is_view = isinstance(type_, type) and issubclass(type_, (Array, Struct, Union))
        self._view: Any = type_ if is_view else None
        # Module `struct` copies byte by byte.
        self._numbers: Any = memory.cast(codec.code) if codec.code else None  # type: ignore[call-overload]

    def __len__(self) -> int:
        return len(self._memory) // self._stride

    def __iter__(self) -> Iterator[V]:
        return (self[index] for index in range(len(self)))

    def _start(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise NoElement(f"map '{self._name}' has {len(self)} elements, no [{index}]")
        return index * self._stride

    def __getitem__(self, index: int) -> V:
        start, size = self._start(index), self._codec.size
        value: V
        if self._view is not None:
            value = self._view.from_buffer(self._memory, start)
        elif self._numbers is not None:
            value = self._numbers[start // size]
        else:
            value = self._codec.decode(self._memory[start : start + size])
        return value

    def __setitem__(self, index: int, value: V) -> None:
        start, size = self._start(index), self._codec.size
        data = self._codec.encode(value)
        if self._numbers is not None:
            self._numbers[start // size] = self._codec.decode(data)
        else:
            self._memory[start : start + size] = data
