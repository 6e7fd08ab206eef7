"""The bpf(2) call of each operation of a trace: command, attr, and run-time fields.

Loaders and direct replay both use it, so that their attrs cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from lskel.bpf import insn as i
from lskel.bpf import layouts
from lskel.bpf.attr import encode, object_name, size_through
from lskel.bpf.enums import Cmd
from lskel.bpf.flags import MapFlag
from lskel.bpf.layouts import Layout
from lskel.bpf.settable import MAP_FIELDS, PROG_FIELDS
from lskel.btf.ext import CORE_RELO_SIZE, Records
from lskel.cursor import ByteOrder
from lskel.trace import (
    BtfLoad,
    Input,
    LinkCreate,
    MapCreate,
    MapFreeze,
    MapUpdate,
    Op,
    ProgLoad,
    RawTracepointOpen,
    Ref,
)

# The last field that lskel uses of each attr; kernels refuse a longer attr than they know, unless
# the rest is 0. Those of BPF tokens (Linux 6.9) are filled in at run time (runtime/token.py).
LAST_FIELD = {
    Cmd.BTF_LOAD: "btf_token_fd",
    Cmd.MAP_CREATE: "map_token_fd",
    Cmd.MAP_UPDATE_ELEM: "flags",
    Cmd.MAP_FREEZE: "map_fd",
    Cmd.PROG_LOAD: "prog_token_fd",
    Cmd.RAW_TRACEPOINT_OPEN: "prog_fd",
    Cmd.LINK_CREATE: "flags",
}


class Part(Enum):
    """Which half of an operation's result is used."""

    FD = auto()
    BTF_ID = auto()


class Data(NamedTuple):
    """Bytes that a pointer points to, zero-padded to `size`; `initial` may be overridden."""

    field: str
    content: bytes
    size: int
    initial: bool = False


class FdPointer(NamedTuple):
    """A pointer to the fd of `ref`."""

    field: str
    ref: Ref


class FdArray(NamedTuple):
    """A pointer to the array of all map fds."""

    field: str


class Number(NamedTuple):
    """A 32-bit field with a part of the result of `ref`."""

    field: str
    ref: Ref
    part: Part


class InputNumber(NamedTuple):
    """A 32-bit field with an input of the trace."""

    field: str
    input: Input


class IfModule(NamedTuple):
    """A field with `value` if the result of `ref` is in a module."""

    field: str
    ref: Ref
    value: int


class LogFields(NamedTuple):
    """Names of the fields that request a log."""

    level: str
    size: str
    buffer: str


class Call(NamedTuple):
    """One bpf(2) call: the attr with its constants, and the fields set at run time.

    `btf_fields` must be 0 without BTF.
    """

    cmd: Cmd
    layout: Layout
    attr: bytes
    pointers: tuple[Data | FdPointer | FdArray, ...] = ()
    numbers: tuple[Number | InputNumber, ...] = ()
    log: LogFields | None = None
    btf_fields: tuple[str, ...] = ()
    if_module: IfModule | None = None


def call_of(op: Op, order: ByteOrder) -> Call | None:
    """The call of an operation; None for those without a bpf(2) call (find, close)."""
    build = _BUILDERS.get(type(op))
    return build(op, order) if build else None


def _call(
    cmd: Cmd,
    layout: Layout,
    order: ByteOrder,
    fields: dict[str, int | bytes],
    last: str = "",
    **parts: Any,
) -> Call:
    size = size_through(layout, last or LAST_FIELD[cmd])
    return Call(cmd, layout, bytes(encode(layout, size, order, **fields)), **parts)


def _btf_load(op: BtfLoad, order: ByteOrder) -> Call:
    return _call(
        Cmd.BTF_LOAD,
        layouts.BTF_LOAD,
        order,
        {"btf_size": len(op.data)},
        pointers=(Data("btf", op.data, len(op.data)),),
        log=LogFields("btf_log_level", "btf_log_size", "btf_log_buf"),
    )


def _map_create(op: MapCreate, order: ByteOrder) -> Call:
    numbers: list[Number | InputNumber] = []
    if op.btf is not None:
        numbers.append(Number("btf_fd", op.btf, Part.FD))
    if op.inner is not None:
        numbers.append(Number("inner_map_fd", op.inner, Part.FD))
    if op.kernel_value_type is not None:
        numbers.append(Number("btf_vmlinux_value_type_id", op.kernel_value_type, Part.BTF_ID))
        numbers.append(Number("value_type_btf_obj_fd", op.kernel_value_type, Part.FD))
    fields = _constants(op, MAP_FIELDS, numbers) | {"map_name": object_name(op.name)}
    if op.exclusive:
        fields["excl_prog_hash_size"] = len(op.exclusive)
    return _call(
        Cmd.MAP_CREATE,
        layouts.MAP_CREATE,
        order,
        fields,
        numbers=tuple(numbers),
        btf_fields=("btf_fd", "btf_key_type_id", "btf_value_type_id") if op.btf is not None else (),
        if_module=op.kernel_value_type
        and IfModule("map_flags", op.kernel_value_type, op.flags | MapFlag.VTYPE_BTF_OBJ_FD),
        pointers=(Data("excl_prog_hash", op.exclusive, len(op.exclusive)),) if op.exclusive else (),
        last="excl_prog_hash_size" if op.exclusive else "",
    )


def _constants(
    op: MapCreate | ProgLoad, names: Mapping[str, str], numbers: list[Number | InputNumber]
) -> dict[str, int | bytes]:
    """The constants of an attr; inputs are appended to `numbers` instead."""
    values = {field: getattr(op, name) for name, field in names.items()}
    numbers += [InputNumber(f, value) for f, value in values.items() if isinstance(value, Input)]
    return {field: value for field, value in values.items() if not isinstance(value, Input)}


def _map_update(op: MapUpdate, order: ByteOrder) -> Call:
    value = (
        FdPointer("value", op.value)
        if isinstance(op.value, Ref)
        else Data("value", op.value, op.size, op.initial)
    )
    return _call(
        Cmd.MAP_UPDATE_ELEM,
        layouts.MAP_ELEM,
        order,
        {},
        pointers=(Data("key", op.key.to_bytes(4, order), 4), value),
        numbers=(Number("map_fd", op.map, Part.FD),),
    )


def _map_freeze(op: MapFreeze, order: ByteOrder) -> Call:
    numbers = (Number("map_fd", op.map, Part.FD),)
    return _call(Cmd.MAP_FREEZE, layouts.MAP_ELEM, order, {}, numbers=numbers)


def _prog_load(op: ProgLoad, order: ByteOrder) -> Call:
    license_ = op.license.encode("utf-8", "backslashreplace") + b"\0"
    pointers: list[Data | FdPointer | FdArray] = [
        Data("license", license_, len(license_)),
        Data("insns", op.insns, len(op.insns)),
        FdArray("fd_array"),
    ]
    numbers: list[Number | InputNumber] = []
    fields = _constants(op, PROG_FIELDS, numbers) | {
        "prog_name": object_name(op.name),
        "insn_cnt": i.count(op.insns),
        "core_relo_rec_size": CORE_RELO_SIZE,
    }

    def add(table: str, count: str, records: Records, record_size: str) -> None:
        if len(records):
            fields[count] = len(records)
            fields[record_size] = records.size
            pointers.append(Data(table, records.data, len(records.data)))

    add("func_info", "func_info_cnt", op.func_info, "func_info_rec_size")
    add("line_info", "line_info_cnt", op.line_info, "line_info_rec_size")
    add("core_relos", "core_relo_cnt", op.core_relos, "core_relo_rec_size")
    if op.btf is not None:
        numbers.append(Number("prog_btf_fd", op.btf, Part.FD))
    if op.attach_btf is not None:
        numbers.append(Number("attach_btf_id", op.attach_btf, Part.BTF_ID))
        numbers.append(Number("attach_btf_obj_fd", op.attach_btf, Part.FD))
    for field, value in (("attach_btf_id", op.attach_btf_id), ("attach_prog_fd", op.attach_fd)):
        if value is not None:
            numbers.append(InputNumber(field, value))
    return _call(
        Cmd.PROG_LOAD,
        layouts.PROG_LOAD,
        order,
        fields,
        pointers=tuple(pointers),
        numbers=tuple(numbers),
        log=LogFields("log_level", "log_size", "log_buf"),
        btf_fields=("func_info_cnt", "line_info_cnt") if op.btf is not None else (),
    )


def _raw_tracepoint_open(op: RawTracepointOpen, order: ByteOrder) -> Call:
    numbers = (Number("prog_fd", op.program, Part.FD),)
    return _call(Cmd.RAW_TRACEPOINT_OPEN, layouts.RAW_TRACEPOINT, order, {}, numbers=numbers)


def _link_create(op: LinkCreate, order: ByteOrder) -> Call:
    numbers = (Number("prog_fd", op.program, Part.FD),)
    fields: dict[str, int | bytes] = {"attach_type": op.attach_type}
    return _call(Cmd.LINK_CREATE, layouts.LINK_CREATE, order, fields, numbers=numbers)


_BUILDERS: dict[type, Callable[[Any, ByteOrder], Call]] = {
    BtfLoad: _btf_load,
    MapCreate: _map_create,
    MapUpdate: _map_update,
    MapFreeze: _map_freeze,
    ProgLoad: _prog_load,
    RawTracepointOpen: _raw_tracepoint_open,
    LinkCreate: _link_create,
}
