"""Decoding attrs for the record: pointers become what they point to, fds their objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum

from lskel.bpf import insn as i
from lskel.bpf.enums import AttachType, Cmd, MapType, ProgType
from lskel.bpf.limits import MAX_INSNS
from lskel.catalog.map_types import FD_SIZE, FD_VALUES
from lskel.replay.simulator.record import Pointer, RecordedCode, RecordedFdArray, Value
from lskel.replay.simulator.syscall.code import references
from lskel.replay.simulator.syscall.errnos import Refusal
from lskel.replay.simulator.syscall.fds import MAX_FDS
from lskel.replay.simulator.syscall.links import TRACEPOINT_NAME_SIZE
from lskel.replay.simulator.syscall.maps import SimulatedMap
from lskel.replay.simulator.syscall.prog_load import LICENSE_SIZE
from lskel.replay.simulator.syscall.space import Domain
from lskel.replay.simulator.syscall.state import KernelState, PendingCall

Describe = Callable[[KernelState, PendingCall, str], Value]

_PLACES = {Domain.USER: "user memory", Domain.KERNEL: "kernel memory", None: "nowhere"}
# Larger tables are not read.
_MAX_SIZE = 1 << 30


def describe(state: KernelState, cmd: Cmd, call: PendingCall) -> dict[str, Value]:
    """The fields of an attr, in the attr's order."""
    return {field: value(state, call, field) for field, value in _FIELDS[cmd].items()}


def _number(state: KernelState, call: PendingCall, field: str) -> Value:
    return call.attr[field]


def _one_of(known: type[IntEnum]) -> Describe:
    def value(state: KernelState, call: PendingCall, field: str) -> Value:
        number = call.attr[field]
        return known(number) if number in known._value2member_map_ else number

    return value


def _fd(state: KernelState, call: PendingCall, field: str) -> Value:
    return state.ref(call.attr[field])


def _name(state: KernelState, call: PendingCall, field: str) -> Value:
    return call.attr.bytes_of(field).partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _pointer(state: KernelState, call: PendingCall, field: str) -> Value:
    address = call.attr[field]
    return Pointer(_PLACES[state.space.domain(address)], address) if address else 0


def _read(state: KernelState, call: PendingCall, field: str, size: int) -> bytes | None:
    """What a pointer points to; None if not readable."""
    try:
        return state.space.read(call.attr[field], size, call.domain) if size <= _MAX_SIZE else None
    except Refusal:
        return None


def _sized(count: str, size: str | int = 1) -> Describe:
    """`count` records of `size`: names of fields, or a number of bytes."""

    def value(state: KernelState, call: PendingCall, field: str) -> Value:
        each = call.attr[size] if isinstance(size, str) else size
        found = _read(state, call, field, call.attr[count] * each)
        return _pointer(state, call, field) if found is None else found

    return value


def _text(limit: int, domain: Domain | None = None) -> Describe:
    """A NUL-terminated string, by default in the caller's domain."""

    def value(state: KernelState, call: PendingCall, field: str) -> Value:
        try:
            found = state.space.string(call.attr[field], limit, domain or call.domain)
        except Refusal:
            return _pointer(state, call, field)
        return found.decode("utf-8", "backslashreplace")

    return value


def _map(state: KernelState, call: PendingCall) -> SimulatedMap | None:
    try:
        return state.fds.get(call.attr["map_fd"], SimulatedMap)
    except Refusal:
        return None


def _key(state: KernelState, call: PendingCall, field: str) -> Value:
    owner = _map(state, call)
    found = _read(state, call, field, owner.key_size) if owner and call.attr[field] else None
    return _pointer(state, call, field) if found is None else found


def _value(state: KernelState, call: PendingCall, field: str) -> Value:
    owner = _map(state, call)
    found = _read(state, call, field, owner.element_size) if owner else None
    if owner is None or found is None:
        return _pointer(state, call, field)
    if owner.type in FD_VALUES:
        return state.ref(int.from_bytes(found, state.order))
    return found


def _code(state: KernelState, call: PendingCall, field: str) -> Value:
    count = call.attr["insn_cnt"]
    raw = _read(state, call, field, count * i.SIZE) if count <= MAX_INSNS else None
    if raw is None:
        return _pointer(state, call, field)
    state.loaded.spend(count)
    code = bytearray(raw)
    fds = []
    for reference in references(raw, state.order):
        if reference.fd is not None:
            fds.append((reference.insn, state.ref(reference.fd)))
            i.set_imm(code, reference.at, 0, state.order)
    return RecordedCode(bytes(code), tuple(fds), raw)


def _fd_array(state: KernelState, call: PendingCall, field: str) -> Value:
    count = call.attr["insn_cnt"]
    code = _read(state, call, "insns", count * i.SIZE if count <= MAX_INSNS else 0) or b""
    slots = {r.slot for r in references(code, state.order) if r.slot is not None and r.slot >= 0}
    slots |= set(range(min(call.attr["fd_array_cnt"], MAX_FDS)))
    used: list[tuple[int, Value]] = []
    for slot in sorted(slots):
        address = call.attr[field] + FD_SIZE * slot
        try:
            raw = state.space.read(address, FD_SIZE, call.domain)
        except Refusal:
            used.append((slot, Pointer("nowhere", address)))
        else:
            used.append((slot, state.ref(int.from_bytes(raw, state.order))))
    return RecordedFdArray(tuple(used))


def _options(state: KernelState, call: PendingCall, field: str) -> Value:
    """The options after the common fields of links."""
    attr = call.attr
    return attr.raw[attr.layout["flags"][0] + 4 :].rstrip(b"\0")


def _fields(names: str, **special: Describe) -> Mapping[str, Describe]:
    """Fields in attr order; numbers unless special."""
    return {name: special.get(name, _number) for name in names.split()}


_FIELDS: dict[Cmd, Mapping[str, Describe]] = {
    Cmd.MAP_CREATE: _fields(
        "map_type key_size value_size max_entries map_flags inner_map_fd numa_node map_name "
        "map_ifindex btf_fd btf_key_type_id btf_value_type_id btf_vmlinux_value_type_id map_extra "
        "value_type_btf_obj_fd map_token_fd excl_prog_hash excl_prog_hash_size",
        map_type=_one_of(MapType),
        inner_map_fd=_fd,
        map_name=_name,
        btf_fd=_fd,
        value_type_btf_obj_fd=_fd,
        map_token_fd=_fd,
        excl_prog_hash=_sized("excl_prog_hash_size"),
    ),
    Cmd.MAP_LOOKUP_ELEM: _fields("map_fd key value flags", map_fd=_fd, key=_key, value=_pointer),
    Cmd.MAP_LOOKUP_AND_DELETE_ELEM: _fields(
        "map_fd key value flags", map_fd=_fd, key=_key, value=_pointer
    ),
    Cmd.MAP_UPDATE_ELEM: _fields("map_fd key value flags", map_fd=_fd, key=_key, value=_value),
    Cmd.MAP_DELETE_ELEM: _fields("map_fd key", map_fd=_fd, key=_key),
    Cmd.MAP_GET_NEXT_KEY: _fields("map_fd key next_key", map_fd=_fd, key=_key, next_key=_pointer),
    Cmd.MAP_FREEZE: _fields("map_fd", map_fd=_fd),
    Cmd.MAP_GET_FD_BY_ID: _fields(
        "map_id open_flags fd_by_id_token_fd",
        fd_by_id_token_fd=_fd,
    ),
    Cmd.PROG_LOAD: _fields(
        "prog_type insn_cnt insns license log_level log_size log_buf kern_version prog_flags "
        "prog_name prog_ifindex expected_attach_type prog_btf_fd func_info_rec_size func_info "
        "func_info_cnt line_info_rec_size line_info line_info_cnt attach_btf_id attach_btf_obj_fd "
        "core_relo_cnt fd_array core_relos core_relo_rec_size prog_token_fd fd_array_cnt signature "
        "signature_size keyring_id",
        prog_type=_one_of(ProgType),
        insns=_code,
        license=_text(LICENSE_SIZE - 1),
        log_buf=_pointer,
        prog_name=_name,
        prog_btf_fd=_fd,
        func_info=_sized("func_info_cnt", "func_info_rec_size"),
        line_info=_sized("line_info_cnt", "line_info_rec_size"),
        attach_btf_obj_fd=_fd,
        fd_array=_fd_array,
        core_relos=_sized("core_relo_cnt", "core_relo_rec_size"),
        prog_token_fd=_fd,
        signature=_sized("signature_size"),
    ),
    Cmd.PROG_BIND_MAP: _fields("prog_fd map_fd flags", prog_fd=_fd, map_fd=_fd),
    Cmd.BTF_LOAD: _fields(
        "btf btf_log_buf btf_size btf_log_size btf_log_level btf_flags btf_token_fd",
        btf=_sized("btf_size"),
        btf_log_buf=_pointer,
        btf_token_fd=_fd,
    ),
    Cmd.RAW_TRACEPOINT_OPEN: _fields(
        "name prog_fd cookie", name=_text(TRACEPOINT_NAME_SIZE - 1, Domain.USER), prog_fd=_fd
    ),
    Cmd.LINK_CREATE: _fields(
        "prog_fd target_fd attach_type flags options",
        prog_fd=_fd,
        target_fd=_fd,
        attach_type=_one_of(AttachType),
        options=_options,
    ),
}
