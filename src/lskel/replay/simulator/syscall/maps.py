"""Maps, and the commands on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from lskel import budget
from lskel.bpf.enums import MapType, ProgType
from lskel.replay.simulator.syscall.attrs import Attr
from lskel.replay.simulator.syscall.btfs import BtfObject, LoadedBtf
from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check
from lskel.replay.simulator.syscall.fds import File, Object
from lskel.replay.simulator.syscall.map_types import RULES, MapFlag
from lskel.replay.simulator.syscall.object_names import object_name
from lskel.replay.simulator.syscall.programs import Program
from lskel.replay.simulator.syscall.storage import (
    Array,
    Bloom,
    Devices,
    Element,
    Hash,
    Objects,
    Once,
    Queue,
    Sockets,
    Storage,
    Trie,
    UpdateFlag,
)

if TYPE_CHECKING:
    from lskel.replay.simulator.memory import Region
    from lskel.replay.simulator.syscall.state import Call, State

PERCPU_TYPES = frozenset(
    (
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.PERCPU_CGROUP_STORAGE,
    )
)
_MAP_IN_MAP = frozenset((MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS))
# Types whose values user space writes as fds.
FD_TYPES = _MAP_IN_MAP | {MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY, MapType.CGROUP_ARRAY}
FD_SIZE = 4
# The only network device of the simulated machine: lo.
_DEVICES = (0, 1)
_CPUMAP_MAX_QUEUE = 16384


class Template(NamedTuple):
    """What the maps in a map of maps have in common; `max_entries` None where they may differ."""

    type: int
    key_size: int
    value_size: int
    flags: int
    max_entries: int | None


@dataclass(eq=False)
class Map(Object):
    """A map. `element_size` is the bytes that user space reads or writes for one value.

    `owner` is the type of the programs of a prog array; `mapped` the elements that have addresses.
    """

    kind: ClassVar[str] = "map"
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    element_size: int
    storage: Storage
    extra: int = 0
    btf: LoadedBtf | None = None
    key_type: int = 0
    value_type: int = 0
    inner: Template | None = None
    frozen: bool = False
    owner: int | None = None
    mapped: dict[bytes, Region] = field(default_factory=dict)
    id: int = 0

    @property
    def template(self) -> Template:
        """What a map must have in common with this one to stand in for it."""
        by_size = RULES[self.type].by_size and not self.flags & MapFlag.INNER_MAP
        entries = self.max_entries if by_size else None
        return Template(self.type, self.key_size, self.value_size, self.flags, entries)

    def take(self, state: State, value: bytes) -> Element:
        """The element for a value that user space writes; Refusal where it may not."""
        self.pay(state)
        return _TAKE.get(self.type, _take_bytes)(state, self, value)

    def pay(self, state: State) -> None:
        """Pay for an element."""
        state.elements.spend(budget.ELEMENT + self.key_size + self.element_size)

    def belongs_to(self, prog_type: int) -> bool:
        """Whether a prog array is for programs of this type: the first one decides."""
        if self.owner is None:
            self.owner = prog_type
        return self.owner == prog_type


# -- what is in a map: its storage, and the elements for values -----------------------------------


def _array(state: State, attr: Attr) -> Storage:
    return Array(attr["max_entries"], state.order, _element_size(state, attr), state.elements)


def _hash(state: State, attr: Attr) -> Storage:
    return Hash(attr["max_entries"])


def _hash_of_values(state: State, attr: Attr) -> Storage:
    return Hash(attr["max_entries"], value_first=True)


def _lru(state: State, attr: Attr) -> Storage:
    return Hash(attr["max_entries"], evicts=True)


def _objects(*, readable: bool) -> Callable[[State, Attr], Storage]:
    return lambda state, attr: Objects(attr["max_entries"], state.order, readable=readable)


def _devices(state: State, attr: Attr) -> Storage:
    return Devices(attr["max_entries"], state.order)


def _sockets(**refusals: Errno) -> Callable[[State, Attr], Storage]:
    return lambda state, attr: Sockets(attr["max_entries"], state.order, refusals)


def _nothing(**refusals: Errno) -> Callable[[State, Attr], Storage]:
    return lambda state, attr: Storage(refusals)


_CGROUP_STORAGE = _nothing(
    lookup=Errno.ENOENT, update=Errno.ENOENT, delete=Errno.EINVAL, next_key=Errno.ENOENT
)
_LOCAL_STORAGE = _nothing(lookup=Errno.EBADF, update=Errno.EBADF, delete=Errno.EBADF)

_STORAGE: dict[MapType, Callable[[State, Attr], Storage]] = {
    MapType.HASH: _hash,
    MapType.ARRAY: _array,
    MapType.PROG_ARRAY: _objects(readable=True),
    MapType.PERF_EVENT_ARRAY: _objects(readable=False),
    MapType.PERCPU_HASH: _hash,
    MapType.PERCPU_ARRAY: _array,
    MapType.STACK_TRACE: _nothing(
        lookup=Errno.ENOENT, update=Errno.EINVAL, delete=Errno.ENOENT, next_key=Errno.ENOENT
    ),
    MapType.CGROUP_ARRAY: _objects(readable=False),
    MapType.LRU_HASH: _lru,
    MapType.LRU_PERCPU_HASH: _lru,
    MapType.LPM_TRIE: lambda state, attr: Trie(attr["max_entries"], state.order),
    MapType.ARRAY_OF_MAPS: _objects(readable=True),
    MapType.HASH_OF_MAPS: _hash_of_values,
    MapType.DEVMAP: _devices,
    MapType.SOCKMAP: _sockets(lookup=Errno.ENOSPC, delete=Errno.EINVAL),
    MapType.CPUMAP: _devices,
    MapType.XSKMAP: _sockets(lookup=Errno.EOPNOTSUPP, delete=Errno.EINVAL),
    MapType.SOCKHASH: _nothing(
        lookup=Errno.ENOSPC, update=Errno.ENOTSOCK, delete=Errno.ENOENT, next_key=Errno.ENOENT
    ),
    MapType.CGROUP_STORAGE: _CGROUP_STORAGE,
    MapType.REUSEPORT_SOCKARRAY: _sockets(lookup=Errno.ENOENT, delete=Errno.ENOENT),
    MapType.PERCPU_CGROUP_STORAGE: _CGROUP_STORAGE,
    MapType.QUEUE: lambda state, attr: Queue(attr["max_entries"], last_in=False),
    MapType.STACK: lambda state, attr: Queue(attr["max_entries"], last_in=True),
    MapType.SK_STORAGE: _LOCAL_STORAGE,
    MapType.DEVMAP_HASH: _hash_of_values,
    MapType.STRUCT_OPS: lambda state, attr: Once(state.order, attr["value_size"], state.elements),
    MapType.RINGBUF: _nothing(),
    MapType.INODE_STORAGE: _LOCAL_STORAGE,
    MapType.TASK_STORAGE: _LOCAL_STORAGE,
    MapType.BLOOM_FILTER: lambda state, attr: Bloom(),
    MapType.USER_RINGBUF: _nothing(),
    MapType.CGRP_STORAGE: _LOCAL_STORAGE,
    MapType.ARENA: _nothing(
        lookup=Errno.EINVAL,
        update=Errno.EOPNOTSUPP,
        delete=Errno.EOPNOTSUPP,
        next_key=Errno.EOPNOTSUPP,
    ),
}


def _take_bytes(state: State, owner: Map, value: bytes) -> Element:
    return bytearray(value)


def _take_map(state: State, owner: Map, value: bytes) -> Element:
    inner = state.fds.get(int.from_bytes(value, state.order), Map)
    check(inner.template == owner.inner)
    return inner


def _take_program(state: State, owner: Map, value: bytes) -> Element:
    program = state.fds.get(int.from_bytes(value, state.order), Program)
    check(program.type != ProgType.EXT and owner.belongs_to(program.type))
    return program


def _take_foreign(errno: Errno) -> Callable[[State, Map, bytes], Element]:
    """For fds of sockets, events and cgroups, of which the simulated process has none."""

    def take(state: State, owner: Map, value: bytes) -> Element:
        check(state.fds.is_open(int.from_bytes(value, state.order)), Errno.EBADF)
        raise Refusal(errno)

    return take


def _take_device(state: State, owner: Map, value: bytes) -> Element:
    device = int.from_bytes(value[:4], state.order)
    check(device in _DEVICES and (device != 0 or owner.type is MapType.DEVMAP))
    return bytearray(value)


def _take_queue(state: State, owner: Map, value: bytes) -> Element:
    check(int.from_bytes(value[:4], state.order) <= _CPUMAP_MAX_QUEUE, Errno.EOVERFLOW)
    return bytearray(value)


_TAKE: dict[MapType, Callable[[State, Map, bytes], Element]] = {
    MapType.PROG_ARRAY: _take_program,
    MapType.PERF_EVENT_ARRAY: _take_foreign(Errno.EBADF),
    MapType.CGROUP_ARRAY: _take_foreign(Errno.EBADF),
    MapType.ARRAY_OF_MAPS: _take_map,
    MapType.HASH_OF_MAPS: _take_map,
    MapType.DEVMAP: _take_device,
    MapType.DEVMAP_HASH: _take_device,
    MapType.CPUMAP: _take_queue,
    MapType.SOCKMAP: _take_foreign(Errno.ENOTSOCK),
    MapType.XSKMAP: _take_foreign(Errno.ENOTSOCK),
    MapType.REUSEPORT_SOCKARRAY: _take_foreign(Errno.ENOTSOCK),
}


# -- BPF_MAP_CREATE -----------------------------------------------------------------------------


def create(state: State, call: Call) -> int:
    """BPF_MAP_CREATE: the fd."""
    attr = call.attr
    flags = MapFlag(attr["map_flags"])
    _check_general(attr, flags)
    check(attr["map_type"] in RULES)
    map_type = MapType(attr["map_type"])
    rules = RULES[map_type]
    check(map_type in (MapType.BLOOM_FILTER, MapType.ARENA) or attr["map_extra"] == 0)
    check(not (flags & MapFlag.NUMA_NODE and attr["numa_node"]))
    rules.check(attr)
    check(rules.extra(attr["map_extra"]))
    inner = _template(state, attr) if map_type in _MAP_IN_MAP else None
    if map_type is MapType.STRUCT_OPS:
        _check_struct_ops(state, attr)
    made = Map(
        type=map_type,
        key_size=attr["key_size"],
        value_size=attr["value_size"],
        max_entries=attr["max_entries"],
        flags=flags,
        name=object_name(attr.bytes_of("map_name")),
        element_size=_element_size(state, attr),
        storage=_STORAGE[map_type](state, attr),
        extra=attr["map_extra"],
        btf=_types(state, attr),
        key_type=attr["btf_key_type_id"],
        value_type=attr["btf_value_type_id"],
        inner=inner,
    )
    return state.open(
        made,
        call.number,
        readable=MapFlag.WRONLY not in flags,
        writable=MapFlag.RDONLY not in flags,
    )


def _check_general(attr: Attr, flags: MapFlag) -> None:
    if attr["btf_vmlinux_value_type_id"]:
        check(attr["map_type"] == MapType.STRUCT_OPS)
        check(not attr["btf_key_type_id"] and not attr["btf_value_type_id"])
    else:
        check(not attr["btf_key_type_id"] or attr["btf_value_type_id"] != 0)
    check(MapFlag.RDONLY not in flags or MapFlag.WRONLY not in flags)
    # No map of the simulated kernel is on a network device, or for one program alone.
    check(not attr["map_ifindex"] and not attr["excl_prog_hash"])
    check(not attr["excl_prog_hash_size"])


def _element_size(state: State, attr: Attr) -> int:
    size = attr["value_size"]
    return (size + 7 & ~7) * state.cpus if attr["map_type"] in PERCPU_TYPES else size


def _template(state: State, attr: Attr) -> Template:
    inner = state.fds.get(attr["inner_map_fd"], Map)
    check(inner.inner is None)
    check(RULES[inner.type].inner, Errno.ENOTSUPP)
    return inner.template


def _check_struct_ops(state: State, attr: Attr) -> None:
    size = state.names.struct_ops_size(attr["btf_vmlinux_value_type_id"])
    check(size is not None, Errno.ENOTSUPP)
    check(size in (0, attr["value_size"]))


def _types(state: State, attr: Attr) -> LoadedBtf | None:
    fields = ("btf_key_type_id", "btf_value_type_id", "btf_vmlinux_value_type_id")
    if not any(attr[field] for field in fields):
        return None
    btf = state.fds.get(attr["btf_fd"], BtfObject)
    check(isinstance(btf, LoadedBtf), Errno.EACCES)
    assert isinstance(btf, LoadedBtf)
    if attr["btf_value_type_id"]:
        RULES[MapType(attr["map_type"])].typing(btf.btf, attr)
    return btf


# -- the commands on elements ---------------------------------------------------------------------


def _map(state: State, call: Call) -> tuple[Map, File]:
    found = state.fds.get(call.attr["map_fd"], Map)
    file = state.fds.file(call.attr["map_fd"])
    assert file is not None
    return found, file


def _key(state: State, call: Call, size: int) -> bytes:
    check(size > 0 or not call.attr["key"])
    return state.space.read(call.attr["key"], size, call.domain)


def lookup(state: State, call: Call) -> int:
    """BPF_MAP_LOOKUP_ELEM: writes the value."""
    attr = call.attr
    # BPF_F_LOCK is for values with spin locks; the simulated kernel sees none in any.
    check(attr["flags"] == 0)
    found, file = _map(state, call)
    check(file.readable, Errno.EPERM)
    key = _key(state, call, found.key_size)
    wanted = b""
    if found.type is MapType.BLOOM_FILTER:
        wanted = state.space.read(attr["value"], found.element_size, call.domain)
    element = found.storage.lookup(key, wanted)
    value = element.id.to_bytes(4, state.order) if isinstance(element, Object) else bytes(element)
    state.space.write(attr["value"], value, call.domain)
    return 0


def update(state: State, call: Call) -> int:
    """BPF_MAP_UPDATE_ELEM."""
    attr = call.attr
    found, file = _map(state, call)
    check(file.writable and not found.frozen, Errno.EPERM)
    check(not attr["flags"] & UpdateFlag.LOCK)
    key = _key(state, call, found.key_size)
    value = state.space.read(attr["value"], found.element_size, call.domain)
    found.storage.update(key, lambda: found.take(state, value), attr["flags"])
    return 0


def delete(state: State, call: Call) -> int:
    """BPF_MAP_DELETE_ELEM."""
    found, file = _map(state, call)
    check(file.writable and not found.frozen, Errno.EPERM)
    found.storage.delete(_key(state, call, found.key_size))
    return 0


def next_key(state: State, call: Call) -> int:
    """BPF_MAP_GET_NEXT_KEY: writes the key."""
    found, file = _map(state, call)
    check(file.readable, Errno.EPERM)
    key = _key(state, call, found.key_size) if call.attr["key"] else None
    following = found.storage.next_key(key)
    state.space.write(call.attr["next_key"], following, call.domain)
    return 0


def freeze(state: State, call: Call) -> int:
    """BPF_MAP_FREEZE; EPERM the second time (Linux 6.1 has EBUSY)."""
    found, file = _map(state, call)
    check(found.type is not MapType.STRUCT_OPS, Errno.ENOTSUPP)
    check(file.writable and not found.frozen, Errno.EPERM)
    found.frozen = True
    return 0


def by_id(state: State, call: Call) -> int:
    """BPF_MAP_GET_FD_BY_ID: a new fd for a map that there is."""
    attr = call.attr
    flags = MapFlag(attr["open_flags"])
    check(flags in (0, MapFlag.RDONLY, MapFlag.WRONLY))
    found = state.objects.get((Map.kind, attr["map_id"]))
    if found is None:
        raise Refusal(Errno.ENOENT)
    return state.open(
        found,
        call.number,
        readable=MapFlag.WRONLY not in flags,
        writable=MapFlag.RDONLY not in flags,
    )
