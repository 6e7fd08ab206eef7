"""What Linux 6.18 lets each type of map be: sizes, flags, types of keys and values.

Found in kernel/bpf/*map*.c and confirmed by tests against bpf(2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.errors import BadObject
from lskel.replay.simulator.syscall.attrs import Attr
from lskel.replay.simulator.syscall.errnos import Errno, check

PAGE_SIZE = 4096
# CONFIG_NR_CPUS, as distributions set it.
MAX_CPUS = 8192
_KMALLOC_MAX = 1 << 22
_INT_MAX = (1 << 31) - 1
_U32_MAX = (1 << 32) - 1
# PCPU_MIN_UNIT_SIZE: the largest per-CPU value.
_PERCPU_MAX = 1 << 15
# BPF_LOCAL_STORAGE_MAX_VALUE_SIZE
_LOCAL_MAX = 65407
# sizeof(struct htab_elem), struct lpm_trie_node with its longest key
_HASH_ELEMENT = 48
_TRIE_NODE = 280
_STACK_DEPTH = 127
_BUILD_ID_SIZE = 32
_SOCKHASH_KEY_MAX = 512
_RING_MAX = 1 << 36
_BLOOM_HASHES = 0xF

_FD_ACCESS = MapFlag.RDONLY | MapFlag.WRONLY
_ACCESS = _FD_ACCESS | MapFlag.RDONLY_PROG | MapFlag.WRONLY_PROG

Allowed = Callable[[int], bool]
# Refuses where a map may not have BTF: gets its BTF, and the ids of the key's and value's types.
Typing = Callable[[Btf, Attr], None]


def _exactly(*numbers: int) -> Allowed:
    return lambda number: number in numbers


def _none(number: int) -> bool:
    return number == 0


def _some(number: int) -> bool:
    return number > 0


def _between(low: int, high: int) -> Allowed:
    return lambda number: low <= number <= high


def _pages(number: int) -> bool:
    return number >= PAGE_SIZE and number & (number - 1) == 0


# -- types of keys and values -------------------------------------------------------------------


def _sized(btf: Btf, type_id: int, size: int) -> bool:
    try:
        return type_id != 0 and btf.size_of(TypeId(type_id)) == size
    except BadObject:
        return False


def _key_and_value(btf: Btf, attr: Attr) -> None:
    check(_sized(btf, attr["btf_key_type_id"], attr["key_size"]))
    check(_sized(btf, attr["btf_value_type_id"], attr["value_size"]))


def _value_only(btf: Btf, attr: Attr) -> None:
    if attr["btf_key_type_id"]:
        check(_sized(btf, attr["btf_key_type_id"], attr["key_size"]))
    check(_sized(btf, attr["btf_value_type_id"], attr["value_size"]))


def _no_types(btf: Btf, attr: Attr) -> None:
    _value_only(btf, attr)
    check(False, Errno.ENOTSUPP)


def _integer_key(btf: Btf, attr: Attr) -> None:
    _key_and_value(btf, attr)
    check(_is_u32(btf, attr["btf_key_type_id"]))


def _is_u32(btf: Btf, type_id: int) -> bool:
    key = btf[btf.resolve(TypeId(type_id))]
    return isinstance(key, t.Int) and key.bits == 32 and key.offset == 0


def _array(btf: Btf, attr: Attr) -> None:
    """Global data have no key type: one element, whose type is a section."""
    _value_only(btf, attr)
    if attr["btf_key_type_id"]:
        check(_is_u32(btf, attr["btf_key_type_id"]))
        return
    value = btf[TypeId(attr["btf_value_type_id"])]
    check(attr["map_type"] == MapType.ARRAY and attr["max_entries"] == 1)
    check(isinstance(value, t.Datasec))


def _cgroup_key(btf: Btf, attr: Attr) -> None:
    """struct bpf_cgroup_storage_key, or the u64 that it begins with."""
    _key_and_value(btf, attr)
    key = btf[btf.resolve(TypeId(attr["btf_key_type_id"]))]
    if attr["key_size"] == 8:
        check(isinstance(key, t.Int))
    else:
        check(isinstance(key, t.Struct) and len(key.members) == 2)


def _trie(btf: Btf, attr: Attr) -> None:
    _key_and_value(btf, attr)
    check(isinstance(btf[btf.resolve(TypeId(attr["btf_key_type_id"]))], t.Struct))


# -- the rules --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rules:
    """What MAP_CREATE checks for a type of map.

    `keys`, `values`, `entries` are the sizes in bytes and the counts that it may have (EINVAL),
    `needs` the flags it must have, `flags` those it may have besides. Values above
    `value_limit` bytes, and more entries than `entry_limit`, get E2BIG. `extra` is what map_extra
    may hold. `innermost` is whether maps of maps take it, `by_size` if only with equal
    max_entries.
    """

    keys: Allowed
    values: Allowed
    entries: Allowed
    flags: int
    needs: int = 0
    value_limit: int = _U32_MAX
    entry_limit: int = _U32_MAX
    extra: Allowed = _none
    typing: Typing = _key_and_value
    also: Callable[[Attr], None] | None = None
    inner: bool = True
    by_size: bool = False

    def check(self, attr: Attr) -> None:
        """Refusal where the map may not be so; the attr's types are not looked at."""
        flags = attr["map_flags"]
        check(not flags & ~(self.flags | self.needs) and flags & self.needs == self.needs)
        check(not flags & MapFlag.RDONLY_PROG or not flags & MapFlag.WRONLY_PROG)
        check(self.keys(attr["key_size"]) and self.values(attr["value_size"]))
        check(self.entries(attr["max_entries"]))
        check(attr["value_size"] <= self.value_limit, Errno.E2BIG)
        check(attr["max_entries"] <= self.entry_limit, Errno.E2BIG)
        if self.also is not None:
            self.also(attr)


def _hash_limits(attr: Attr) -> None:
    room = _KMALLOC_MAX - _HASH_ELEMENT
    check(attr["key_size"] + attr["value_size"] < room, Errno.E2BIG)


def _lru(attr: Attr) -> None:
    flags = attr["map_flags"]
    check(not flags & MapFlag.NO_PREALLOC, Errno.ENOTSUPP)
    check(not flags & MapFlag.NO_COMMON_LRU or not flags & MapFlag.NUMA_NODE)
    _hash_limits(attr)


def _stack_trace(attr: Attr) -> None:
    record = _BUILD_ID_SIZE if attr["map_flags"] & MapFlag.STACK_BUILD_ID else 8
    check(attr["value_size"] % record == 0 and attr["value_size"] // record <= _STACK_DEPTH)


def _sockhash(attr: Attr) -> None:
    check(attr["key_size"] <= _SOCKHASH_KEY_MAX, Errno.E2BIG)


def _local_storage(attr: Attr) -> None:
    check(attr["btf_key_type_id"] != 0 and attr["btf_value_type_id"] != 0)


def _struct_ops(attr: Attr) -> None:
    check(attr["btf_vmlinux_value_type_id"] != 0)


_HASH = Rules(
    keys=_some,
    values=_some,
    entries=_some,
    flags=MapFlag.NO_PREALLOC | MapFlag.NUMA_NODE | MapFlag.ZERO_SEED | _ACCESS,
    entry_limit=1 << 31,
    also=_hash_limits,
)
_PERCPU_HASH = replace(
    _HASH,
    flags=MapFlag.NO_PREALLOC | MapFlag.ZERO_SEED | _ACCESS,
    value_limit=_PERCPU_MAX,
)
_ARRAY = Rules(
    keys=_exactly(4),
    values=_some,
    entries=_some,
    flags=MapFlag.NUMA_NODE | _ACCESS,
    value_limit=_INT_MAX,
    typing=_array,
)
# Values are fds when user space writes them.
_FD_ARRAY = replace(
    _ARRAY, values=_exactly(4), flags=MapFlag.NUMA_NODE | _FD_ACCESS, typing=_no_types
)
_DEVICES = replace(_FD_ARRAY, values=_exactly(4, 8))
_QUEUE = Rules(
    keys=_none,
    values=_some,
    entries=_some,
    flags=MapFlag.NUMA_NODE | _ACCESS,
    value_limit=_KMALLOC_MAX,
)
_RING = Rules(
    keys=_none,
    values=_none,
    entries=_pages,
    flags=MapFlag.NUMA_NODE,
    entry_limit=_RING_MAX,
)
_CGROUP_STORAGE = Rules(
    keys=_exactly(8, 16),
    values=_some,
    entries=_none,
    flags=MapFlag.NUMA_NODE | _ACCESS,
    value_limit=_LOCAL_MAX,
    typing=_cgroup_key,
    inner=False,
)
_LOCAL_STORAGE = Rules(
    keys=_exactly(4),
    values=_some,
    entries=_none,
    flags=MapFlag.CLONE,
    needs=MapFlag.NO_PREALLOC,
    value_limit=_LOCAL_MAX,
    typing=_integer_key,
    also=_local_storage,
)

RULES: dict[MapType, Rules] = {
    MapType.HASH: _HASH,
    MapType.ARRAY: replace(
        _ARRAY, flags=_ARRAY.flags | MapFlag.MMAPABLE | MapFlag.INNER_MAP, by_size=True
    ),
    MapType.PROG_ARRAY: replace(_FD_ARRAY, typing=_key_and_value, inner=False),
    MapType.PERF_EVENT_ARRAY: replace(_FD_ARRAY, flags=_FD_ARRAY.flags | MapFlag.PRESERVE_ELEMS),
    MapType.PERCPU_HASH: _PERCPU_HASH,
    MapType.PERCPU_ARRAY: replace(_ARRAY, flags=_ACCESS, value_limit=_PERCPU_MAX),
    MapType.STACK_TRACE: Rules(
        keys=_exactly(4),
        values=_some,
        entries=_some,
        flags=MapFlag.NUMA_NODE | MapFlag.STACK_BUILD_ID | _FD_ACCESS,
        entry_limit=1 << 31,
        typing=_no_types,
        also=_stack_trace,
    ),
    MapType.CGROUP_ARRAY: _FD_ARRAY,
    MapType.LRU_HASH: replace(_HASH, flags=_HASH.flags | MapFlag.NO_COMMON_LRU, also=_lru),
    MapType.LRU_PERCPU_HASH: replace(
        _PERCPU_HASH, flags=_PERCPU_HASH.flags | MapFlag.NO_COMMON_LRU, also=_lru
    ),
    MapType.LPM_TRIE: Rules(
        keys=_between(5, 260),
        values=_between(1, _KMALLOC_MAX - _TRIE_NODE),
        entries=_some,
        flags=MapFlag.NUMA_NODE | _ACCESS,
        needs=MapFlag.NO_PREALLOC,
        typing=_trie,
    ),
    MapType.ARRAY_OF_MAPS: _FD_ARRAY,
    MapType.HASH_OF_MAPS: replace(_HASH, values=_exactly(4), typing=_no_types),
    MapType.DEVMAP: _DEVICES,
    MapType.SOCKMAP: _DEVICES,
    MapType.CPUMAP: replace(_DEVICES, flags=MapFlag.NUMA_NODE, entry_limit=MAX_CPUS),
    MapType.XSKMAP: replace(_FD_ARRAY, by_size=True),
    MapType.SOCKHASH: replace(_DEVICES, keys=_some, also=_sockhash),
    MapType.CGROUP_STORAGE: _CGROUP_STORAGE,
    MapType.REUSEPORT_SOCKARRAY: replace(_ARRAY, values=_exactly(4, 8), typing=_key_and_value),
    MapType.PERCPU_CGROUP_STORAGE: replace(_CGROUP_STORAGE, value_limit=_PERCPU_MAX),
    MapType.QUEUE: _QUEUE,
    MapType.STACK: _QUEUE,
    MapType.SK_STORAGE: _LOCAL_STORAGE,
    MapType.DEVMAP_HASH: _DEVICES,
    MapType.STRUCT_OPS: Rules(
        keys=_exactly(4),
        values=_some,
        entries=_exactly(1),
        flags=MapFlag.LINK | MapFlag.VTYPE_BTF_OBJ_FD,
        also=_struct_ops,
        inner=False,
    ),
    MapType.RINGBUF: _RING,
    MapType.INODE_STORAGE: _LOCAL_STORAGE,
    MapType.TASK_STORAGE: _LOCAL_STORAGE,
    MapType.BLOOM_FILTER: replace(
        _QUEUE,
        flags=_QUEUE.flags | MapFlag.ZERO_SEED,
        extra=_between(0, _BLOOM_HASHES),
        typing=_value_only,
    ),
    MapType.USER_RINGBUF: _RING,
    MapType.CGRP_STORAGE: _LOCAL_STORAGE,
    MapType.ARENA: Rules(
        keys=_none,
        values=_none,
        entries=_some,
        flags=MapFlag.SEGV_ON_FAULT | MapFlag.NO_USER_CONV,
        needs=MapFlag.MMAPABLE,
        entry_limit=(1 << 32) // PAGE_SIZE,
        extra=lambda address: address % PAGE_SIZE == 0,
    ),
}
