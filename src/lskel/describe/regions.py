"""What a loader's blob and context hold: where each byte belongs, and how much there is of what."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from lskel.bpf import insn as i
from lskel.bpf import layouts
from lskel.bpf.layouts import Layout
from lskel.describe.asks import inputs
from lskel.describe.places import Touch
from lskel.loader import context
from lskel.loader.blob import Region, RegionKind
from lskel.loader.lower import FD_SIZE, INSN_IMM, INSN_OFF, INSN_REGS
from lskel.loader.model import Loader
from lskel.loader.unrolled import MAX_USED_MAPS
from lskel.trace import BtfLoad, MapCreate, MapFreeze, MapUpdate, Op, ProgLoad, Ref, Trace

PADDING = "padding"

_LAYOUTS: dict[type, Layout] = {
    BtfLoad: layouts.BTF_LOAD,
    MapCreate: layouts.MAP_CREATE,
    MapUpdate: layouts.MAP_ELEM,
    MapFreeze: layouts.MAP_ELEM,
    ProgLoad: layouts.PROG_LOAD,
}
# Kinds of content by the field of the attr that points to them, else by the region's kind.
_CONTENTS = {
    "btf": "btf",
    "key": "values",
    "value": "values",
    "license": "names",
    "name": "names",
    "insns": "insns",
    "func_info": "func_info",
    "line_info": "line_info",
    "core_relos": "core_relos",
    "message": "messages",
}
_INSN_FIELDS = {0: "", INSN_REGS: " registers", INSN_OFF: " offset", INSN_IMM: " imm"}
_HEADER = {0: "sz", 4: "flags", 8: "log_level", 12: "log_size", 16: "log_buf"}
_MAP_FIELDS = {0: "map_fd", 4: "max_entries", 8: "initial_value"}


def contents(loader: Loader) -> dict[str, int]:
    """Bytes of the blob by kind of content, in the order of the blob; together the whole blob.

    Data that operations share count once. The kinds: `fd_array`, `status`, `fds`, `attr`, `btf`,
    `values` (of maps, and their keys), `names` (and licenses), `insns`, `func_info`, `line_info`,
    `core_relos`, `messages` (of a loader that prints what it does), and last `padding`.
    """
    found: dict[str, int] = {}
    end = 0
    for region in sorted(loader.regions, key=_by_place):
        kind = region.kind.value
        if region.kind is RegionKind.DATA:
            kind = _CONTENTS.get(region.field, kind)
        new = region.offset + region.size - max(region.offset, end)
        if new > 0:
            found[kind] = found.get(kind, 0) + new
            end = region.offset + region.size
    padding = len(loader.blob) - sum(found.values())
    return found | ({PADDING: padding} if padding else {})


def operation(trace: Trace, number: int) -> str:
    """An operation in a few words: ``MapCreate 'events'``, ``Close BtfLoad``."""
    op = trace.ops[number]
    ref = getattr(op, "map", None) or getattr(op, "ref", None)
    subject = trace.ops[ref.op] if isinstance(ref, Ref) else op
    name = getattr(subject, "name", "")
    if name:
        return f"{type(op).__name__} '{name}'"
    return type(op).__name__ if subject is op else f"{type(op).__name__} {type(subject).__name__}"


class BlobMap:
    """Names for the bytes of a loader's blob."""

    def __init__(self, loader: Loader) -> None:
        self._trace = loader.trace
        self._regions = sorted(loader.regions, key=_by_place)
        self._starts = [region.offset for region in self._regions]
        # Slots of fd_array count from here, those that lie elsewhere as well.
        self._fd_array = next((r.offset for r in self._regions if r.kind is RegionKind.FD_ARRAY), 0)

    def describe(self, touch: Touch, op: int) -> str:
        """What a place of the blob holds; of shared data, the part of operation `op`."""
        offset = touch.place.offset
        last = bisect_right(self._starts, offset)
        first = bisect_left(self._starts, self._starts[last - 1]) if last else 0
        holding = [r for r in self._regions[first:last] if offset < r.offset + max(r.size, 1)]
        if not holding:
            return PADDING
        region = next((region for region in holding if region.op == op), holding[0])
        inside = offset - region.offset
        # The address of a region's start stands for all of it.
        if not touch.accesses and not inside:
            return _whole(region)
        if region.kind is RegionKind.FD_ARRAY:
            return self._slot((offset - self._fd_array) // FD_SIZE)
        if region.kind is RegionKind.ATTR:
            return self._attr(region, inside)
        if region.field == "insns":
            return _insn(region, inside)
        if region.kind is RegionKind.FOUND and inside:
            return f"fd_array index of op {region.op}"
        return _whole(region) + (f" {inside:+d}" if inside else "")

    def _slot(self, slot: int) -> str:
        if slot < len(self._trace.maps):
            return f"fd_array[{slot}], map '{self._trace.maps[slot].name}'"
        return f"fd_array[{slot}]" + (", BTF of a kfunc" if slot >= MAX_USED_MAPS else "")

    def _attr(self, region: Region, inside: int) -> str:
        layout = _LAYOUTS.get(type(_op(self._trace, region)), {})
        fields = "/".join(name for name, (at, _) in layout.items() if at == inside)
        return f"{_whole(region)}: {fields}"


def _whole(region: Region) -> str:
    owner = f" of op {region.op}" if region.op >= 0 else ""
    what = region.field or ("fd" if region.kind is RegionKind.FDS else region.kind.value)
    return f"{what}{owner}"


def _insn(region: Region, inside: int) -> str:
    """An instruction that is filled in, or a field of it."""
    index, within = divmod(inside, i.SIZE)
    field = _INSN_FIELDS.get(within, f" {within:+d}")
    return f"{_whole(region)}: insn {index}{field}"


def _op(trace: Trace, region: Region) -> Op | None:
    return trace.ops[region.op] if 0 <= region.op < len(trace.ops) else None


def _by_place(region: Region) -> tuple[int, int]:
    return region.offset, region.size


def context_field(trace: Trace, offset: int) -> str:
    """What lies `offset` bytes into the context of a trace's loader: ``maps[0].map_fd``.

    Inputs, which have no names, are said in words: ``inputs[0]: size of struct x``.
    """
    if offset < context.HEADER_SIZE:
        return _HEADER.get(offset, f"{offset}")
    slot, inside = divmod(offset - context.HEADER_SIZE, context.MAP_SIZE)
    if slot < len(trace.maps):
        return f"maps[{slot}].{_MAP_FIELDS.get(inside, inside)}"
    program = (offset - context.program_fd(len(trace.maps), 0)) // context.PROGRAM_SIZE
    if program < len(trace.programs):
        return f"progs[{program}].prog_fd"
    first = context.input_value(len(trace.maps), len(trace.programs), 0)
    number = (offset - first) // context.INPUT_SIZE
    words = inputs(trace)[number : number + 1]
    return ": ".join((f"inputs[{number}]", *words))
