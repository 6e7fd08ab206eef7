"""Queues and stacks: push and pop, without keys."""

from __future__ import annotations

from lskel.bpf.flags import ElementFlag
from lskel.errors import NoElement
from lskel.runtime import one_element
from lskel.runtime.maps.typed import TypedMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    V = TypeVar("V")
else:
    V = object


class Queue(TypedMap[V]):
    """A QUEUE: first in, first out. Linux 4.20."""

    _more_room = "push(..., replace=True)"

    def push(self, value: V, *, replace: bool = False) -> None:
        """Push a value; BpfError E2BIG if it is full, unless `replace` (drops the oldest)."""
        flags = ElementFlag.EXIST if replace else 0
        self._call(one_element.update, b"", self._encoded_value(value), flags)

    def pop(self) -> V:
        """Remove and return the next value; IndexError if empty."""
        return self._decoded(self._call(one_element.lookup_and_delete, b"", self._value.size))

    def peek(self) -> V:
        """The next value, without removing it; IndexError if empty."""
        return self._decoded(self._next())

    def drain(self) -> Iterator[V]:
        """Pop values until it is empty."""
        while True:
            try:
                value = self.pop()
            except IndexError:
                return
            yield value

    def _next(self) -> bytes | None:
        return self._call(one_element.lookup, b"", self._value.size)

    def _decoded(self, found: bytes | None) -> V:
        if found is None:
            raise NoElement(f"map '{self.name}' is empty")
        return self._value.decode(found)

    def __bool__(self) -> bool:
        return self._next() is not None


class Stack(Queue[V]):
    """A STACK: last in, first out. Linux 4.20."""
