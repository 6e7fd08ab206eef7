"""The labels of a trace's operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lskel.bpf.enums import MapType
from lskel.catalog.map_types import MAPS_OF_MAPS
from lskel.tasks import Label, Task
from lskel.trace import (
    BtfFind,
    BtfLoad,
    Close,
    KsymFind,
    LinkCreate,
    MapCreate,
    MapFreeze,
    MapUpdate,
    Op,
    ProgLoad,
    RawTracepointOpen,
    Trace,
)


def label(trace: Trace, op: Op) -> Label:
    """What an operation does to which object; as text: "BPF_PROG_LOAD of program 'on_open'"."""
    return _LABELS[type(op)](trace, op)


def labels(trace: Trace) -> tuple[Label, ...]:
    """The labels of all operations, by number."""
    return tuple(label(trace, op) for op in trace.ops)


def _map_create(trace: Trace, op: MapCreate) -> Label:
    task = Task.MAP_CREATE
    if op.type in MAPS_OF_MAPS and op.inner is None:
        task = Task.OUTER_MAP_CREATE
    elif op.type == MapType.INSN_ARRAY and op.slot is None:
        task = Task.JUMP_TABLE_CREATE
    return Label(task, op.name, op.max_entries)


def _about(trace: Trace, op: Op) -> str:
    """The name of the map or program of an operation."""
    subject = trace.subject(op)
    return subject.name if isinstance(subject, MapCreate | ProgLoad) else "?"


def _attach(trace: Trace, op: RawTracepointOpen | LinkCreate) -> Label:
    return Label(Task.ATTACH, _about(trace, op))


def _user(trace: Trace, op: BtfFind | KsymFind) -> str:
    user = trace.user(op)
    if user is None:
        return ""
    what = "map" if isinstance(user, MapCreate) else "program"
    return f"{what} '{getattr(user, 'name', '')}'"


_LABELS: dict[type, Callable[[Trace, Any], Label]] = {
    BtfLoad: lambda _, op: Label(Task.BTF_LOAD, number=len(op.data), needed_by=op.needed_by),
    MapCreate: _map_create,
    MapUpdate: lambda trace, op: Label(Task.MAP_UPDATE, _about(trace, op), op.key),
    MapFreeze: lambda trace, op: Label(Task.MAP_FREEZE, _about(trace, op)),
    BtfFind: lambda trace, op: Label(
        Task.FIND_TYPE,
        op.name,
        kind=("weak " if op.is_weak else "") + op.kind.name.lower(),
        needed_by=_user(trace, op),
    ),
    KsymFind: lambda trace, op: Label(Task.FIND_SYMBOL, op.name, needed_by=_user(trace, op)),
    ProgLoad: lambda _, op: Label(Task.PROG_LOAD, op.name),
    RawTracepointOpen: _attach,
    LinkCreate: _attach,
    Close: lambda *_: Label(Task.CLOSE),
}
