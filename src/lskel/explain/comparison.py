"""The differences between two loaders, as data: calls, maps, programs and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from lskel.bpf import insn as i
from lskel.cursor import ByteOrder
from lskel.describe.listing import Row
from lskel.describe.regions import contents
from lskel.describe.summary import MapSummary, ProgramSummary
from lskel.explain.report import (
    CallChange,
    Comparison,
    DiffRow,
    FieldChange,
    ItemChange,
    Meta,
    ProgramChange,
    ProgramListing,
    SizeChange,
    Status,
)
from lskel.loader.model import Loader
from lskel.replay.align import align
from lskel.replay.compare import aligned, changed, describe, sides
from lskel.replay.simulator.record import CallRecord, FdRef, RecordedFdArray
from lskel.replay.simulator.simulate import Replay
from lskel.replay.strace import result_text
from lskel.trace import Trace


class Side(NamedTuple):
    """A loader to compare; of a light skeleton, only its calls are known."""

    meta: Meta
    maps: tuple[MapSummary, ...]
    programs: tuple[ProgramSummary, ...]
    listings: tuple[ProgramListing, ...]
    loader: Loader | None
    replay: Replay | None
    problem: str


def compare(a: Side, b: Side) -> Comparison:
    """The differences, in A's order; what only B has comes last."""
    problems = [f"{side}: {s.problem}" for side, s in (("A", a), ("B", b)) if s.problem]
    known = a.loader is not None and b.loader is not None
    return Comparison(
        b.meta,
        tuple(_calls(a.replay, b.replay)) if a.replay and b.replay else (),
        tuple(_maps(a, b)) if known else (),
        tuple(_programs(a, b)) if known else (),
        tuple(_sizes(a.loader, b.loader)) if a.loader and b.loader else (),
        "; ".join(problems),
    )


# -- calls ------------------------------------------------------------------------------------


def _calls(a: Replay, b: Replay) -> Iterator[CallChange]:
    for ours, theirs in aligned(a.records, b.records):
        either = ours or theirs
        assert either is not None
        fields = tuple(_fields(ours, theirs)) if ours and theirs else ()
        yield CallChange(
            describe(either),
            _status(ours, theirs, differs=bool(fields)),
            None if ours is None else ours.n,
            None if theirs is None else theirs.n,
            _op(a, ours),
            _op(b, theirs),
            fields,
        )


def _op(replay: Replay, record: CallRecord | None) -> int | None:
    return replay.ops[record.n] if record is not None and replay.ops else None


def _fields(a: CallRecord, b: CallRecord) -> Iterator[FieldChange]:
    for field in changed(a, b):
        if field == "result":
            if not _is_same_object(a.result, b.result):
                results = (result_text(record.result, record.ret) for record in (a, b))
                yield FieldChange(field, *results)
            continue
        values = a.attr.get(field), b.attr.get(field)
        if _is_same_object(*values):
            continue
        place, ours, theirs = sides(field, *values)
        yield FieldChange(f"{field} {place}".rstrip(), ours, theirs)


def _is_same_object(a: object, b: object) -> bool:
    """Whether two fds are of objects with the same name, whatever their numbers."""
    if isinstance(a, RecordedFdArray) and isinstance(b, RecordedFdArray):
        return [str(fd) for _, fd in a.used] == [str(fd) for _, fd in b.used]
    return isinstance(a, FdRef) and isinstance(b, FdRef) and a.name != "" and str(a) == str(b)


def _status(a: object, b: object, *, differs: bool) -> Status:
    if a is None:
        return "only b"
    if b is None:
        return "only a"
    return "changed" if differs else "same"


# -- maps and programs ------------------------------------------------------------------------


def _paired(a: Iterable[Any], b: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Pairs of items by name; None if a side lacks it."""
    theirs = {item.name: item for item in b}
    for item in a:
        yield item, theirs.pop(item.name, None)
    for item in theirs.values():
        yield None, item


def _changes(a: Any, b: Any) -> Iterator[FieldChange]:
    """The fields of two summaries that differ."""
    for name in a._fields if a is not None and b is not None else ():
        ours, theirs = getattr(a, name), getattr(b, name)
        if ours != theirs:
            yield FieldChange(name, _words(ours), _words(theirs))


def _words(value: Any) -> str:
    if hasattr(value, "_fields"):
        return ", ".join(f"{name} {_words(part)}" for name, part in value._asdict().items())
    if isinstance(value, tuple):
        return "; ".join(map(_words, value))
    return "" if value is None else str(value)


def _maps(a: Side, b: Side) -> Iterator[ItemChange]:
    assert a.loader is not None and b.loader is not None
    values = [_initial_values(side.loader.trace) for side in (a, b) if side.loader is not None]
    for ours, theirs in _paired(a.maps, b.maps):
        fields = list(_changes(ours, theirs))
        if ours is not None and theirs is not None:
            before, after = (value.get(ours.name) for value in values)
            if before != after:
                place, first, second = sides("value", before, after)
                fields.append(FieldChange(f"initial value {place}".rstrip(), first, second))
        status = _status(ours, theirs, differs=bool(fields))
        yield ItemChange((ours or theirs).name, status, tuple(fields))


def _initial_values(trace: Trace) -> dict[str, bytes]:
    """The initial values of global data."""
    found = {made.name: trace.global_data(slot) for slot, made in enumerate(trace.maps)}
    return {name: data.initial for name, data in found.items() if data is not None}


def _programs(a: Side, b: Side) -> Iterator[ProgramChange]:
    listings = [{item.name: item.rows for item in side.listings} for side in (a, b)]
    orders = a.meta.order, b.meta.order
    for ours, theirs in _paired(a.programs, b.programs):
        name = (ours or theirs).name
        fields = tuple(_changes(ours, theirs))
        rows: tuple[DiffRow, ...] = ()
        if theirs is not None:
            rows = tuple(_diff(listings[0].get(name, ()), listings[1][name], orders))
        differs = any(not row.same for row in rows)
        yield ProgramChange(
            name,
            _status(ours, theirs, differs=differs or bool(fields)),
            fields,
            rows if differs else (),
            listings[1][name] if differs else (),
        )


def _diff(
    a: Sequence[Row], b: Sequence[Row], orders: tuple[ByteOrder, ByteOrder]
) -> Iterator[DiffRow]:
    ours = [_key(row, orders[0]) for row in a]
    theirs = [_key(row, orders[1]) for row in b]
    for same, left, right in align(ours, theirs):
        for first, second in zip_longest(left, right):
            yield DiffRow(first, second, same)


def _key(row: Row, order: ByteOrder) -> tuple[object, ...]:
    """The identity of an instruction; references count by name, not by number."""
    slots = [i.read(row.raw, slot, order) for slot in range(i.count(row.raw))]
    names = tuple((mark.kind, mark.name) for mark in row.marks)
    if any(kind != "core" for kind, _ in names):
        slots[0] = slots[0]._replace(imm=0)
    return (*slots, names)


# -- sizes ------------------------------------------------------------------------------------


def _sizes(a: Loader, b: Loader) -> Iterator[SizeChange]:
    ours, theirs = contents(a), contents(b)
    for kind in dict.fromkeys((*ours, *theirs)):
        yield SizeChange(kind, ours.get(kind, 0), theirs.get(kind, 0))
    yield SizeChange("loader program", len(a.insns), len(b.insns))
