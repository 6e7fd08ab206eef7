"""Which class a map has, by its type."""

from __future__ import annotations

from lskel.bpf.enums import MapType
from lskel.named import NamedTuple

_PLAIN = "base:Map"


class MapKind(NamedTuple):
    """A class, as "module:Class" in lskel.runtime.maps, and which types its constructor takes."""

    path: str
    types: tuple[str, ...] = ()


_KEY_VALUE = ("key", "value")
_T = MapType
_KINDS = {
    _T.HASH: MapKind("hash:HashMap", _KEY_VALUE),
    _T.LRU_HASH: MapKind("hash:HashMap", _KEY_VALUE),
    _T.ARRAY: MapKind("array:ArrayMap", ("value",)),
    _T.PERCPU_HASH: MapKind("percpu:PerCpuHash", _KEY_VALUE),
    _T.LRU_PERCPU_HASH: MapKind("percpu:PerCpuHash", _KEY_VALUE),
    _T.PERCPU_ARRAY: MapKind("percpu:PerCpuArray", ("value",)),
    _T.PERCPU_CGROUP_STORAGE: MapKind("percpu:PerCpuHash", _KEY_VALUE),
    _T.CGROUP_STORAGE: MapKind("hash:HashMap", _KEY_VALUE),
    _T.LPM_TRIE: MapKind("trie:LpmTrie", _KEY_VALUE),
    _T.QUEUE: MapKind("queue:Queue", ("value",)),
    _T.STACK: MapKind("queue:Stack", ("value",)),
    _T.BLOOM_FILTER: MapKind("bloom:BloomFilter", ("value",)),
    _T.STACK_TRACE: MapKind("hash:HashMap", _KEY_VALUE),
    _T.HASH_OF_MAPS: MapKind("handles:HandleHash", ("key",)),
    _T.SOCKHASH: MapKind("handles:HandleHash", ("key",)),
    _T.ARRAY_OF_MAPS: MapKind("handles:HandleArray"),
    _T.PROG_ARRAY: MapKind("handles:HandleArray"),
    _T.SOCKMAP: MapKind("handles:HandleArray"),
    _T.XSKMAP: MapKind("handles:HandleArray"),
    _T.REUSEPORT_SOCKARRAY: MapKind("handles:HandleArray"),
    _T.CGROUP_ARRAY: MapKind("handles:CgroupArray"),
    _T.DEVMAP: MapKind("handles:InterfaceArray"),
    _T.DEVMAP_HASH: MapKind("handles:InterfaceHash"),
    _T.CPUMAP: MapKind("array:ArrayMap", ("value",)),
    _T.SK_STORAGE: MapKind("storage:StorageMap", ("value",)),
    _T.INODE_STORAGE: MapKind("storage:StorageMap", ("value",)),
    _T.TASK_STORAGE: MapKind("storage:StorageMap", ("value",)),
    _T.CGRP_STORAGE: MapKind("storage:StorageMap", ("value",)),
    _T.RINGBUF: MapKind("ringbuf:RingBufferMap", ("event",)),
    _T.PERF_EVENT_ARRAY: MapKind("perfbuf:PerfBufferMap", ("event",)),
    _T.USER_RINGBUF: MapKind("user_ringbuf:UserRingBufferMap", ("event",)),
}


def map_kind(map_type: int) -> MapKind:
    """The class for a `MapType`; plain `Map` for those without elements to read."""
    kind = _KINDS.get(MapType(map_type)) if map_type in MapType._value2member_map_ else None
    return kind or MapKind(_PLAIN)
