"""The contents of a loader's blob and context: the owner of each byte, and sizes by kind."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from typing import NamedTuple

from lskel.bpf import context, layouts
from lskel.bpf import insn as i
from lskel.bpf.layouts import Layout
from lskel.bpf.limits import MAX_USED_MAPS
from lskel.describe.requirements import input_words
from lskel.loader.blob import Region, RegionKind
from lskel.loader.lower import FD_SIZE, INSN_IMM
from lskel.loader.model import Form, Loader, context_size
from lskel.trace import (
    BtfLoad,
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

_LAYOUTS: dict[type, Layout] = {
    BtfLoad: layouts.BTF_LOAD,
    MapCreate: layouts.MAP_CREATE,
    MapUpdate: layouts.MAP_ELEM,
    MapFreeze: layouts.MAP_ELEM,
    ProgLoad: layouts.PROG_LOAD,
    RawTracepointOpen: layouts.RAW_TRACEPOINT,
    LinkCreate: layouts.LINK_CREATE,
}
# The kind of content by the attr field that points to it, else by the region's kind.
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
_INSN_FIELDS = {0: "", INSN_IMM: " imm"}
_HEADER = {0: "sz", 4: "flags", 8: "log_level", 12: "log_size", 16: "log_buf"}
_MAP_FIELDS = {0: "map_fd", 4: "max_entries", 8: "initial_value"}


def contents(loader: Loader) -> dict[str, int]:
    """Bytes of the blob by kind of content, in blob order; together the whole blob.

    Shared data counts once. The kinds: `fd_array`, `status`, `fds`, `found` (BTF
    ids, addresses, and how kfuncs are called), `attr`, `btf`, `values` (of maps, and their keys),
    `names` (and licenses), `insns`, `func_info`, `line_info`, `core_relos`, `messages` (of a loader
    that prints what it does), in the table form `state`, `context` (the copy) and `records`, and
    last `padding`.
    """
    found: dict[str, int] = {}
    for part in parts(loader):
        found[part.kind] = found.get(part.kind, 0) + part.size
    rest = found.pop(RegionKind.PADDING.value, 0)
    return found | ({RegionKind.PADDING.value: rest} if rest else {})


class BlobPart(NamedTuple):
    """A range of the blob with one kind of content (see `contents`), and its regions.

    Shared data has several regions, padding has none.
    """

    offset: int
    size: int
    kind: str
    regions: tuple[Region, ...]


def parts(loader: Loader) -> Iterator[BlobPart]:
    """The whole blob, in order, without gaps."""
    end = len(loader.blob)
    regions = sorted((r for r in loader.regions if r.kind is not RegionKind.PADDING), key=_by_place)
    borders = {r.offset for r in regions} | {r.offset + r.size for r in regions}
    following, holding = iter(regions), list[Region]()
    region = next(following, None)
    for start, stop in pairwise(sorted({0, end, *(b for b in borders if 0 < b < end)})):
        holding = [r for r in holding if r.offset + r.size > start]
        while region is not None and region.offset <= start:
            if region.offset + region.size > start:
                holding.append(region)
            region = next(following, None)
        yield BlobPart(start, stop - start, _content(holding), tuple(holding))


def _content(holding: list[Region]) -> str:
    if not holding:
        return RegionKind.PADDING.value
    first = holding[0]
    kind = first.kind.value
    return _CONTENTS.get(first.field, kind) if first.kind is RegionKind.DATA else kind


def operation(trace: Trace, number: int) -> str:
    """A short name for an operation: ``MapCreate 'events'``, ``Close BtfLoad``."""
    op = trace.ops[number]
    refs = (getattr(op, field, None) for field in ("map", "program", "ref"))
    ref = next(filter(None, refs), None)
    subject = trace.ops[ref.op] if isinstance(ref, Ref) else op
    name = getattr(subject, "name", "")
    if name:
        return f"{type(op).__name__} '{name}'"
    return type(op).__name__ if subject is op else f"{type(op).__name__} {type(subject).__name__}"


def heading(trace: Trace, number: int, what: str = "") -> str:
    """The heading of the records of an operation, or of NO_SINGLE_OP with purpose `what`."""
    if 0 <= number < len(trace.ops):
        return f"op {number}: {operation(trace, number)}"
    return f"all ops: {what or 'log fields'}"


class Span(NamedTuple):
    """A named part of a region; `offset` is in the region."""

    offset: int
    size: int
    name: str


class BlobMap:
    """Names for the bytes of a loader's blob."""

    def __init__(self, loader: Loader) -> None:
        self._trace = loader.trace
        self._regions = sorted(loader.regions, key=_by_place)
        self._starts = [region.offset for region in self._regions]
        # Shared data begins at one offset.
        self._owned = {(r.offset, r.op): r for r in reversed(self._regions)}
        # Slots of fd_array count from here, also those at other offsets.
        arrays = (r.offset for r in self._regions if r.kind is RegionKind.FD_ARRAY)
        self._fd_array = next(arrays, 0)
        maps = len(self._trace.maps)
        self._kfuncs = MAX_USED_MAPS if loader.form is Form.UNROLLED else max(maps, 1)

    def _holding(self, offset: int, op: int) -> Region | None:
        """The last region that begins before an offset and contains it; preferably one of `op`."""
        last = bisect_right(self._starts, offset) - 1
        if last < 0:
            return None
        start = self._starts[last]
        owned = self._owned.get((start, op))
        if owned is not None and _holds(owned, offset):
            return owned
        # Sorted by size: if the largest does not contain it, none does.
        if not _holds(self._regions[last], offset):
            return None
        first = bisect_left(self._starts, start)
        return next(r for r in islice(self._regions, first, None) if _holds(r, offset))

    def name(self, offset: int, op: int, *, whole: bool) -> str:
        """The content at an offset; of shared data, the part of operation `op`.

        With `whole`, the start of a part names the whole part.
        """
        region = self._holding(offset, op)
        if region is None:
            return RegionKind.PADDING.value
        return _whole(region) if whole and offset == region.offset else self._part(region, offset)

    def spans(self, region: Region) -> Iterator[Span]:
        """The named parts of a region: fields of an attr, slots of an fd array.

        Union fields at the same offset share a name.
        """
        if region.kind is RegionKind.ATTR:
            layout = _LAYOUTS.get(type(_op(self._trace, region)), {})
            places = dict.fromkeys((at, size) for at, size in layout.values())
            for at, size in sorted(places):
                if at + size <= region.size:
                    names = (name for name, place in layout.items() if place == (at, size))
                    yield Span(at, size, "/".join(names))
        elif region.kind is RegionKind.FD_ARRAY:
            first = (region.offset - self._fd_array) // FD_SIZE
            for slot in range(first, first + region.size // FD_SIZE):
                yield Span((slot - first) * FD_SIZE, FD_SIZE, self._slot(slot))
        elif region.kind is RegionKind.CONTEXT:
            yield from context_layout(self._trace)

    def _part(self, region: Region, offset: int) -> str:
        inside = offset - region.offset
        if region.kind is RegionKind.FD_ARRAY:
            return self._slot((offset - self._fd_array) // FD_SIZE)
        if region.kind is RegionKind.ATTR:
            return f"{_whole(region)}: {_attr_field(_op(self._trace, region), inside)}"
        if region.kind is RegionKind.CONTEXT:
            return f"context: {context_field(self._trace, inside)}"
        if region.field == "insns":
            return _insn(region, inside)
        return _whole(region) + (f" {inside:+d}" if inside else "")

    def _slot(self, slot: int) -> str:
        if slot < len(self._trace.maps):
            return f"fd_array[{slot}], map '{self._trace.maps[slot].name}'"
        return f"fd_array[{slot}]" + (", BTF of a kfunc" if slot >= self._kfuncs else "")


def _attr_field(op: Op | None, inside: int) -> str:
    names: dict[int, str] = {}
    for name, (at, _) in _LAYOUTS.get(type(op), {}).items():
        names[at] = f"{names[at]}/{name}" if at in names else name
    return _named(names, inside)


def _named(names: Mapping[int, str], inside: int) -> str:
    """The field at or before an offset, and the distance from its start."""
    at = max((start for start in names if start <= inside), default=None)
    if at is None:
        return f"{inside}"
    return names[at] + (f" {inside - at:+d}" if inside > at else "")


def _holds(region: Region, offset: int) -> bool:
    return offset < region.offset + max(region.size, 1)


def _whole(region: Region) -> str:
    owner = f" of op {region.op}" if region.op >= 0 else ""
    what = region.field or ("fd" if region.kind is RegionKind.FDS else region.kind.value)
    return f"{what}{owner}"


def _insn(region: Region, inside: int) -> str:
    """An instruction that is patched, or a field of it."""
    index, within = divmod(inside, i.SIZE)
    field = _INSN_FIELDS.get(within, f" {within:+d}")
    return f"{_whole(region)}: insn {index}{field}"


def _op(trace: Trace, region: Region) -> Op | None:
    return trace.ops[region.op] if 0 <= region.op < len(trace.ops) else None


def _by_place(region: Region) -> tuple[int, int]:
    return region.offset, region.size


def context_layout(trace: Trace) -> Iterator[Span]:
    """The fields of the context of a trace's loader, in order."""
    size = context_size(trace)
    named: dict[str, int] = {}
    for at in range(0, size, FD_SIZE):
        named.setdefault(context_field(trace, at).partition(" +")[0], at)
    for (name, at), after in zip(named.items(), [*named.values(), size][1:], strict=True):
        yield Span(at, after - at, name)


def context_field(trace: Trace, offset: int) -> str:
    """The content at `offset` in the context of a trace's loader: ``maps[0].map_fd``.

    Inputs have no names and are described in words: ``inputs[0]: size of struct x``.
    """
    if offset < context.HEADER_SIZE:
        return _named(_HEADER, offset)
    slot, inside = divmod(offset - context.HEADER_SIZE, context.MAP_SIZE)
    if slot < len(trace.maps):
        return f"maps[{slot}].{_named(_MAP_FIELDS, inside)}"
    program = (offset - context.program_fd(len(trace.maps), 0)) // context.PROGRAM_SIZE
    if program < len(trace.programs):
        return f"progs[{program}].prog_fd"
    maps, programs, asked = len(trace.maps), len(trace.programs), len(trace.inputs)
    number = (offset - context.input_value(maps, programs, 0)) // context.INPUT_SIZE
    if number < asked:
        return f"inputs[{number}]: {input_words(trace, number)}"
    link = (offset - context.link_fd(maps, programs, asked, 0)) // context.LINK_SIZE
    return f"links[{link}].link_fd"
