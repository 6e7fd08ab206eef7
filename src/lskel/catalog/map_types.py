"""Map types, one row each; everything else about map types is derived from them.

Sizes, flags and rules for BTF are those of Linux 6.18 (kernel/bpf/*map*.c, kernel/bpf/ringbuf.c,
net/core/sock_map.c), of types that are newer those of 7.3 (kernel/bpf/bpf_insn_array.c,
kernel/bpf/hashtab.c); tests/simulator compares them with bpf(2).
"""

from __future__ import annotations

from enum import Enum

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.light_typing import NamedTuple

# The ELF section of the variables in an arena: clang's name for address space 1.
ARENA_SECTION = ".addr_space.1"


class Elements(Enum):
    """The elements of a map, and how user space accesses them."""

    ARRAY = "values by index"
    HASH = "values by key"
    GROWING_HASH = "values by key, in a table that grows"
    LRU_HASH = "values by key, the least recently used evicted"
    TRIE = "values by prefix"
    QUEUE = "values, first in first out"
    STACK = "values, last in first out"
    BLOOM = "a set of values that cannot be listed"
    STACK_TRACES = "stack traces by id"
    PROGRAMS = "programs by index"
    EVENTS = "perf events by CPU"
    CGROUPS = "cgroups by index"
    MAPS = "maps by index"
    MAPS_BY_KEY = "maps by key"
    DEVICES = "network interfaces by index"
    DEVICES_BY_KEY = "network interfaces by key"
    CPUS = "queues by CPU"
    SOCKETS = "sockets by index"
    SOCKETS_BY_KEY = "sockets by key"
    XDP_SOCKETS = "AF_XDP sockets by index"
    LISTENERS = "sockets of a reuseport group by index"
    LOCAL_STORAGE = "values by kernel object"
    CGROUP_STORAGE = "values by cgroup and attach type"
    STRUCT_OPS = "one struct of function pointers"
    RING = "records in a ring buffer"
    ARENA = "memory shared with programs"
    INSNS = "instructions of one program by index"


class MapBtf(Enum):
    """The BTF types of key and value that the kernel accepts for a map (map_check_btf)."""

    ANY = "any of the right sizes"
    SIZED = "any of the right sizes; older kernels refuse them"
    ARRAY = "a 32-bit key; none for a section of global data"
    TRIE_KEY = "a struct as key"
    CGROUP_KEY = "a cgroup id or struct bpf_cgroup_storage_key as key"
    VALUE = "a value, no key"
    REQUIRED = "a 32-bit key; required"
    KERNEL_VALUE = "a struct of the kernel's BTF; required"
    REFUSED = "none: ENOTSUPP"
    NONE = "none: EINVAL"


class Range(NamedTuple):
    """Numbers from `low` to `high`, inclusive."""

    low: int
    high: int


Ranges = tuple[Range, ...]


class MapTypeRow(NamedTuple):
    """Properties of a map type.

    `since`: the first Linux release that has it; `config`: kernel options that it needs.
    `keys`, `values`, `entries`: the valid sizes in bytes and numbers of entries, others get EINVAL;
    values above `value_limit` bytes and entries above `entry_limit` get E2BIG. `page_sized`:
    entries must be a power of two of whole pages. `flags`: the allowed flags of MAP_CREATE, besides
    `required_flags`; `extra`: the range of map_extra.
    `is_inner`: whether it may be an inner map, `inner_by_size` if only with equal max_entries.
    `network`: whether it needs CAP_NET_ADMIN.
    `python_class`: its class, as "module:Class" in lskel.runtime.maps, and `takes` the types
    that its constructor takes after the definition.
    """

    type: MapType
    elements: Elements
    since: tuple[int, int]
    keys: Ranges
    values: Ranges
    entries: Ranges
    flags: int
    btf: MapBtf
    python_class: str = "base:Map"
    takes: tuple[str, ...] = ()
    config: str = ""
    network: bool = False
    per_cpu: bool = False
    required_flags: int = 0
    value_limit: int = (1 << 32) - 1
    entry_limit: int = (1 << 32) - 1
    page_sized: bool = False
    extra: Range = Range(0, 0)
    is_inner: bool = True
    inner_by_size: bool = False


_MAX = (1 << 32) - 1
_NONE: Ranges = (Range(0, 0),)
_SOME: Ranges = (Range(1, _MAX),)
_ONE: Ranges = (Range(1, 1),)
INDEX_SIZE = 4
_INDEX: Ranges = (Range(INDEX_SIZE, INDEX_SIZE),)
_FD: Ranges = (Range(4, 4),)
# sizeof(struct bpf_insn_array_value)
INSN_ENTRY_SIZE = 16
_FD_OR_COOKIE: Ranges = (Range(4, 4), Range(8, 8))
_PAGE = 4096
# CONFIG_NR_CPUS of distributions.
_MAX_CPUS = 8192
_KMALLOC_MAX = 1 << 22
# PCPU_MIN_UNIT_SIZE: the largest per-CPU value.
_PERCPU_MAX = 1 << 15
# BPF_LOCAL_STORAGE_MAX_VALUE_SIZE
_LOCAL_MAX = 65407
# sizeof(struct lpm_trie_node) with its longest key
_TRIE_NODE = 280

_F = MapFlag
_FD_ACCESS = _F.RDONLY | _F.WRONLY
_ACCESS = _FD_ACCESS | _F.RDONLY_PROG | _F.WRONLY_PROG
_KEY_VALUE = ("key", "value")
_EVENT_CLASS = ("event",)

_HASH = MapTypeRow(
    MapType.HASH,
    Elements.HASH,
    (3, 19),
    keys=_SOME,
    values=_SOME,
    entries=_SOME,
    flags=_F.NO_PREALLOC | _F.NUMA_NODE | _F.ZERO_SEED | _ACCESS,
    btf=MapBtf.ANY,
    python_class="hash:HashMap",
    takes=_KEY_VALUE,
    entry_limit=1 << 31,
)
_PERCPU_HASH = _HASH._replace(
    type=MapType.PERCPU_HASH,
    since=(4, 6),
    flags=_F.NO_PREALLOC | _F.ZERO_SEED | _ACCESS,
    python_class="percpu:PerCpuHash",
    per_cpu=True,
    value_limit=_PERCPU_MAX,
)
_ARRAY = MapTypeRow(
    MapType.ARRAY,
    Elements.ARRAY,
    (3, 19),
    keys=_INDEX,
    values=_SOME,
    entries=_SOME,
    flags=_F.NUMA_NODE | _ACCESS,
    btf=MapBtf.ARRAY,
    value_limit=(1 << 31) - 1,
)
# User space writes values as fds.
_FDS = _ARRAY._replace(values=_FD, flags=_F.NUMA_NODE | _FD_ACCESS, btf=MapBtf.REFUSED)
_DEVICES = _FDS._replace(values=_FD_OR_COOKIE, config="CONFIG_NET", network=True)
_QUEUE = MapTypeRow(
    MapType.QUEUE,
    Elements.QUEUE,
    (4, 20),
    keys=_NONE,
    values=_SOME,
    entries=_SOME,
    flags=_F.NUMA_NODE | _ACCESS,
    btf=MapBtf.NONE,
    python_class="queue:Queue",
    takes=("value",),
    value_limit=_KMALLOC_MAX,
)
_RING = MapTypeRow(
    MapType.RINGBUF,
    Elements.RING,
    (5, 8),
    keys=_NONE,
    values=_NONE,
    entries=(Range(_PAGE, _MAX),),
    flags=_F.NUMA_NODE,
    btf=MapBtf.NONE,
    python_class="ringbuf:RingBufferMap",
    takes=_EVENT_CLASS,
    page_sized=True,
)
_CGROUP_STORAGE = MapTypeRow(
    MapType.CGROUP_STORAGE,
    Elements.CGROUP_STORAGE,
    (4, 19),
    keys=(Range(8, 8), Range(16, 16)),
    values=_SOME,
    entries=_NONE,
    flags=_F.NUMA_NODE | _ACCESS,
    btf=MapBtf.CGROUP_KEY,
    python_class="storage:CgroupStorage",
    takes=_KEY_VALUE,
    config="CONFIG_CGROUP_BPF",
    value_limit=_LOCAL_MAX,
    is_inner=False,
)
_LOCAL_STORAGE = MapTypeRow(
    MapType.SK_STORAGE,
    Elements.LOCAL_STORAGE,
    (5, 2),
    keys=_INDEX,
    values=_SOME,
    entries=_NONE,
    flags=_F.CLONE,
    btf=MapBtf.REQUIRED,
    python_class="storage:LocalStorage",
    takes=("value",),
    config="CONFIG_NET",
    required_flags=_F.NO_PREALLOC,
    value_limit=_LOCAL_MAX,
)

MAP_TYPES = (
    _HASH,
    _ARRAY._replace(
        flags=_ARRAY.flags | _F.MMAPABLE | _F.INNER_MAP,
        python_class="array:ArrayMap",
        takes=("value",),
        inner_by_size=True,
    ),
    _FDS._replace(
        type=MapType.PROG_ARRAY,
        elements=Elements.PROGRAMS,
        since=(4, 2),
        btf=MapBtf.SIZED,
        python_class="programs:ProgArray",
        is_inner=False,
    ),
    _FDS._replace(
        type=MapType.PERF_EVENT_ARRAY,
        elements=Elements.EVENTS,
        since=(4, 3),
        flags=_FDS.flags | _F.PRESERVE_ELEMS,
        python_class="perfbuf:PerfBufferMap",
        takes=_EVENT_CLASS,
        config="CONFIG_PERF_EVENTS",
    ),
    _PERCPU_HASH,
    _ARRAY._replace(
        type=MapType.PERCPU_ARRAY,
        since=(4, 6),
        flags=_ACCESS,
        python_class="percpu:PerCpuArray",
        takes=("value",),
        per_cpu=True,
        value_limit=_PERCPU_MAX,
    ),
    MapTypeRow(
        MapType.STACK_TRACE,
        Elements.STACK_TRACES,
        (4, 6),
        keys=_INDEX,
        values=(Range(8, _MAX),),
        entries=_SOME,
        flags=_F.NUMA_NODE | _F.STACK_BUILD_ID | _FD_ACCESS,
        btf=MapBtf.REFUSED,
        python_class="stacks:StackTraces",
        config="CONFIG_PERF_EVENTS",
        entry_limit=1 << 31,
    ),
    _FDS._replace(
        type=MapType.CGROUP_ARRAY,
        elements=Elements.CGROUPS,
        since=(4, 8),
        python_class="fds:CgroupArray",
        config="CONFIG_CGROUPS",
    ),
    _HASH._replace(
        type=MapType.LRU_HASH,
        elements=Elements.LRU_HASH,
        since=(4, 10),
        flags=_HASH.flags | _F.NO_COMMON_LRU,
    ),
    _PERCPU_HASH._replace(
        type=MapType.LRU_PERCPU_HASH,
        elements=Elements.LRU_HASH,
        since=(4, 10),
        flags=_PERCPU_HASH.flags | _F.NO_COMMON_LRU,
    ),
    MapTypeRow(
        MapType.LPM_TRIE,
        Elements.TRIE,
        (4, 11),
        keys=(Range(5, 260),),
        values=(Range(1, _KMALLOC_MAX - _TRIE_NODE),),
        entries=_SOME,
        flags=_F.NUMA_NODE | _ACCESS,
        btf=MapBtf.TRIE_KEY,
        python_class="trie:LpmTrie",
        takes=_KEY_VALUE,
        required_flags=_F.NO_PREALLOC,
    ),
    _FDS._replace(
        type=MapType.ARRAY_OF_MAPS,
        elements=Elements.MAPS,
        since=(4, 12),
        python_class="inner:ArrayOfMaps",
    ),
    _HASH._replace(
        type=MapType.HASH_OF_MAPS,
        elements=Elements.MAPS_BY_KEY,
        since=(4, 12),
        values=_FD,
        btf=MapBtf.REFUSED,
        python_class="inner:HashOfMaps",
        takes=("key",),
    ),
    _DEVICES._replace(
        type=MapType.DEVMAP,
        elements=Elements.DEVICES,
        since=(4, 14),
        python_class="redirect:DevMap",
    ),
    _DEVICES._replace(
        type=MapType.SOCKMAP,
        elements=Elements.SOCKETS,
        since=(4, 14),
        python_class="fds:HandleArray",
    ),
    _DEVICES._replace(
        type=MapType.CPUMAP,
        elements=Elements.CPUS,
        since=(4, 15),
        flags=_F.NUMA_NODE,
        python_class="redirect:CpuMap",
        entry_limit=_MAX_CPUS,
    ),
    _FDS._replace(
        type=MapType.XSKMAP,
        elements=Elements.XDP_SOCKETS,
        since=(4, 18),
        python_class="fds:HandleArray",
        config="CONFIG_XDP_SOCKETS",
        network=True,
        inner_by_size=True,
    ),
    _DEVICES._replace(
        type=MapType.SOCKHASH,
        elements=Elements.SOCKETS_BY_KEY,
        since=(4, 18),
        keys=_SOME,
        python_class="fds:SockHash",
        takes=("key",),
    ),
    _CGROUP_STORAGE,
    _ARRAY._replace(
        type=MapType.REUSEPORT_SOCKARRAY,
        elements=Elements.LISTENERS,
        since=(4, 19),
        values=_FD_OR_COOKIE,
        btf=MapBtf.SIZED,
        python_class="fds:HandleArray",
        config="CONFIG_INET",
        network=True,
    ),
    _CGROUP_STORAGE._replace(
        type=MapType.PERCPU_CGROUP_STORAGE,
        since=(4, 20),
        python_class="storage:PerCpuCgroupStorage",
        per_cpu=True,
        value_limit=_PERCPU_MAX,
    ),
    _QUEUE,
    _QUEUE._replace(type=MapType.STACK, elements=Elements.STACK, python_class="queue:Stack"),
    _LOCAL_STORAGE,
    _DEVICES._replace(
        type=MapType.DEVMAP_HASH,
        elements=Elements.DEVICES_BY_KEY,
        since=(5, 4),
        python_class="redirect:DevMapHash",
    ),
    MapTypeRow(
        MapType.STRUCT_OPS,
        Elements.STRUCT_OPS,
        (5, 6),
        keys=_INDEX,
        values=_SOME,
        entries=_ONE,
        flags=_F.LINK | _F.VTYPE_BTF_OBJ_FD,
        btf=MapBtf.KERNEL_VALUE,
        python_class="struct_ops:StructOpsMap",
        is_inner=False,
    ),
    _RING,
    _LOCAL_STORAGE._replace(type=MapType.INODE_STORAGE, since=(5, 10), config="CONFIG_BPF_LSM"),
    _LOCAL_STORAGE._replace(type=MapType.TASK_STORAGE, since=(5, 11), config=""),
    _QUEUE._replace(
        type=MapType.BLOOM_FILTER,
        elements=Elements.BLOOM,
        since=(5, 16),
        flags=_QUEUE.flags | _F.ZERO_SEED,
        btf=MapBtf.VALUE,
        python_class="bloom:BloomFilter",
        extra=Range(0, 15),
    ),
    _RING._replace(
        type=MapType.USER_RINGBUF,
        since=(6, 1),
        python_class="user_ringbuf:UserRingBufferMap",
    ),
    _LOCAL_STORAGE._replace(type=MapType.CGRP_STORAGE, since=(6, 2), config="CONFIG_CGROUPS"),
    MapTypeRow(
        MapType.ARENA,
        Elements.ARENA,
        (6, 9),
        keys=_NONE,
        values=_NONE,
        entries=_SOME,
        flags=_F.SEGV_ON_FAULT | _F.NO_USER_CONV,
        btf=MapBtf.NONE,
        python_class="arena:ArenaMap",
        config="a 64-bit machine with an MMU, and a JIT that supports arenas",
        required_flags=_F.MMAPABLE,
        entry_limit=(1 << 32) // _PAGE,
        extra=Range(0, (1 << 64) - 1),
    ),
    MapTypeRow(
        MapType.INSN_ARRAY,
        Elements.INSNS,
        (6, 19),
        keys=_INDEX,
        values=(Range(INSN_ENTRY_SIZE, INSN_ENTRY_SIZE),),
        entries=_SOME,
        flags=0,
        btf=MapBtf.NONE,
        python_class="insns:InsnArray",
        is_inner=False,
    ),
    _HASH._replace(
        type=MapType.RHASH,
        elements=Elements.GROWING_HASH,
        since=(7, 2),
        flags=_F.NUMA_NODE | _ACCESS,
        required_flags=_F.NO_PREALLOC,
        extra=Range(0, _MAX),
    ),
)
BY_TYPE = {int(row.type): row for row in MAP_TYPES}


def of_elements(*elements: Elements) -> frozenset[MapType]:
    """The map types with these elements."""
    return frozenset(row.type for row in MAP_TYPES if row.elements in elements)


PER_CPU = frozenset(row.type for row in MAP_TYPES if row.per_cpu)
MAPS_OF_MAPS = of_elements(Elements.MAPS, Elements.MAPS_BY_KEY)
# User space writes values as fds.
FD_VALUES = MAPS_OF_MAPS | of_elements(Elements.PROGRAMS, Elements.EVENTS, Elements.CGROUPS)
FD_SIZE = 4
RING_BUFFERS = of_elements(Elements.RING)
# Streams of records, for user space to read or write.
BUFFERS = frozenset(row.type for row in MAP_TYPES if row.takes == _EVENT_CLASS)
# The kernel refuses BTF types of keys and values.
WITHOUT_BTF = frozenset(row.type for row in MAP_TYPES if row.btf in (MapBtf.REFUSED, MapBtf.NONE))
INDEXED = of_elements(Elements.ARRAY)
# User space can list the keys and read the values.
LISTABLE = of_elements(
    *(Elements.ARRAY, Elements.HASH, Elements.GROWING_HASH, Elements.LRU_HASH, Elements.TRIE),
    *(Elements.CGROUP_STORAGE, Elements.INSNS),
)


def map_type_row(map_type: int) -> MapTypeRow | None:
    """The row of a map type; None if it is newer than this table."""
    return BY_TYPE.get(map_type)


def accepts_types(map_type: int, *, has_number_keys: bool) -> bool:
    """Whether a map of this type takes BTF types of a key and a value, of the right sizes.

    `has_number_keys`: the key is a 32-bit integer. Only where every kernel does: a loader tries a
    map without types only if the type in the object needs that.
    """
    row = map_type_row(map_type)
    if row is None:
        return False
    is_number = row.btf in (MapBtf.ARRAY, MapBtf.REQUIRED) and has_number_keys
    return row.btf is MapBtf.ANY or is_number


# Map types that tools choose between when they run, so that a skeleton has the classes of all.
_ALTERNATIVES = (
    frozenset((MapType.RINGBUF, MapType.PERF_EVENT_ARRAY)),
    of_elements(Elements.ARRAY, Elements.HASH, Elements.LRU_HASH),
)


def alternatives(map_type: int) -> frozenset[MapType]:
    """The types that a map of this type may be changed to in a skeleton with its own runtime."""
    return next((types for types in _ALTERNATIVES if map_type in types), frozenset())
