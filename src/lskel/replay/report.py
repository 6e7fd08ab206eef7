"""Saying what failed: an operation as a phrase, an errno with its name, a hint, a log's gist."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

from lskel.errors import ReplayError
from lskel.object.maps import MAP_IN_MAP
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import errno_name
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

# Lines that end a verifier's log and say nothing of the cause.
_STATISTICS = ("processed ", "verification time", "stack depth", "peak_states", "max_states")


def phrase(trace: Trace, op: Op) -> str:
    """Such as "BPF_PROG_LOAD of program 'on_open'"."""
    return _PHRASES[type(op)](trace, op)


def _name(trace: Trace, ref: Ref) -> str:
    op = trace.ops[ref.op]
    return op.name if isinstance(op, MapCreate | ProgLoad) else "?"


def _find(trace: Trace, op: BtfFind) -> str:
    what = op.kind.name.lower()
    return f"looking up {what} '{op.name}' in the kernel's BTF{_user(trace, op)}"


def _user(trace: Trace, op: Op) -> str:
    number = next(number for number, other in enumerate(trace.ops) if other is op)
    user = next((user for user in trace.ops if number in _finds(user)), None)
    if user is None:
        return ""
    what = "map" if isinstance(user, MapCreate) else "program"
    return f" for {what} '{getattr(user, 'name', '')}'"


def _finds(op: Op) -> Iterator[int]:
    """The numbers of the operations that found something for this one."""
    if isinstance(op, MapCreate) and op.kernel_value_type is not None:
        yield op.kernel_value_type.op
    elif isinstance(op, ProgLoad):
        yield from (extern.find.op for extern in op.externs)
        if op.attach_btf is not None:
            yield op.attach_btf.op


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

_NO_TEMPLATE = "its inner map is not defined: add __array(values, struct { ... }) to it"

# The call that the kernel, as libbpf, puts where a CO-RE relocation failed: helper 0xbad2310
# (tools/lib/bpf/relo_core.c, which the kernel compiles too).
CORE_POISON = f"unknown#{0xBAD2310}"

# What to do about an errno of an operation.
_HINTS: dict[tuple[type, int], str] = {
    (BtfFind, errno.ENOENT): "neither this kernel nor its loaded modules have it",
    (KsymFind, errno.ENOENT): "neither this kernel nor its loaded modules have it",
    (KsymFind, errno.EPERM): "the kernel hides addresses: sysctl kernel.kptr_restrict",
    (MapCreate, errno.E2BIG): "the map is too large, or this kernel does not know a field of it",
    (MapCreate, errno.ENOMEM): "the map does not fit into memory: lower its max_entries",
    (
        MapCreate,
        errno.EINVAL,
    ): "this kernel refuses the map's type, flags, sizes, or the BTF types of key and value",
    (BtfLoad, errno.EINVAL): "this kernel rejects the object's BTF",
    (BtfLoad, errno.E2BIG): "this kernel does not know a part of the object's BTF",
    (ProgLoad, errno.E2BIG): "the program is too large or too complex for the verifier",
}


def failure(trace: Trace, number: int, code: int, log: tuple[str, ...] = ()) -> ReplayError:
    """The error for operation `number` of the trace, which got errno `code` (positive)."""
    op = trace.ops[number]
    what = f"{trace.name}: {phrase(trace, op)}: {errno_name(code)}: {os.strerror(code)}"
    gist = summary(log)
    if gist:
        what += f": {gist}"
    return ReplayError(what, errno=code, op=number, log=log, hint=_hint(op, code, gist))


def _hint(op: Op, code: int, gist: str) -> str:
    if CORE_POISON in gist:
        return "a CO-RE relocation failed: this kernel lacks a type, field or enumerator it names"
    if code == errno.EPERM and not isinstance(op, KsymFind):
        return why_refused()
    if isinstance(op, MapCreate) and op.type in MAP_IN_MAP and op.inner is None:
        return _NO_TEMPLATE
    return _HINTS.get((type(op), code), "")


def split_log(raw: bytes) -> tuple[str, ...]:
    """The lines of a log buffer, up to its NUL."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return tuple(text.splitlines())


def summary(log: tuple[str, ...]) -> str:
    """The last line of a log that tells of the cause; empty where there is none."""
    for line in reversed(log):
        if line.strip() and not line.startswith(_STATISTICS):
            return line.strip()
    return ""
