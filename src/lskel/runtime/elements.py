"""Maps as bytes: elements by key, iteration, per-CPU values, freezing.

The kernel reads as many bytes from a key and a value as the map says, wherever they begin: every
key must be `key_size` bytes, every value `value_size` (for per-CPU maps `percpu_size`). These
functions do not know the map, so they cannot check that. A map without keys (a queue, a stack, a
bloom filter) has the key b"". Refusals are BpfErrors. `bpf` is the kernel that has the map.
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice

from lskel.bpf.attr import load
from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import BATCH
from lskel.catalog.map_types import PER_CPU, Elements, of_elements
from lskel.errors import LskelError, WrongValue
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.syscall import ENOTSUPP, BpfError, address_of, bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from lskel.runtime.objects import Bpf

    class Shape(Protocol):
        """What must be known of a map to read it: of a `MapInfo`, or a `MapDefinition`."""

        @property
        def type(self) -> int:
            """Its `MapType`."""

        @property
        def key_size(self) -> int:
            """In bytes."""

        @property
        def value_size(self) -> int:
            """In bytes, of one CPU."""

        @property
        def max_entries(self) -> int:
            """How many elements it has room for."""


Buffer = bytes | bytearray
Entry = tuple[bytes, bytes]
# Keys and values one behind the other, and how many there are.
Chunk = tuple[Buffer, Buffer, int]

# The attr that is made most often, so not from layouts.MAP_ELEM: map_fd, key, value, flags.
_ELEM = struct.Struct("=i4xQQQ")

# Batches of these neither miss nor repeat an element that stays: they go by bucket or index.
# Those of other types go by key, and lose their place when that key is deleted.
_BATCH_TYPES = of_elements(Elements.ARRAY, Elements.HASH, Elements.LRU_HASH)
_BY_KEY_TYPES = of_elements(Elements.TRIE)
# More makes no batch faster, and Python's garbage collector slower.
_BATCH_MEMORY = 1 << 18
BATCH_UNKNOWN = frozenset((errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP))
# A batch that ends so has delivered a part, and can go on.
_BATCH_PARTIAL = frozenset((errno.EBUSY, errno.EINTR))
# The kernel keeps its place in a hash as a 32-bit bucket number.
_MIN_TOKEN = 4

# How often a walk may on average be thrown back over its keys.
_MAX_ROUNDS = 64
# So many elements make a chunk where they are read one by one.
_WALKED = 64


def lookup(fd: int, key: bytes, value_size: int, flags: int = 0, *, bpf: Bpf = bpf) -> bytes | None:
    """The value of a key, None where the map has none. `flags`: BPF_F_LOCK (4)."""
    return _read(Cmd.MAP_LOOKUP_ELEM, fd, key, value_size, flags, bpf)


def lookup_and_delete(fd: int, key: bytes, value_size: int, *, bpf: Bpf = bpf) -> bytes | None:
    """Take a value out, None where the map has none. Queues and stacks; hashes from 5.14."""
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


def update(fd: int, key: bytes, value: bytes, flags: int = 0, *, bpf: Bpf = bpf) -> None:
    """Set a value. `flags`: 0, BPF_NOEXIST (1) or BPF_EXIST (2), and BPF_F_LOCK (4)."""
    bpf(Cmd.MAP_UPDATE_ELEM, _elem(fd, key, address_of(value), flags))


def has(fd: int, value: bytes, *, bpf: Bpf = bpf) -> bool:
    """Whether a bloom filter may have a value."""
    try:
        bpf(Cmd.MAP_LOOKUP_ELEM, _elem(fd, b"", address_of(value)))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def delete(fd: int, key: bytes, *, bpf: Bpf = bpf) -> bool:
    """Remove a key; False where the map does not have it."""
    try:
        bpf(Cmd.MAP_DELETE_ELEM, _elem(fd, key))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def next_key(fd: int, key: bytes | None, key_size: int, *, bpf: Bpf = bpf) -> bytes | None:
    """The key after `key`, None after the last; the first where `key` is None or not there."""
    found = bytearray(key_size)
    try:
        bpf(Cmd.MAP_GET_NEXT_KEY, _elem(fd, key or b"", address_of(found)))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return bytes(found)


def freeze(fd: int, *, bpf: Bpf = bpf) -> None:
    """No more writes through bpf(2), for good; programs may still write. Kernel 5.2."""
    bpf(Cmd.MAP_FREEZE, _elem(fd, b""))


def _elem(fd: int, key: bytes, value: int = 0, flags: int = 0) -> bytearray:
    return bytearray(_ELEM.pack(fd, address_of(key), value, flags))


def items(fd: int, info: Shape, *, bpf: Bpf = bpf) -> Iterator[Entry]:
    """Every key with its value; `info` is the map's. Per-CPU values come as `split_percpu` takes.

    Keys that stay in the map come once each, whoever else deletes or adds meanwhile; the caller
    may delete as it goes. LskelError where the map changes faster than it can be read.
    """
    for keys, values, count in chunks(fd, info, bpf=bpf):
        yield from zip(
            _split(keys, info.key_size, count),
            _split(values, stored_size(info), count),
            strict=True,
        )


def chunks(fd: int, info: Shape, *, take: bool = False, bpf: Bpf = bpf) -> Iterator[Chunk]:
    """Like `items`, as many elements at once as the kernel hands out. With `take` they are removed.

    What is taken is what was removed: each element in one step, where the map has batches, which
    tries have for reading only. One by one where kernel or map have none. The buffers may be used
    again for the next chunk.
    """
    key_size, value_size = info.key_size, stored_size(info)
    by_key = info.type in _BY_KEY_TYPES and not take
    if info.type in _BATCH_TYPES or by_key:
        room = max(1, _BATCH_MEMORY // (key_size + value_size))
        cmd = Cmd.MAP_LOOKUP_AND_DELETE_BATCH if take else Cmd.MAP_LOOKUP_BATCH
        batches = _batches(cmd, fd, key_size, value_size, min(room, info.max_entries), bpf)
        try:
            first = next(batches, None)
        except BpfError as error:
            if error.errno not in BATCH_UNKNOWN:
                raise
        else:
            found = batches if first is None else chain((first,), batches)
            yield from _once(found, fd, key_size, value_size, bpf) if by_key else found
            return
    walk = _walk(fd, key_size, value_size, bpf)
    while some := [*islice(walk, _WALKED)]:
        if take:
            some = [entry for entry in some if delete(fd, entry[0], bpf=bpf)]
        yield _chunk(some)


def _chunk(entries: Collection[Entry]) -> Chunk:
    keys, values = b"".join(key for key, _ in entries), b"".join(value for _, value in entries)
    return keys, values, len(entries)


def _once(
    batches: Iterable[Chunk], fd: int, key_size: int, value_size: int, bpf: Bpf
) -> Iterator[Chunk]:
    """Without what came before: the kernel starts again when the last key of a batch is gone.

    Since that may be so each time, what is left is read one by one then.
    """
    seen: set[bytes] = set()
    for keys, values, count in batches:
        entries = zip(_split(keys, key_size, count), _split(values, value_size, count), strict=True)
        fresh = {key: value for key, value in entries if key not in seen}
        seen.update(fresh)
        if len(fresh) == count:
            yield keys, values, count
            continue
        yield _chunk(fresh.items())
        rest = (entry for entry in _walk(fd, key_size, value_size, bpf) if entry[0] not in seen)
        while some := [*islice(rest, _WALKED)]:
            yield _chunk(some)
        return


def _walk(fd: int, key_size: int, value_size: int, bpf: Bpf) -> Iterator[Entry]:
    # The kernel starts again from the first key when the one it is asked about is gone.
    seen: set[bytes] = set()
    repeats = 0
    key = next_key(fd, None, key_size, bpf=bpf)
    while key is not None:
        fresh = key not in seen
        seen.add(key)
        value = lookup(fd, key, value_size, bpf=bpf) if fresh else None
        # Asked before the caller gets a chance to delete the key.
        following = next_key(fd, key, key_size, bpf=bpf)
        if value is not None:
            yield key, value
        repeats += not fresh
        if repeats > _MAX_ROUNDS * len(seen):
            raise LskelError("the map changes faster than it can be read")
        key = following


def lookup_batch(
    fd: int, key_size: int, value_size: int, count: int, *, bpf: Bpf = bpf
) -> Iterator[list[Entry]]:
    """All elements, in lists of at most `count`, or more where one hash bucket holds more.

    BpfError with EINVAL, EOPNOTSUPP or ENOTSUPP where kernel or map have no batches: arrays and
    hashes have them from 5.6, per-CPU arrays from 5.13. Tries, and maps of maps other than
    hashes, may repeat elements while others delete.
    """
    for keys, values, found in _batches(Cmd.MAP_LOOKUP_BATCH, fd, key_size, value_size, count, bpf):
        yield [*zip(_split(keys, key_size, found), _split(values, value_size, found), strict=True)]


def _batches(
    cmd: Cmd, fd: int, key_size: int, value_size: int, count: int, bpf: Bpf
) -> Iterator[Chunk]:
    """The buffers are used again for the next chunk."""
    token = bytearray(max(key_size, _MIN_TOKEN))
    started = ended = False
    keys, values = bytearray(key_size * count), bytearray(value_size * count)
    while not ended:
        attr = host_attr(
            BATCH,
            "flags",
            in_batch=address_of(token) if started else 0,
            out_batch=address_of(token),
            keys=address_of(keys),
            values=address_of(values),
            count=count,
            map_fd=fd,
        )
        try:
            bpf(cmd, attr)
        except BpfError as error:
            if error.errno == errno.ENOSPC:
                count *= 2
                keys, values = bytearray(key_size * count), bytearray(value_size * count)
                continue
            ended = error.errno == errno.ENOENT
            if not ended and error.errno not in _BATCH_PARTIAL:
                raise
        found = load(attr, BATCH, "count", sys.byteorder)
        started = started or found > 0
        if found:
            yield keys, values, found


def update_batch(
    fd: int, info: Shape, keys: Buffer, values: Buffer, flags: int = 0, *, bpf: Bpf = bpf
) -> None:
    """Set elements whose keys and values lie one behind the other, of the sizes that `info` says.

    In batches (Linux 5.6, per-CPU arrays 5.13), or one by one where kernel or map have none. When
    it is refused (BpfError), elements before the refused one are set.
    """
    try:
        _write(Cmd.MAP_UPDATE_BATCH, fd, info, keys, values, flags, bpf)
    except BpfError as error:
        if error.errno not in BATCH_UNKNOWN:
            raise
        count = len(keys) // info.key_size
        for key, value in zip(
            _split(keys, info.key_size, count),
            _split(values, stored_size(info), count),
            strict=True,
        ):
            update(fd, key, value, flags, bpf=bpf)


def delete_batch(fd: int, info: Shape, keys: Buffer, *, bpf: Bpf = bpf) -> int:
    """Remove keys, which lie one behind the other; how many of them were there. As `update_batch`.

    A missing key ends the kernel's batch, so each costs a system call.
    """
    count = len(keys) // info.key_size
    try:
        return count - _write(Cmd.MAP_DELETE_BATCH, fd, info, keys, b"", 0, bpf)
    except BpfError as error:
        if error.errno not in BATCH_UNKNOWN:
            raise
    return sum(delete(fd, key, bpf=bpf) for key in _split(keys, info.key_size, count))


def _write(
    cmd: Cmd, fd: int, info: Shape, keys: Buffer, values: Buffer, flags: int, bpf: Bpf
) -> int:
    """A batch that only writes, to its end; how many keys were left out, for they are not there."""
    key_size, value_size = info.key_size, stored_size(info)
    count = len(keys) // key_size
    done = missing = 0
    while done < count:
        attr = host_attr(
            BATCH,
            "flags",
            keys=address_of(keys) + done * key_size,
            values=address_of(values) + done * value_size if values else 0,
            count=count - done,
            map_fd=fd,
            elem_flags=flags,
        )
        try:
            bpf(cmd, attr)
        except BpfError as error:
            is_missing = cmd == Cmd.MAP_DELETE_BATCH and error.errno == errno.ENOENT
            if not is_missing and error.errno not in _BATCH_PARTIAL:
                raise
            missing += is_missing
            done += load(attr, BATCH, "count", sys.byteorder) + is_missing
        else:
            return missing
    return missing


def _split(memory: Buffer, size: int, count: int) -> Iterator[bytes]:
    found = bytes(memory[: size * count])
    return (found[at : at + size] for at in range(0, len(found), size))


def stored_size(info: Shape) -> int:
    """Bytes that the kernel reads or writes for one value of this map."""
    return percpu_size(info.value_size) if info.type in PER_CPU else info.value_size


def percpu_size(value_size: int) -> int:
    """Bytes of a per-CPU value: one for each possible CPU, each a multiple of 8 bytes."""
    return _round8(value_size) * len(possible_cpus())


def split_percpu(memory: bytes, value_size: int) -> tuple[bytes, ...]:
    """The values of all possible CPUs, in order of CPU."""
    step = _round8(value_size)
    return tuple(memory[at : at + value_size] for at in range(0, len(memory), step))


def join_percpu(values: Sequence[bytes]) -> bytes:
    """The opposite of `split_percpu`; ValueError unless there is one value per possible CPU."""
    cpus = len(possible_cpus())
    if len(values) != cpus or len(set(map(len, values))) > 1:
        raise WrongValue(f"{cpus} values of one size are needed, one for each possible CPU")
    return b"".join(value.ljust(_round8(len(value)), b"\0") for value in values)


def lookup_percpu(
    fd: int, key: bytes, value_size: int, *, bpf: Bpf = bpf
) -> tuple[bytes, ...] | None:
    """The values of all possible CPUs, in order of CPU; None where the map has no such key."""
    memory = lookup(fd, key, percpu_size(value_size), bpf=bpf)
    return None if memory is None else split_percpu(memory, value_size)


def update_percpu(
    fd: int, key: bytes, values: Sequence[bytes], flags: int = 0, *, bpf: Bpf = bpf
) -> None:
    """Set the values of all possible CPUs; ValueError unless there is one for each."""
    update(fd, key, join_percpu(values), flags, bpf=bpf)


def _round8(size: int) -> int:
    return size + 7 & ~7
