"""Maps and the map commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from lskel import budget
from lskel.bpf.digest import DIGEST_SIZE
from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.flags import ElementFlag, MapFlag
from lskel.catalog.map_types import MAPS_OF_MAPS, PER_CPU, Elements, MapTypeRow, map_type_row
from lskel.replay.simulator.syscall.attrs import Attr
from lskel.replay.simulator.syscall.btfs import BtfObject, LoadedBtf
from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check
from lskel.replay.simulator.syscall.fds import File, KernelObject
from lskel.replay.simulator.syscall.map_types import check_attr, check_extra, check_types
from lskel.replay.simulator.syscall.object_names import object_name
from lskel.replay.simulator.syscall.programs import SimulatedProgram
from lskel.replay.simulator.syscall.storage import (
    ArrayStorage,
    BloomStorage,
    DeviceStorage,
    Element,
    HashStorage,
    InsnStorage,
    ObjectStorage,
    QueueStorage,
    SocketStorage,
    Storage,
    StructOpsStorage,
    TrieStorage,
)

if TYPE_CHECKING:
    from lskel.replay.simulator.memory import MemoryRegion
    from lskel.replay.simulator.syscall.state import KernelState, PendingCall

# The only network device of the simulated machine: lo.
_DEVICES = (0, 1)
_CPUMAP_MAX_QUEUE = 16384


class Template(NamedTuple):
    """The template of a map-in-map; `max_entries` is None if it may differ."""

    type: int
    key_size: int
    value_size: int
    flags: int
    max_entries: int | None


@dataclass(eq=False)
class SimulatedMap(KernelObject):
    """A map. `element_size` is the number of bytes of a value in user space.

    `owner` is the program type of a prog array; `mapped` are the elements with addresses;
    `in_use`: whether a program has these instructions; `exclusive` is the digest of the only
    program that may use it, empty for any.
    """

    kind: ClassVar[str] = "map"
    row: MapTypeRow
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
    in_use: bool = False
    exclusive: bytes = b""
    mapped: dict[bytes, MemoryRegion] = field(default_factory=dict)
    id: int = 0

    @property
    def type(self) -> MapType:
        """Its type."""
        return self.row.type

    @property
    def template(self) -> Template:
        """The properties that a map must share with this one to replace it."""
        by_size = self.row.inner_by_size and not self.flags & MapFlag.INNER_MAP
        entries = self.max_entries if by_size else None
        return Template(self.type, self.key_size, self.value_size, self.flags, entries)

    def take(self, state: KernelState, value: bytes) -> Element:
        """The element for a value written by user space; Refusal if invalid."""
        self.pay(state)
        return _TAKE.get(self.row.elements, _take_bytes)(state, self, value)

    def pay(self, state: KernelState) -> None:
        """Charge the budget for an element."""
        state.elements.spend(budget.ELEMENT + self.key_size + self.element_size)

    def belongs_to(self, prog_type: int) -> bool:
        """Whether a prog array accepts programs of this type: the first program decides."""
        if self.owner is None:
            self.owner = prog_type
        return self.owner == prog_type


# -- storage of maps, and elements for values -----------------------------------------------------


def _array(state: KernelState, attr: Attr) -> Storage:
    return ArrayStorage(
        attr["max_entries"], state.order, _element_size(state, attr), state.elements
    )


def _insns(state: KernelState, attr: Attr) -> Storage:
    return InsnStorage(attr["max_entries"], state.order, attr["value_size"], state.elements)


def _hash(state: KernelState, attr: Attr) -> Storage:
    return HashStorage(attr["max_entries"])


def _hash_of_values(state: KernelState, attr: Attr) -> Storage:
    return HashStorage(attr["max_entries"], value_first=True)


def _lru(state: KernelState, attr: Attr) -> Storage:
    return HashStorage(attr["max_entries"], evicts=True)


def _objects(*, readable: bool) -> Callable[[KernelState, Attr], Storage]:
    return lambda state, attr: ObjectStorage(attr["max_entries"], state.order, readable=readable)


def _devices(state: KernelState, attr: Attr) -> Storage:
    return DeviceStorage(attr["max_entries"], state.order)


def _sockets(**refusals: Errno) -> Callable[[KernelState, Attr], Storage]:
    return lambda state, attr: SocketStorage(attr["max_entries"], state.order, refusals)


def _nothing(**refusals: Errno) -> Callable[[KernelState, Attr], Storage]:
    return lambda state, attr: Storage(refusals)


_CGROUP_STORAGE = _nothing(
    lookup=Errno.ENOENT, update=Errno.ENOENT, delete=Errno.EINVAL, next_key=Errno.ENOENT
)
_LOCAL_STORAGE = _nothing(lookup=Errno.EBADF, update=Errno.EBADF, delete=Errno.EBADF)

_STORAGE: dict[Elements, Callable[[KernelState, Attr], Storage]] = {
    Elements.HASH: _hash,
    Elements.GROWING_HASH: _hash,
    Elements.ARRAY: _array,
    Elements.PROGRAMS: _objects(readable=True),
    Elements.EVENTS: _objects(readable=False),
    Elements.STACK_TRACES: _nothing(
        lookup=Errno.ENOENT, update=Errno.EINVAL, delete=Errno.ENOENT, next_key=Errno.ENOENT
    ),
    Elements.CGROUPS: _objects(readable=False),
    Elements.LRU_HASH: _lru,
    Elements.TRIE: lambda state, attr: TrieStorage(attr["max_entries"], state.order),
    Elements.MAPS: _objects(readable=True),
    Elements.MAPS_BY_KEY: _hash_of_values,
    Elements.DEVICES: _devices,
    Elements.SOCKETS: _sockets(lookup=Errno.ENOSPC, delete=Errno.EINVAL),
    Elements.CPUS: _devices,
    Elements.XDP_SOCKETS: _sockets(lookup=Errno.EOPNOTSUPP, delete=Errno.EINVAL),
    Elements.SOCKETS_BY_KEY: _nothing(
        lookup=Errno.ENOSPC, update=Errno.ENOTSOCK, delete=Errno.ENOENT, next_key=Errno.ENOENT
    ),
    Elements.CGROUP_STORAGE: _CGROUP_STORAGE,
    Elements.LISTENERS: _sockets(lookup=Errno.ENOENT, delete=Errno.ENOENT),
    Elements.QUEUE: lambda state, attr: QueueStorage(attr["max_entries"], last_in=False),
    Elements.STACK: lambda state, attr: QueueStorage(attr["max_entries"], last_in=True),
    Elements.LOCAL_STORAGE: _LOCAL_STORAGE,
    Elements.DEVICES_BY_KEY: _hash_of_values,
    Elements.STRUCT_OPS: lambda state, attr: StructOpsStorage(
        state.order, attr["value_size"], state.elements
    ),
    Elements.RING: _nothing(),
    Elements.BLOOM: lambda state, attr: BloomStorage(),
    Elements.ARENA: _nothing(
        lookup=Errno.EINVAL,
        update=Errno.EOPNOTSUPP,
        delete=Errno.EOPNOTSUPP,
        next_key=Errno.EOPNOTSUPP,
    ),
    Elements.INSNS: _insns,
}


def _take_bytes(state: KernelState, owner: SimulatedMap, value: bytes) -> Element:
    return bytearray(value)


def _take_map(state: KernelState, owner: SimulatedMap, value: bytes) -> Element:
    inner = state.fds.get(int.from_bytes(value, state.order), SimulatedMap)
    check(inner.template == owner.inner)
    return inner


def _take_program(state: KernelState, owner: SimulatedMap, value: bytes) -> Element:
    program = state.fds.get(int.from_bytes(value, state.order), SimulatedProgram)
    check(program.type != ProgType.EXT and owner.belongs_to(program.type))
    return program


def _take_foreign(errno: Errno) -> Callable[[KernelState, SimulatedMap, bytes], Element]:
    """For fds of sockets, events and cgroups: the simulated process has none."""

    def take(state: KernelState, owner: SimulatedMap, value: bytes) -> Element:
        check(state.fds.is_open(int.from_bytes(value, state.order)), Errno.EBADF)
        raise Refusal(errno)

    return take


def _take_device(state: KernelState, owner: SimulatedMap, value: bytes) -> Element:
    device = int.from_bytes(value[:4], state.order)
    check(device in _DEVICES and (device != 0 or owner.type is MapType.DEVMAP))
    return bytearray(value)


def _take_queue(state: KernelState, owner: SimulatedMap, value: bytes) -> Element:
    check(int.from_bytes(value[:4], state.order) <= _CPUMAP_MAX_QUEUE, Errno.EOVERFLOW)
    return bytearray(value)


_TAKE: dict[Elements, Callable[[KernelState, SimulatedMap, bytes], Element]] = {
    Elements.PROGRAMS: _take_program,
    Elements.EVENTS: _take_foreign(Errno.EBADF),
    Elements.CGROUPS: _take_foreign(Errno.EBADF),
    Elements.MAPS: _take_map,
    Elements.MAPS_BY_KEY: _take_map,
    Elements.DEVICES: _take_device,
    Elements.DEVICES_BY_KEY: _take_device,
    Elements.CPUS: _take_queue,
    Elements.SOCKETS: _take_foreign(Errno.ENOTSOCK),
    Elements.XDP_SOCKETS: _take_foreign(Errno.ENOTSOCK),
    Elements.LISTENERS: _take_foreign(Errno.ENOTSOCK),
}


# -- BPF_MAP_CREATE -----------------------------------------------------------------------------


def create(state: KernelState, call: PendingCall) -> int:
    """BPF_MAP_CREATE: the fd."""
    attr = call.attr
    flags = attr["map_flags"]
    _check_general(attr, flags)
    row = map_type_row(attr["map_type"])
    if row is None:
        raise Refusal(Errno.EINVAL)
    check(row.extra.high > 0 or attr["map_extra"] == 0)
    check(not (flags & MapFlag.NUMA_NODE and attr["numa_node"]))
    check_attr(row, attr)
    check_extra(row, attr["map_extra"])
    inner = _template(state, attr) if row.type in MAPS_OF_MAPS else None
    if row.elements is Elements.STRUCT_OPS:
        _check_struct_ops(state, attr)
    made = SimulatedMap(
        row=row,
        key_size=attr["key_size"],
        value_size=attr["value_size"],
        max_entries=attr["max_entries"],
        flags=flags,
        name=object_name(attr.bytes_of("map_name")),
        element_size=_element_size(state, attr),
        storage=_STORAGE[row.elements](state, attr),
        extra=attr["map_extra"],
        btf=_types(state, row, attr),
        key_type=attr["btf_key_type_id"],
        value_type=attr["btf_value_type_id"],
        inner=inner,
        exclusive=_exclusive(state, call),
    )
    return state.open(
        made,
        call.number,
        readable=not flags & MapFlag.WRONLY,
        writable=not flags & MapFlag.RDONLY,
    )


def _check_general(attr: Attr, flags: int) -> None:
    if attr["btf_vmlinux_value_type_id"]:
        check(attr["map_type"] == MapType.STRUCT_OPS)
        check(not attr["btf_key_type_id"] and not attr["btf_value_type_id"])
    else:
        check(not attr["btf_key_type_id"] or attr["btf_value_type_id"] != 0)
    check(not flags & MapFlag.RDONLY or not flags & MapFlag.WRONLY)
    # The simulated kernel has no offloaded maps.
    check(not attr["map_ifindex"])


def _exclusive(state: KernelState, call: PendingCall) -> bytes:
    address, size = call.attr["excl_prog_hash"], call.attr["excl_prog_hash_size"]
    check(size == (DIGEST_SIZE if address else 0))
    return state.space.read(address, size, call.domain)


def _element_size(state: KernelState, attr: Attr) -> int:
    size = attr["value_size"]
    return (size + 7 & ~7) * state.cpus if attr["map_type"] in PER_CPU else size


def _template(state: KernelState, attr: Attr) -> Template:
    inner = state.fds.get(attr["inner_map_fd"], SimulatedMap)
    check(inner.inner is None)
    check(inner.row.is_inner, Errno.ENOTSUPP)
    return inner.template


def _check_struct_ops(state: KernelState, attr: Attr) -> None:
    size = state.names.struct_ops_size(attr["btf_vmlinux_value_type_id"])
    check(size is not None, Errno.ENOTSUPP)
    check(size in (0, attr["value_size"]))


def _types(state: KernelState, row: MapTypeRow, attr: Attr) -> LoadedBtf | None:
    fields = ("btf_key_type_id", "btf_value_type_id", "btf_vmlinux_value_type_id")
    if not any(attr[field] for field in fields):
        return None
    btf = state.fds.get(attr["btf_fd"], BtfObject)
    check(isinstance(btf, LoadedBtf), Errno.EACCES)
    assert isinstance(btf, LoadedBtf)
    if attr["btf_value_type_id"]:
        check_types(row, btf.btf, attr)
    return btf


# -- element commands -----------------------------------------------------------------------------


def _map(state: KernelState, call: PendingCall) -> tuple[SimulatedMap, File]:
    found = state.fds.get(call.attr["map_fd"], SimulatedMap)
    file = state.fds.file(call.attr["map_fd"])
    assert file is not None
    return found, file


def _key(state: KernelState, call: PendingCall, size: int) -> bytes:
    check(size > 0 or not call.attr["key"])
    return state.space.read(call.attr["key"], size, call.domain)


def lookup(state: KernelState, call: PendingCall) -> int:
    """BPF_MAP_LOOKUP_ELEM: writes the value."""
    attr = call.attr
    # BPF_F_LOCK is for values with spin locks, which the simulated kernel does not detect.
    check(attr["flags"] == 0)
    found, file = _map(state, call)
    check(file.readable, Errno.EPERM)
    key = _key(state, call, found.key_size)
    wanted = b""
    if found.type is MapType.BLOOM_FILTER:
        wanted = state.space.read(attr["value"], found.element_size, call.domain)
    element = found.storage.lookup(key, wanted)
    _hand_out(state, call, element)
    return 0


def lookup_and_delete(state: KernelState, call: PendingCall) -> int:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM: writes the removed value."""
    check(call.attr["flags"] == 0)
    found, file = _map(state, call)
    check(file.readable and file.writable and not found.frozen, Errno.EPERM)
    _hand_out(state, call, found.storage.take_out(_key(state, call, found.key_size)))
    return 0


def _hand_out(state: KernelState, call: PendingCall, element: Element) -> None:
    value = (
        element.id.to_bytes(4, state.order) if isinstance(element, KernelObject) else bytes(element)
    )
    state.space.write(call.attr["value"], value, call.domain)


def update(state: KernelState, call: PendingCall) -> int:
    """BPF_MAP_UPDATE_ELEM."""
    attr = call.attr
    found, file = _map(state, call)
    check(file.writable and not found.frozen, Errno.EPERM)
    check(not attr["flags"] & ElementFlag.LOCK)
    key = _key(state, call, found.key_size)
    value = state.space.read(attr["value"], found.element_size, call.domain)
    found.storage.update(key, lambda: found.take(state, value), attr["flags"])
    return 0


def delete(state: KernelState, call: PendingCall) -> int:
    """BPF_MAP_DELETE_ELEM."""
    found, file = _map(state, call)
    check(file.writable and not found.frozen, Errno.EPERM)
    found.storage.delete(_key(state, call, found.key_size))
    return 0


def next_key(state: KernelState, call: PendingCall) -> int:
    """BPF_MAP_GET_NEXT_KEY: writes the key."""
    found, file = _map(state, call)
    check(file.readable, Errno.EPERM)
    key = _key(state, call, found.key_size) if call.attr["key"] else None
    following = found.storage.next_key(key)
    state.space.write(call.attr["next_key"], following, call.domain)
    return 0


def freeze(state: KernelState, call: PendingCall) -> int:
    """BPF_MAP_FREEZE; EPERM the second time (Linux 6.1 has EBUSY)."""
    found, file = _map(state, call)
    check(found.type is not MapType.STRUCT_OPS, Errno.ENOTSUPP)
    check(file.writable and not found.frozen, Errno.EPERM)
    found.frozen = True
    return 0


def by_id(state: KernelState, call: PendingCall) -> int:
    """BPF_MAP_GET_FD_BY_ID: a new fd of an existing map."""
    attr = call.attr
    flags = attr["open_flags"]
    check(flags in (0, MapFlag.RDONLY, MapFlag.WRONLY))
    found = state.objects.get((SimulatedMap.kind, attr["map_id"]))
    if found is None:
        raise Refusal(Errno.ENOENT)
    return state.open(
        found,
        call.number,
        readable=not flags & MapFlag.WRONLY,
        writable=not flags & MapFlag.RDONLY,
    )
