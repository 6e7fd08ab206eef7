"""Redirect maps of XDP programs: devices and CPUs."""

from __future__ import annotations

import struct

from lskel.errors import OutOfRange, WrongType, WrongValue
from lskel.light_typing import NamedTuple
from lskel.runtime.maps.array import INDEX, SparseArray
from lskel.runtime.maps.handles import fd_of
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias, TypeVar

    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.maps.handles import Handle
    from lskel.runtime.values.codec import Buffer

    T = TypeVar("T")
    Target: TypeAlias = "Device | str | int | tuple[str | int, Handle]"

# struct bpf_devmap_val and struct bpf_cpumap_val: a number, and a program's fd or id. The program
# is optional.
_WITHOUT_PROGRAM = 4


class Device(NamedTuple):
    """An entry of a DEVMAP: the interface index, and the id of its XDP program (or 0)."""

    ifindex: int
    prog_id: int = 0


class CpuQueue(NamedTuple):
    """An entry of a CPUMAP: the queue size in packets, and the id of its XDP program (or 0)."""

    size: int
    prog_id: int = 0


def _target(size: int, made: Callable[[int, int], T], number_of: Callable[[Any], int]) -> Codec[T]:
    """The codec of a number with a program, written as an fd and read as an id."""

    def encode(value: Any) -> bytes:
        if isinstance(value, (Device, CpuQueue)) and value.prog_id:
            raise WrongType("expected a program or its fd, not its id")
        first, program = value if isinstance(value, tuple) else (value, 0)
        number = number_of(first)
        if size == _WITHOUT_PROGRAM:
            if program:
                raise WrongValue("its values have no field for a program")
            return struct.pack("=I", number)
        return struct.pack("=Ii", number, fd_of(program))

    def decode(data: Buffer) -> T:
        number, program = struct.unpack("=II", bytes(data).ljust(8, b"\0"))
        return made(number, program)

    return Codec(size, encode, decode)


def _devices(size: int) -> Codec[Device]:
    from lskel.runtime.attach.interface import interface_index

    return _target(size, Device, interface_index)


def _queue_size(size: Any) -> int:
    if not isinstance(size, int):
        raise WrongType(f"queue size: expected an integer, got {type(size).__name__}")
    if not 0 < size < 1 << 32:
        raise OutOfRange(f"queue size {size} is out of range")
    return size


class DevMap(SparseArray[Device]):
    """A DEVMAP: set by interface name or index, or a tuple of that and an XDP program.

    Read as `Device`. Linux 4.14, with programs 5.8.
    """

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition, _devices(definition.value_size))

    def __setitem__(self, index: int, value: Target) -> None:
        super().__setitem__(index, value)  # type: ignore[assignment]


class DevMapHash(HashMap[int, Device]):
    """A DEVMAP_HASH: as `DevMap`, by any number. Linux 5.4."""

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition, INDEX, _devices(definition.value_size))

    def __setitem__(self, key: int, value: Target) -> None:
        super().__setitem__(key, value)  # type: ignore[assignment]


class CpuMap(SparseArray[CpuQueue]):
    """A CPUMAP, by CPU: set by queue size, or a tuple of that and an XDP program.

    Read as `CpuQueue`. Linux 4.15, with programs 5.9.
    """

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition, _target(definition.value_size, CpuQueue, _queue_size))

    def __setitem__(self, index: int, value: CpuQueue | int | tuple[int, Handle]) -> None:
        super().__setitem__(index, value)  # type: ignore[assignment]
