"""Comparing two replays, call by call.

Compared are the calls and their order, all fields of their attrs with what their pointers point to,
and their results. Not compared is what differs between equivalent loaders: fd numbers (their
objects are compared), addresses, attr sizes, and pointers to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lskel.replay.align import align
from lskel.replay.simulator.record import CallRecord, FdRef, RecordedCode, Value
from lskel.replay.strace import value_text


class Difference(NamedTuple):
    """Calls at `a` and `b` (None: no call on that side) that differ in `field`.

    `field` is empty if one side lacks the call, `result` if the results differ.
    """

    a: CallRecord | None
    b: CallRecord | None
    field: str

    def __str__(self) -> str:
        if self.a is None or self.b is None:
            record, side = (self.b, "B") if self.a is None else (self.a, "A")
            assert record is not None
            return f"only in {side}: {record.n} {describe(record)}"
        where = f"A {self.a.n}, B {self.b.n}: {describe(self.a)}: {self.field}: "
        if self.field == "result":
            return f"{where}{self.a.result} and {self.b.result}"
        place, ours, theirs = sides(
            self.field, self.a.attr.get(self.field), self.b.attr.get(self.field)
        )
        return f"{where}{place and place + ': '}{ours} and {theirs}"


def differences(a: Sequence[CallRecord], b: Sequence[CallRecord]) -> Iterator[Difference]:
    """All differences, in order; none if the replays are equivalent."""
    for ours, theirs in aligned(a, b):
        if ours is None or theirs is None:
            yield Difference(ours, theirs, "")
        else:
            yield from (Difference(ours, theirs, field) for field in changed(ours, theirs))


def aligned(
    a: Sequence[CallRecord], b: Sequence[CallRecord]
) -> Iterator[tuple[CallRecord | None, CallRecord | None]]:
    """All calls of both replays, in order; calls on the same object side by side."""
    for same, ours, theirs in align([describe(r) for r in a], [describe(r) for r in b]):
        if same:
            yield from ((a[m], b[n]) for m, n in zip(ours, theirs, strict=True))
            continue
        yield from ((a[m], None) for m in ours)
        yield from ((None, b[n]) for n in theirs)


def describe(record: CallRecord) -> str:
    """A call and its object: `BPF_MAP_CREATE events`."""
    for field in ("map_name", "prog_name", "name", "map_fd", "fd"):
        value = record.attr.get(field)
        if isinstance(value, FdRef) or (isinstance(value, str) and value):
            return f"{record.name} {value}"
    return record.name


def changed(a: CallRecord, b: CallRecord) -> Iterator[str]:
    """The attr fields that differ, and `result` if the results do."""
    for field in dict.fromkeys((*a.attr, *b.attr)):
        if a.attr.get(field) != b.attr.get(field):
            yield field
    if a.result != b.result:
        yield "result"


class Sides(NamedTuple):
    """The values of a field on each side; of long bytes, an excerpt from the first difference."""

    place: str
    a: str
    b: str


def sides(field: str, a: Value | None, b: Value | None) -> Sides:
    """Two values of a field in words."""
    if isinstance(a, RecordedCode) and isinstance(b, RecordedCode):
        a, b = a.insns, b.insns
    if isinstance(a, bytes) and isinstance(b, bytes) and max(len(a), len(b)) > 16:
        at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        if at is None:
            return Sides("", f"{len(a)} bytes", f"{len(b)} bytes")
        return Sides(f"from byte {at}", a[at : at + 8].hex(), b[at : at + 8].hex())
    return Sides("", _side(field, a), _side(field, b))


def _side(field: str, value: Value | None) -> str:
    return "none" if value is None else value_text(field, value) or "empty"
