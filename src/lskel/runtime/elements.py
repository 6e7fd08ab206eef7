"""Maps as bytes: all elements, in batches or one by one; per-CPU values.

The kernel reads the map's key_size and value_size bytes from any pointer: every key must have
`key_size` bytes, every value `value_size` (per-CPU maps: `percpu_size`). These functions do not
know the map, so they cannot check that. A map without keys (queue, stack, bloom filter) has the key
b"". Errors are BpfErrors. `bpf` is the bpf(2) of the kernel that has the map.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice

from lskel.bpf.attr import load
from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import BATCH
from lskel.catalog.map_types import PER_CPU, Elements, of_elements
from lskel.errors import LskelError, WrongValue
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.one_element import delete, lookup, next_key, update
from lskel.runtime.syscall import ENOTSUPP, BpfError, address_of, bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from lskel.runtime.objects import Bpf

    class Shape(Protocol):
        """What is needed to read a map; a `MapInfo` or a `MapDefinition`."""

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
            """The maximum number of elements."""


Buffer = bytes | bytearray
Entry = tuple[bytes, bytes]
# Contiguous keys, contiguous values, and their number.
Chunk = tuple[Buffer, Buffer, int]

# Batches of these types neither miss nor repeat an element that stays: they go by bucket or index.
# Other types go by key, and lose their position when that key is deleted.
_BATCH_TYPES = of_elements(Elements.ARRAY, Elements.HASH, Elements.LRU_HASH)
_BY_KEY_TYPES = of_elements(Elements.TRIE)
# Of these the order changes when the kernel resizes them: a walk that deletes misses some.
_GROWING_TYPES = of_elements(Elements.GROWING_HASH)
# A larger batch is not faster, and slows down Python's garbage collector.
_BATCH_MEMORY = 1 << 18
BATCH_UNKNOWN = frozenset((errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP))
# After these errors a batch has returned some elements, and can continue.
_BATCH_PARTIAL = frozenset((errno.EBUSY, errno.EINTR))
# The kernel's position in a hash is a 32-bit bucket number.
_MIN_TOKEN = 4

# How often, on average, an iteration may restart per key.
_MAX_ROUNDS = 64
# Elements per chunk when they are read one by one.
_WALKED = 64


def items(fd: int, info: Shape, *, bpf: Bpf = bpf) -> Iterator[Entry]:
    """Every key with its value; `info` describes the map. Per-CPU values are for `split_percpu`.

    Keys that stay in the map come once each, even if others delete or add meanwhile; the caller may
    delete while iterating. LskelError if the map changes faster than it can be read.
    """
    for keys, values, count in chunks(fd, info, bpf=bpf):
        yield from zip(
            _split(keys, info.key_size, count),
            _split(values, stored_size(info), count),
            strict=True,
        )


def chunks(fd: int, info: Shape, *, take: bool = False, bpf: Bpf = bpf) -> Iterator[Chunk]:
    """Like `items`, in chunks as the kernel returns them. With `take` they are removed.

    What is returned is what was removed: atomic per element if the map has batches (tries have them
    for reading only), else one by one. The buffers may be reused for the next chunk.
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
    for _ in range(_MAX_ROUNDS if take and info.type in _GROWING_TYPES else 1):
        walk, is_done = _walk(fd, key_size, value_size, bpf), True
        while some := [*islice(walk, _WALKED)]:
            if take:
                some = [entry for entry in some if delete(fd, entry[0], bpf=bpf)]
            is_done = is_done and not some
            yield _chunk(some)
        if is_done:
            return


def _chunk(entries: Collection[Entry]) -> Chunk:
    keys, values = b"".join(key for key, _ in entries), b"".join(value for _, value in entries)
    return keys, values, len(entries)


def _once(
    batches: Iterable[Chunk], fd: int, key_size: int, value_size: int, bpf: Bpf
) -> Iterator[Chunk]:
    """Skip what came before: the kernel restarts when the last key of a batch is gone.

    As that may happen each time, the rest is then read one by one.
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
    # The kernel restarts from the first key when the previous key is gone.
    seen: set[bytes] = set()
    repeats = 0
    key = next_key(fd, None, key_size, bpf=bpf)
    while key is not None:
        fresh = key not in seen
        seen.add(key)
        value = lookup(fd, key, value_size, bpf=bpf) if fresh else None
        # Looked up before the caller can delete the key.
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
    """All elements, in chunks of at most `count`, or more if one hash bucket holds more.

    BpfError with EINVAL, EOPNOTSUPP or ENOTSUPP if the kernel or map type has no batches: arrays
    and hashes have them since 5.6, per-CPU arrays since 5.13. Tries, and maps of maps other than
    hashes, may repeat elements while others delete.
    """
    for keys, values, found in _batches(Cmd.MAP_LOOKUP_BATCH, fd, key_size, value_size, count, bpf):
        yield [*zip(_split(keys, key_size, found), _split(values, value_size, found), strict=True)]


def _batches(
    cmd: Cmd, fd: int, key_size: int, value_size: int, count: int, bpf: Bpf
) -> Iterator[Chunk]:
    """The buffers are reused for the next chunk."""
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
    """Set elements from contiguous keys and contiguous values, of the sizes in `info`.

    In batches (Linux 5.6, per-CPU arrays 5.13), else one by one. On BpfError, elements before the
    refused one are set.
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
    """Remove contiguous keys; returns how many existed. As `update_batch`.

    A missing key ends the kernel's batch, so each one costs a system call.
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
    """Write all keys in batches; returns how many were skipped because they do not exist."""
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
    """Bytes that the kernel copies for one value of this map."""
    return percpu_size(info.value_size) if info.type in PER_CPU else info.value_size


def percpu_size(value_size: int) -> int:
    """Bytes of a per-CPU value: one value per possible CPU, each rounded up to 8 bytes."""
    return _round8(value_size) * len(possible_cpus())


def split_percpu(memory: bytes, value_size: int) -> tuple[bytes, ...]:
    """The values of all possible CPUs, in order of CPU."""
    step = _round8(value_size)
    return tuple(memory[at : at + value_size] for at in range(0, len(memory), step))


def join_percpu(values: Sequence[bytes]) -> bytes:
    """The opposite of `split_percpu`; ValueError unless there is one value per possible CPU."""
    cpus = len(possible_cpus())
    if len(values) != cpus or len(set(map(len, values))) > 1:
        raise WrongValue(f"expected {cpus} values of one size, one for each possible CPU")
    return b"".join(value.ljust(_round8(len(value)), b"\0") for value in values)


def lookup_percpu(
    fd: int, key: bytes, value_size: int, *, bpf: Bpf = bpf
) -> tuple[bytes, ...] | None:
    """The values of all possible CPUs, in order of CPU; None if the key does not exist."""
    memory = lookup(fd, key, percpu_size(value_size), bpf=bpf)
    return None if memory is None else split_percpu(memory, value_size)


def update_percpu(
    fd: int, key: bytes, values: Sequence[bytes], flags: int = 0, *, bpf: Bpf = bpf
) -> None:
    """Set the values of all possible CPUs; ValueError unless there is one for each."""
    update(fd, key, join_percpu(values), flags, bpf=bpf)


def _round8(size: int) -> int:
    return size + 7 & ~7
