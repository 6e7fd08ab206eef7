"""Queues and stacks: values that go in and come out, without keys."""

from __future__ import annotations

import errno

from lskel.named import Generic
from lskel.runtime import elements
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.maps.typed import EXIST, codec_of
from lskel.runtime.syscall import BpfError
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    V = TypeVar("V")
else:
    V = object


class Queue(Map, Generic[V]):
    """A QUEUE, whose oldest value comes out first. Kernel 4.20."""

    def __init__(self, definition: MapDefinition, value: type[V] | Codec[V]) -> None:
        super().__init__(definition)
        self._value = codec_of(value)

    def push(self, value: V, *, replace: bool = False) -> None:
        """Put a value in; BpfError E2BIG where it is full, unless the oldest may be replaced."""
        flags = EXIST if replace else 0
        try:
            elements.update(self.fileno(), b"", self._value.encode(value), flags)
        except BpfError as error:
            error.places.insert(0, f"map '{self.name}'")
            if error.errno == errno.E2BIG:
                error.hint = f"it has room for {self.max_entries} values: push(..., replace=True)"
            raise

    def pop(self) -> V:
        """Take the next value out; IndexError where there is none."""
        return self._taken(elements.lookup_and_delete(self.fileno(), b"", self._value.size))

    def peek(self) -> V:
        """The next value, which stays; IndexError where there is none."""
        return self._taken(elements.lookup(self.fileno(), b"", self._value.size))

    def _taken(self, found: bytes | None) -> V:
        if found is None:
            raise IndexError(f"map '{self.name}' is empty")
        return self._value.decode(found)

    def __bool__(self) -> bool:
        return elements.lookup(self.fileno(), b"", self._value.size) is not None


class Stack(Queue[V]):
    """A STACK, whose newest value comes out first. Kernel 4.20."""
