"""The checks of BPF_MAP_CREATE, by the rows of lskel.catalog.map_types."""

from __future__ import annotations

from collections.abc import Callable

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.catalog.map_types import Elements, MapBtf, MapTypeRow, Ranges
from lskel.errors import BadObject
from lskel.replay.simulator.syscall.attrs import Attr
from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check

PAGE_SIZE = 4096
_KMALLOC_MAX = 1 << 22
# sizeof(struct htab_elem)
_HASH_ELEMENT = 48
_U16_MAX = 0xFFFF
_STACK_DEPTH = 127
_BUILD_ID_SIZE = 32
_SOCKHASH_KEY_MAX = 512


def check_attr(row: MapTypeRow, attr: Attr) -> None:
    """Refusal if the attr is invalid for this map type; BTF types are not checked."""
    flags = attr["map_flags"]
    check(not flags & ~(row.flags | row.required_flags))
    check(flags & row.required_flags == row.required_flags)
    check(not flags & MapFlag.RDONLY_PROG or not flags & MapFlag.WRONLY_PROG)
    check(_within(attr["key_size"], row.keys) and _within(attr["value_size"], row.values))
    entries = attr["max_entries"]
    check(_within(entries, row.entries))
    check(not row.page_sized or entries & (entries - 1) == 0)
    check(attr["value_size"] <= row.value_limit, Errno.E2BIG)
    check(entries <= row.entry_limit, Errno.E2BIG)
    _MORE.get(row.elements, _nothing_more)(attr)


def check_extra(row: MapTypeRow, map_extra: int) -> None:
    """Refusal if map_extra is invalid."""
    check(row.extra.low <= map_extra <= row.extra.high)
    check(row.elements is not Elements.ARENA or map_extra % PAGE_SIZE == 0)


def check_types(row: MapTypeRow, btf: Btf, attr: Attr) -> None:
    """Refusal if the key and value types are invalid for this map type."""
    _TYPES[row.btf](btf, attr)


def _within(number: int, ranges: Ranges) -> bool:
    return any(low <= number <= high for low, high in ranges)


# -- combinations of sizes and flags --------------------------------------------------------------


def _nothing_more(attr: Attr) -> None:
    pass


def _hash(attr: Attr) -> None:
    room = _KMALLOC_MAX - _HASH_ELEMENT
    check(attr["key_size"] + attr["value_size"] < room, Errno.E2BIG)


def _growing_hash(attr: Attr) -> None:
    check(attr["key_size"] <= _U16_MAX, Errno.E2BIG)
    # The number of elements that the table first has room for.
    check(attr["map_extra"] <= _U16_MAX, Errno.E2BIG)
    check(attr["map_extra"] <= attr["max_entries"])
    _hash(attr)


def _lru(attr: Attr) -> None:
    flags = attr["map_flags"]
    check(not flags & MapFlag.NO_PREALLOC, Errno.ENOTSUPP)
    check(not flags & MapFlag.NO_COMMON_LRU or not flags & MapFlag.NUMA_NODE)
    _hash(attr)


def _stack_trace(attr: Attr) -> None:
    record = _BUILD_ID_SIZE if attr["map_flags"] & MapFlag.STACK_BUILD_ID else 8
    check(attr["value_size"] % record == 0 and attr["value_size"] // record <= _STACK_DEPTH)


def _sockhash(attr: Attr) -> None:
    check(attr["key_size"] <= _SOCKHASH_KEY_MAX, Errno.E2BIG)


def _local_storage(attr: Attr) -> None:
    check(attr["btf_key_type_id"] != 0 and attr["btf_value_type_id"] != 0)


def _struct_ops(attr: Attr) -> None:
    check(attr["btf_vmlinux_value_type_id"] != 0)


_MORE: dict[Elements, Callable[[Attr], None]] = {
    Elements.HASH: _hash,
    Elements.GROWING_HASH: _growing_hash,
    Elements.MAPS_BY_KEY: _hash,
    Elements.LRU_HASH: _lru,
    Elements.STACK_TRACES: _stack_trace,
    Elements.SOCKETS_BY_KEY: _sockhash,
    Elements.LOCAL_STORAGE: _local_storage,
    Elements.STRUCT_OPS: _struct_ops,
}


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


def _refused(btf: Btf, attr: Attr) -> None:
    raise Refusal(Errno.EINVAL)


def _integer_key(btf: Btf, attr: Attr) -> None:
    _key_and_value(btf, attr)
    check(_is_u32(btf, attr["btf_key_type_id"]))


def _is_u32(btf: Btf, type_id: int) -> bool:
    key = btf[btf.resolve(TypeId(type_id))]
    return isinstance(key, t.Int) and key.bits == 32 and key.offset == 0


def _array_key(btf: Btf, attr: Attr) -> None:
    """Global data has no key type: one element, whose type is a DATASEC."""
    _value_only(btf, attr)
    if attr["btf_key_type_id"]:
        check(_is_u32(btf, attr["btf_key_type_id"]))
        return
    value = btf[TypeId(attr["btf_value_type_id"])]
    check(attr["map_type"] == MapType.ARRAY and attr["max_entries"] == 1)
    check(isinstance(value, t.Datasec))


def _cgroup_key(btf: Btf, attr: Attr) -> None:
    """struct bpf_cgroup_storage_key, or the u64 of its first member."""
    _key_and_value(btf, attr)
    key = btf[btf.resolve(TypeId(attr["btf_key_type_id"]))]
    if attr["key_size"] == 8:
        check(isinstance(key, t.Int))
    else:
        check(isinstance(key, t.StructType) and len(key.members) == 2)


def _trie_key(btf: Btf, attr: Attr) -> None:
    _key_and_value(btf, attr)
    check(isinstance(btf[btf.resolve(TypeId(attr["btf_key_type_id"]))], t.StructType))


_TYPES: dict[MapBtf, Callable[[Btf, Attr], None]] = {
    MapBtf.ANY: _key_and_value,
    MapBtf.SIZED: _key_and_value,
    MapBtf.ARRAY: _array_key,
    MapBtf.TRIE_KEY: _trie_key,
    MapBtf.CGROUP_KEY: _cgroup_key,
    MapBtf.VALUE: _value_only,
    MapBtf.REQUIRED: _integer_key,
    MapBtf.KERNEL_VALUE: _key_and_value,
    MapBtf.REFUSED: _no_types,
    MapBtf.NONE: _refused,
}
