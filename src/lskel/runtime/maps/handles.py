"""Maps whose values are kernel objects: written as fds, or as what has one, read as ids."""

from __future__ import annotations

import os
import sys

from lskel.runtime import elements
from lskel.runtime.attach.interface import interface_index
from lskel.runtime.maps.array import INDEX, ArrayMap
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol, TypeVar

    from lskel.runtime.maps.base import MapDefinition

    class HasFileno(Protocol):
        """A map, a program, a socket, a file."""

        def fileno(self) -> int:
            """Its fd."""

    K = TypeVar("K")
else:
    K = object


def _fd(value: Any) -> bytes:
    number = value if isinstance(value, int) else value.fileno()
    return int(number).to_bytes(4, sys.byteorder)


def _number(data: Any) -> int:
    return int.from_bytes(data, sys.byteorder)


def handles(size: int) -> Codec[Any]:
    """The codec of fds; `size` bytes are what the kernel gives back: an id, or a cookie of 8."""

    def encode(value: Any) -> bytes:
        return _fd(value).ljust(size, b"\0")

    return Codec(size, encode, _number)


class HandleHash(HashMap[K, "Any"]):
    """A hash of maps (HASH_OF_MAPS), sockets (SOCKHASH) or the like.

    Values are set by what has a `fileno()`, or by an fd; those read are ids of maps, cookies of
    sockets (where values have 8 bytes).
    """

    def __init__(self, definition: MapDefinition, key: type[K] | Codec[K]) -> None:
        super().__init__(definition, key, handles(definition.value_size))


class HandleArray(ArrayMap["Any"]):
    """An array of maps (ARRAY_OF_MAPS), programs (PROG_ARRAY), sockets (SOCKMAP) or the like.

    As `HandleHash`; an element may be empty: KeyError, and it is left out of `items()`. ``del``
    empties it again.
    """

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition, handles(definition.value_size))

    def __delitem__(self, index: int) -> None:
        if not elements.delete(self.fileno(), u32_bytes(self._number(index))):
            raise KeyError(index)

    def __contains__(self, index: object) -> bool:
        if not super().__contains__(index):
            return False
        raw = u32_bytes(index)  # type: ignore[arg-type]
        return elements.lookup(self.fileno(), raw, self._value.size) is not None

    def __iter__(self) -> Iterator[int]:
        return (index for index in range(self.max_entries) if index in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def batches(self) -> Iterator[list[tuple[int, Any]]]:
        """The elements that are not empty, in one list."""
        yield [(index, self[index]) for index in self]


class CgroupArray(HandleArray):
    """A CGROUP_ARRAY: set by the path of a cgroup, or an fd of it. It cannot be read."""

    def __setitem__(self, index: int, value: Any) -> None:
        if not isinstance(value, (str, os.PathLike)):
            super().__setitem__(index, value)
            return
        fd = os.open(value, os.O_RDONLY | os.O_CLOEXEC)
        try:
            super().__setitem__(index, fd)
        finally:
            os.close(fd)


class InterfaceArray(HandleArray):
    """A DEVMAP: set by an interface's name or number, read as numbers."""

    def __setitem__(self, index: int, value: Any) -> None:
        super().__setitem__(index, interface_index(value))


class InterfaceHash(HandleHash[int]):
    """A DEVMAP_HASH: as `InterfaceArray`, by any number."""

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition, INDEX)

    def __setitem__(self, index: int, value: Any) -> None:
        super().__setitem__(index, interface_index(value))


def u32_bytes(number: int) -> bytes:
    """A key of an array."""
    return number.to_bytes(4, sys.byteorder)
