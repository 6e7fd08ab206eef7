"""Maps as bytes: one element by key; freezing. As `lskel.runtime.elements`."""

from __future__ import annotations

import errno
import struct

from lskel.bpf.enums import Cmd
from lskel.runtime.syscall import BpfError, address_of, bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.objects import Bpf

# The most frequent attr, so not from layouts.MAP_ELEM: map_fd, key, value, flags.
_ELEM = struct.Struct("=i4xQQQ")


def lookup(fd: int, key: bytes, value_size: int, flags: int = 0, *, bpf: Bpf = bpf) -> bytes | None:
    """The value of a key, None if it does not exist. `flags`: BPF_F_LOCK (4)."""
    return _read(Cmd.MAP_LOOKUP_ELEM, fd, key, value_size, flags, bpf)


def lookup_and_delete(fd: int, key: bytes, value_size: int, *, bpf: Bpf = bpf) -> bytes | None:
    """Look up and delete, None if it does not exist. Queues and stacks; hashes since 5.14."""
    return _read(Cmd.MAP_LOOKUP_AND_DELETE_ELEM, fd, key, value_size, 0, bpf)


def _read(cmd: Cmd, fd: int, key: bytes, value_size: int, flags: int, bpf: Bpf) -> bytes | None:
    value = bytearray(value_size)
    try:
        bpf(cmd, _elem(fd, key, address_of(value), flags))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return bytes(value)


def update(
    fd: int, key: bytes, value: bytes | bytearray, flags: int = 0, *, bpf: Bpf = bpf
) -> None:
    """Set a value. `flags`: 0, BPF_NOEXIST (1) or BPF_EXIST (2), optionally BPF_F_LOCK (4)."""
    bpf(Cmd.MAP_UPDATE_ELEM, _elem(fd, key, address_of(value), flags))


def has(fd: int, value: bytes, *, bpf: Bpf = bpf) -> bool:
    """Whether a bloom filter may contain a value."""
    try:
        bpf(Cmd.MAP_LOOKUP_ELEM, _elem(fd, b"", address_of(value)))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def delete(fd: int, key: bytes, *, bpf: Bpf = bpf) -> bool:
    """Delete a key; False if it does not exist."""
    try:
        bpf(Cmd.MAP_DELETE_ELEM, _elem(fd, key))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def next_key(fd: int, key: bytes | None, key_size: int, *, bpf: Bpf = bpf) -> bytes | None:
    """The key after `key`, None after the last; the first if `key` is None or does not exist."""
    found = bytearray(key_size)
    try:
        bpf(Cmd.MAP_GET_NEXT_KEY, _elem(fd, key or b"", address_of(found)))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return bytes(found)


def freeze(fd: int, *, bpf: Bpf = bpf) -> None:
    """Disable writes through bpf(2) permanently; programs may still write. Linux 5.2."""
    bpf(Cmd.MAP_FREEZE, _elem(fd, b""))


def _elem(fd: int, key: bytes, value: int = 0, flags: int = 0) -> bytearray:
    return bytearray(_ELEM.pack(fd, address_of(key), value, flags))
