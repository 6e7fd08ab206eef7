"""Queues and stacks: values that go in and come out, without keys."""

from __future__ import annotations

from lskel.bpf.flags import ElementFlag
from lskel.errors import NoElement
from lskel.runtime import elements
from lskel.runtime.maps.typed import TypedMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    V = TypeVar("V")
else:
    V = object


class Queue(TypedMap[V]):
    """A QUEUE, whose oldest value comes out first. Kernel 4.20."""

    _more_room = "push(..., replace=True)"

    def push(self, value: V, *, replace: bool = False) -> None:
        """Put a value in; BpfError E2BIG where it is full, unless the oldest may be replaced."""
        flags = ElementFlag.EXIST if replace else 0
        self._call(elements.update, b"", self._encoded_value(value), flags)

    def pop(self) -> V:
        """Take the next value out; IndexError where there is none."""
        return self._decoded(self._call(elements.lookup_and_delete, b"", self._value.size))

    def peek(self) -> V:
        """The next value, which stays; IndexError where there is none."""
        return self._decoded(self._next())

    def drain(self) -> Iterator[V]:
        """Take values out until there is none."""
        while True:
            try:
                value = self.pop()
            except IndexError:
                return
            yield value

    def _next(self) -> bytes | None:
        return self._call(elements.lookup, b"", self._value.size)

    def _decoded(self, found: bytes | None) -> V:
        if found is None:
            raise NoElement(f"map '{self.name}' is empty")
        return self._value.decode(found)

    def __bool__(self) -> bool:
        return self._next() is not None


class Stack(Queue[V]):
    """A STACK, whose newest value comes out first. Kernel 4.20."""
