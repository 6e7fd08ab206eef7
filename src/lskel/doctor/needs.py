"""The optional kernel features that an object needs, and whether they work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lskel.bpf.enums import MapType
from lskel.bpf.names import enum_name
from lskel.doctor import files, loaders, map_types, permission, types
from lskel.doctor.finding import Probe, ReportLine, ask
from lskel.trace import BtfFind, KsymFind, MapCreate, ProgLoad, Trace

# The other probes need these.
_FIRST = ("permission.maps", "loader.syscall_programs")

_NEEDED: dict[str, Callable[[Trace], bool]] = {
    "btf.vmlinux": lambda trace: bool(trace.inputs) or _has_core(trace) or _finds(trace),
    "loader.core": lambda trace: _has_core(trace),
    "loader.btf_find": lambda trace: _finds(trace),
    "loader.kallsyms": lambda trace: any(isinstance(op, KsymFind) for op in trace.ops),
    "files.kconfig": lambda trace: trace.kconfig is not None,
    "files.bpffs": lambda trace: any(made.is_pinned for made in trace.maps),
}


# What direct replay needs instead of the loader program's helpers.
_DIRECTLY = {"loader.btf_find": "btf.vmlinux", "loader.kallsyms": "files.kallsyms"}


def needs(trace: Trace, pin_root: Path, *, direct: bool) -> tuple[ReportLine, ...]:
    """The lines of the report for what this trace needs, with its pins in `pin_root`.

    For the loader program or, if `direct`, for direct system calls.
    """
    probes: tuple[Probe, ...] = (
        *permission.PROBES,
        *types.PROBES,
        *loaders.PROBES,
        *files.probes(str(pin_root)),
        *map_types.PROBES,
    )
    maps = {f"maps.{enum_name(MapType, o.type)}" for o in trace.ops if isinstance(o, MapCreate)}
    wanted = {id_ for id_, is_needed in _NEEDED.items() if is_needed(trace)} | maps
    if direct:
        wanted = {_DIRECTLY.get(id_, id_) for id_ in wanted}
    known: dict[str, ReportLine] = {}
    lines = tuple(ask((probe for probe in probes if probe.id in {*wanted, *_FIRST}), known))
    return tuple(line for line in lines if line.id in wanted)


def _has_core(trace: Trace) -> bool:
    return any(isinstance(op, ProgLoad) and len(op.core_relos) > 0 for op in trace.ops)


def _finds(trace: Trace) -> bool:
    return any(isinstance(op, BtfFind) for op in trace.ops)
