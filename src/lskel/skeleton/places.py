"""The places of attrs in a loader's blob, by the regions that describe it."""

from __future__ import annotations

from lskel.bpf.enums import Cmd
from lskel.loader.blob import RegionKind
from lskel.loader.model import Loader
from lskel.runtime.places import CallPlace, MapPlace, Places, ProgramPlace
from lskel.trace import BtfLoad, MapCreate, ProgLoad

_NOWHERE = (0, 0)
_COMMANDS: dict[type, Cmd] = {
    BtfLoad: Cmd.BTF_LOAD,
    MapCreate: Cmd.MAP_CREATE,
    ProgLoad: Cmd.PROG_LOAD,
}


def places_of(loader: Loader) -> Places:
    """Where settings of maps and programs go, and tokens."""
    trace = loader.trace
    attrs = {r.op: r.offset for r in loader.regions if r.kind is RegionKind.ATTR}
    data = {
        (r.op, r.field): (r.offset, r.size) for r in loader.regions if r.kind is RegionKind.DATA
    }
    maps = []
    for made in trace.maps:
        create = trace.ops[made.op]
        inner = create.inner.op if isinstance(create, MapCreate) and create.inner else -1
        maps.append(MapPlace(attrs[made.op], attrs.get(inner, 0)))
    programs = (
        ProgramPlace(0, 0)
        if program.op is None
        else ProgramPlace(attrs[program.op], data[program.op, "insns"][0])
        for program in trace.programs
    )
    btf = next((n for n, op in enumerate(trace.ops) if isinstance(op, BtfLoad)), -1)
    calls = (
        CallPlace(r.op, _COMMANDS[type(trace.ops[r.op])], r.offset, r.size)
        for r in loader.regions
        if r.kind is RegionKind.ATTR and type(trace.ops[r.op]) in _COMMANDS
    )
    return Places(tuple(maps), tuple(programs), data.get((btf, "btf"), _NOWHERE), tuple(calls))
