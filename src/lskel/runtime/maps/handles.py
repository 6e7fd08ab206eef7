"""Elements that are kernel objects: written by fd, read as an id or cookie."""

from __future__ import annotations

import errno
import sys

from lskel.bpf.enums import Cmd, MapType
from lskel.bpf.names import enum_name
from lskel.errors import NotSupported, OutOfRange, WrongType
from lskel.runtime.maps.typed import TypedMap
from lskel.runtime.syscall import ENOTSUPP, BpfError
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

    from lskel.runtime.values.codec import Buffer

    class HasFd(Protocol):
        """A map, a program, a socket, an open file."""

        def fileno(self) -> int:
            """Its fd."""

    Handle: TypeAlias = HasFd | int
    V = TypeVar("V")
    R = TypeVar("R")
    P = ParamSpec("P")
else:
    V = object

_FD_LIMIT = 1 << 31
_READS = (Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_LOOKUP_BATCH)
# Errnos for a lookup that a map type does not support.
_NOT_TOLD = (errno.EOPNOTSUPP, errno.ENOSPC, ENOTSUPP)


def fd_of(value: object) -> int:
    """The fd of a `Handle`; WrongType or OutOfRange if it is not one."""
    number = value if isinstance(value, int) else getattr(value, "fileno", lambda: None)()
    if not isinstance(number, int) or isinstance(number, bool):
        raise WrongType(f"expected an fd, or an object with fileno(), got {type(value).__name__}")
    if not 0 <= number < _FD_LIMIT:
        raise OutOfRange(f"{number} is not an fd")
    return number


def handle(size: int) -> Codec[Any]:
    """The codec of an fd in `size` bytes, which is read as a number: an id or a cookie."""

    def encode(value: Any) -> bytes:
        return fd_of(value).to_bytes(size, sys.byteorder)

    def decode(data: Buffer) -> int:
        return int.from_bytes(data, sys.byteorder)

    return Codec(size, encode, decode)


class NotReadable(TypedMap[V]):
    """A map that user space cannot read (NotSupported), except in some cases."""

    # When the kernel lets user space read it.
    _readable_if = ""

    def _call(self, function: Callable[Concatenate[int, P], R], *args: P.args, **kw: P.kwargs) -> R:
        try:
            return super()._call(function, *args, **kw)
        except BpfError as error:
            if error.cmd not in _READS or error.errno not in _NOT_TOLD:
                raise
            kind = enum_name(MapType, self.definition.type)
            raise NotSupported(
                f"map '{self.name}': the kernel does not let user space read a map of type {kind}",
                hint=self._readable_if,
            ) from error
