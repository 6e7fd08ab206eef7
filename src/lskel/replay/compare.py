"""Comparing two replays, call by call.

What is compared: which calls are made, in which order, all fields of their attrs and what their
pointers point to, and what comes of them. What is not, since it differs between loaders that do
the same: numbers of fds (the objects they stand for are compared), addresses, the sizes of attrs,
and pointers to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lskel.replay.align import align
from lskel.replay.simulator.record import Code, FdRef, Record, Value
from lskel.replay.strace import value_text


class Difference(NamedTuple):
    """Calls at `a` and `b` (None: there is none on that side) that differ in `field`.

    `field` is empty where one side lacks the call, `result` where the outcome differs.
    """

    a: Record | None
    b: Record | None
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


def differences(a: Sequence[Record], b: Sequence[Record]) -> Iterator[Difference]:
    """All differences, in order; none where both replays do the same."""
    for ours, theirs in aligned(a, b):
        if ours is None or theirs is None:
            yield Difference(ours, theirs, "")
        else:
            yield from (Difference(ours, theirs, field) for field in changed(ours, theirs))


def aligned(
    a: Sequence[Record], b: Sequence[Record]
) -> Iterator[tuple[Record | None, Record | None]]:
    """All calls of both replays, in order; those about the same thing side by side."""
    for same, ours, theirs in align([describe(r) for r in a], [describe(r) for r in b]):
        if same:
            yield from ((a[m], b[n]) for m, n in zip(ours, theirs, strict=True))
            continue
        yield from ((a[m], None) for m in ours)
        yield from ((None, b[n]) for n in theirs)


def describe(record: Record) -> str:
    """A call and what it is about: `BPF_MAP_CREATE events`."""
    for field in ("map_name", "prog_name", "name", "map_fd", "fd"):
        value = record.attr.get(field)
        if isinstance(value, FdRef) or (isinstance(value, str) and value):
            return f"{record.name} {value}"
    return record.name


def changed(a: Record, b: Record) -> Iterator[str]:
    """The fields of the attrs that differ, and `result` where the outcome does."""
    for field in dict.fromkeys((*a.attr, *b.attr)):
        if a.attr.get(field) != b.attr.get(field):
            yield field
    if a.result != b.result:
        yield "result"


class Sides(NamedTuple):
    """What a field holds on each side; of long bytes, some from where they begin to differ."""

    place: str
    a: str
    b: str


def sides(field: str, a: Value | None, b: Value | None) -> Sides:
    """Two values of a field in words."""
    if isinstance(a, Code) and isinstance(b, Code):
        a, b = a.insns, b.insns
    if isinstance(a, bytes) and isinstance(b, bytes) and max(len(a), len(b)) > 16:
        at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        if at is None:
            return Sides("", f"{len(a)} bytes", f"{len(b)} bytes")
        return Sides(f"from byte {at}", a[at : at + 8].hex(), b[at : at + 8].hex())
    return Sides("", _side(field, a), _side(field, b))


def _side(field: str, value: Value | None) -> str:
    return "none" if value is None else value_text(field, value) or "empty"
