"""Types of maps, each made once."""

from __future__ import annotations

from collections.abc import Callable

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.bpf.names import enum_name
from lskel.doctor import tiny
from lskel.doctor.finding import NETWORK_RIGHTS, TRACING_RIGHTS, Finding, Probe, refused, yes
from lskel.errors import LskelError
from lskel.runtime.objects import Fd


def _plain(
    type_: MapType, key_size: int, value_size: int, entries: int, **fields: int
) -> Callable[[], Fd]:
    return lambda: tiny.create_map(type_, key_size, value_size, entries, **fields)


def _storage(type_: MapType) -> Callable[[], Fd]:
    """Local storage must have BTF."""

    def make() -> Fd:
        btf = tiny.Btf()
        number = btf.add_int()
        with btf.load() as fd:
            types = {"btf_fd": fd.fileno(), "btf_key_type_id": number, "btf_value_type_id": number}
            return tiny.create_map(type_, 4, 4, 0, map_flags=MapFlag.NO_PREALLOC, **types)

    return make


def _page() -> int:
    import mmap

    return mmap.PAGESIZE


def _of_maps(type_: MapType) -> Callable[[], Fd]:
    def make() -> Fd:
        with tiny.array() as inner:
            return tiny.create_map(type_, 4, 4, 1, inner_map_fd=inner.fileno())

    return make


def _probe(type_: MapType, make: Callable[[], Fd], takes: str, *, network: bool = False) -> Probe:
    def run() -> Finding:
        try:
            make().close()
        except LskelError as error:
            return refused(error, takes, NETWORK_RIGHTS if network else TRACING_RIGHTS)
        return yes()

    name = enum_name(MapType, type_)
    return Probe(f"maps.{name}", name, run, ("permission.maps",))


_T = MapType

PROBES = (
    _probe(_T.HASH, _plain(_T.HASH, 4, 4, 1), "Linux 3.19"),
    _probe(_T.PERCPU_ARRAY, _plain(_T.PERCPU_ARRAY, 4, 4, 1), "Linux 4.6"),
    _probe(_T.LRU_HASH, _plain(_T.LRU_HASH, 4, 4, 1), "Linux 4.10"),
    _probe(_T.LPM_TRIE, _plain(_T.LPM_TRIE, 8, 4, 1, map_flags=MapFlag.NO_PREALLOC), "Linux 4.11"),
    _probe(_T.STACK_TRACE, _plain(_T.STACK_TRACE, 4, 8, 1), "CONFIG_PERF_EVENTS"),
    _probe(_T.PERF_EVENT_ARRAY, _plain(_T.PERF_EVENT_ARRAY, 4, 4, 1), "CONFIG_PERF_EVENTS"),
    _probe(_T.ARRAY_OF_MAPS, _of_maps(_T.ARRAY_OF_MAPS), "Linux 4.12"),
    _probe(_T.HASH_OF_MAPS, _of_maps(_T.HASH_OF_MAPS), "Linux 4.12"),
    _probe(_T.QUEUE, _plain(_T.QUEUE, 0, 4, 1), "Linux 4.20"),
    _probe(_T.RINGBUF, lambda: tiny.create_map(_T.RINGBUF, 0, 0, _page()), "Linux 5.8"),
    _probe(_T.USER_RINGBUF, lambda: tiny.create_map(_T.USER_RINGBUF, 0, 0, _page()), "Linux 6.1"),
    _probe(_T.BLOOM_FILTER, _plain(_T.BLOOM_FILTER, 0, 4, 1), "Linux 5.16"),
    _probe(
        _T.ARENA,
        _plain(_T.ARENA, 0, 0, 1, map_flags=MapFlag.MMAPABLE),
        "Linux 6.9, a 64-bit machine with an MMU and a JIT for it",
    ),
    _probe(_T.SK_STORAGE, _storage(_T.SK_STORAGE), "Linux 5.2, CONFIG_NET"),
    _probe(_T.INODE_STORAGE, _storage(_T.INODE_STORAGE), "CONFIG_BPF_LSM"),
    _probe(_T.TASK_STORAGE, _storage(_T.TASK_STORAGE), "Linux 5.11"),
    _probe(_T.CGRP_STORAGE, _storage(_T.CGRP_STORAGE), "Linux 6.2, CONFIG_CGROUPS"),
    _probe(_T.CGROUP_ARRAY, _plain(_T.CGROUP_ARRAY, 4, 4, 1), "CONFIG_CGROUPS"),
    _probe(_T.CPUMAP, _plain(_T.CPUMAP, 4, 4, 1), "CONFIG_NET", network=True),
    _probe(_T.DEVMAP, _plain(_T.DEVMAP, 4, 4, 1), "CONFIG_NET", network=True),
    _probe(_T.XSKMAP, _plain(_T.XSKMAP, 4, 4, 1), "CONFIG_XDP_SOCKETS", network=True),
    _probe(_T.SOCKMAP, _plain(_T.SOCKMAP, 4, 8, 1), "CONFIG_NET", network=True),
    _probe(_T.SOCKHASH, _plain(_T.SOCKHASH, 4, 8, 1), "CONFIG_NET", network=True),
    _probe(
        _T.REUSEPORT_SOCKARRAY,
        _plain(_T.REUSEPORT_SOCKARRAY, 4, 8, 1),
        "CONFIG_INET",
        network=True,
    ),
)
