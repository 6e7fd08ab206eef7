"""Which class a map has, by its type: as a path, so that nothing is imported until it is needed."""

from __future__ import annotations

from lskel.bpf.enums import MapType
from lskel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.maps.base import Map

_ROOM = "lskel.runtime.maps."


class MapKind(NamedTuple):
    """A class, as "module:Class" in lskel.runtime.maps, and which types its constructor takes."""

    path: str
    types: tuple[str, ...] = ()


_KEY_VALUE = ("key", "value")
_PLAIN = MapKind("base:Map")
# Those of arenas and struct_ops are made of more than their definition and types.
_KINDS = {
    MapType.HASH: MapKind("hash:HashMap", _KEY_VALUE),
    MapType.LRU_HASH: MapKind("hash:HashMap", _KEY_VALUE),
    MapType.ARRAY: MapKind("array:ArrayMap", ("value",)),
    MapType.PERCPU_HASH: MapKind("percpu:PerCpuHash", _KEY_VALUE),
    MapType.LRU_PERCPU_HASH: MapKind("percpu:PerCpuHash", _KEY_VALUE),
    MapType.PERCPU_ARRAY: MapKind("percpu:PerCpuArray", ("value",)),
    MapType.LPM_TRIE: MapKind("trie:LpmTrie", _KEY_VALUE),
    MapType.QUEUE: MapKind("queue:Queue", ("value",)),
    MapType.STACK: MapKind("queue:Stack", ("value",)),
    MapType.BLOOM_FILTER: MapKind("bloom:BloomFilter", ("value",)),
    MapType.STACK_TRACE: MapKind("stacks:StackTraces"),
    MapType.ARRAY_OF_MAPS: MapKind("inner:ArrayOfMaps"),
    MapType.HASH_OF_MAPS: MapKind("inner:HashOfMaps", ("key",)),
    MapType.PROG_ARRAY: MapKind("programs:ProgArray"),
    MapType.CGROUP_ARRAY: MapKind("fds:CgroupArray"),
    MapType.SOCKMAP: MapKind("fds:HandleArray"),
    MapType.REUSEPORT_SOCKARRAY: MapKind("fds:HandleArray"),
    MapType.XSKMAP: MapKind("fds:HandleArray"),
    MapType.SOCKHASH: MapKind("fds:SockHash", ("key",)),
    MapType.DEVMAP: MapKind("redirect:DevMap"),
    MapType.DEVMAP_HASH: MapKind("redirect:DevMapHash"),
    MapType.CPUMAP: MapKind("redirect:CpuMap"),
    MapType.TASK_STORAGE: MapKind("storage:LocalStorage", ("value",)),
    MapType.SK_STORAGE: MapKind("storage:LocalStorage", ("value",)),
    MapType.INODE_STORAGE: MapKind("storage:LocalStorage", ("value",)),
    MapType.CGRP_STORAGE: MapKind("storage:LocalStorage", ("value",)),
    MapType.CGROUP_STORAGE: MapKind("storage:CgroupStorage", _KEY_VALUE),
    MapType.PERCPU_CGROUP_STORAGE: MapKind("storage:PerCpuCgroupStorage", _KEY_VALUE),
    MapType.RINGBUF: MapKind("ringbuf:RingBufferMap", ("event",)),
    MapType.PERF_EVENT_ARRAY: MapKind("perfbuf:PerfBufferMap", ("event",)),
    MapType.USER_RINGBUF: MapKind("user_ringbuf:UserRingBufferMap", ("event",)),
}


def map_kind(map_type: int) -> MapKind:
    """The kind for a `MapType`; that of plain `Map` for what has no elements to read and write."""
    if map_type not in MapType._value2member_map_:
        return _PLAIN
    return _KINDS.get(MapType(map_type), _PLAIN)


def class_path(map_type: int) -> str:
    """``module:Class`` for a `MapType`, as `map_kind`, with the whole name of the module."""
    return _ROOM + map_kind(map_type).path


def map_class(map_type: int) -> type[Map]:
    """The class for a `MapType`, imported: ``map_class(info.type).open(info.id, u32, u64)``."""
    from importlib import import_module

    module, _, name = class_path(map_type).partition(":")
    found: type[Map] = getattr(import_module(module), name)
    return found
