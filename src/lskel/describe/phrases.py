"""An operation of a trace as a phrase, for errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    Ref,
    Trace,
)


def phrase(trace: Trace, op: Op) -> str:
    """Such as "BPF_PROG_LOAD of program 'on_open'"."""
    return _PHRASES[type(op)](trace, op)


def _name(trace: Trace, ref: Ref) -> str:
    op = trace.ops[ref.op]
    return op.name if isinstance(op, MapCreate | ProgLoad) else "?"


def _find(trace: Trace, op: BtfFind) -> str:
    what = op.kind.name.lower()
    return f"looking up {what} '{op.name}' in the kernel's BTF{_user(trace, op)}"


def _user(trace: Trace, op: BtfFind | KsymFind) -> str:
    user = trace.user(op)
    if user is None:
        return ""
    what = "map" if isinstance(user, MapCreate) else "program"
    return f" for {what} '{getattr(user, 'name', '')}'"


def _btf_load(trace: Trace, op: BtfLoad) -> str:
    needed = f", which {op.needed_by} needs" if op.needed_by else ""
    return f"BPF_BTF_LOAD of {len(op.data)} bytes{needed}"


_PHRASES: dict[type, Callable[[Trace, Any], str]] = {
    BtfLoad: _btf_load,
    MapCreate: lambda trace, op: f"BPF_MAP_CREATE of map '{op.name}'",
    MapUpdate: lambda trace, op: (
        f"BPF_MAP_UPDATE_ELEM of map '{_name(trace, op.map)}', key {op.key}"
    ),
    MapFreeze: lambda trace, op: f"BPF_MAP_FREEZE of map '{_name(trace, op.map)}'",
    BtfFind: _find,
    KsymFind: lambda trace, op: f"looking up kernel symbol '{op.name}'{_user(trace, op)}",
    RawTracepointOpen: lambda trace, op: f"attaching program '{_name(trace, op.program)}'",
    LinkCreate: lambda trace, op: f"attaching program '{_name(trace, op.program)}'",
    ProgLoad: lambda trace, op: f"BPF_PROG_LOAD of program '{op.name}'",
    Close: lambda trace, op: "closing a file descriptor",
}
