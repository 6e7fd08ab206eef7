"""The records of a table loader, in words."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lskel.bpf.enums import Cmd
from lskel.bpf.names import enum_name
from lskel.btf.kinds import Kind
from lskel.cursor import mark
from lskel.describe.listing import Row
from lskel.describe.regions import BlobMap, heading
from lskel.loader import records
from lskel.loader.blob import Region, RegionKind
from lskel.loader.model import Loader
from lskel.loader.records import Code, Condition

_CONDITIONS = {
    Condition.ZERO: "is 0",
    Condition.NEGATIVE: "is negative",
    Condition.NOT_POSITIVE: "is not positive",
    Condition.NOT_NEGATIVE: "is not negative",
    Condition.NOT_ZERO: "is not 0",
}


def tables(loader: Loader, blob: BlobMap) -> Iterator[Row]:
    """The records by operation; empty for an unrolled loader."""
    labelled: Region | None = None
    for region, (number, raw, text) in steps(loader, blob):
        label = ""
        if region is not labelled:
            label = f"records of {heading(loader.trace, region.op, region.field)}"
            labelled = region
        yield Row(number, raw, text, label)


class TableRecord(NamedTuple):
    """A record of a table loader's op table, in words; `number` counts all of them."""

    number: int
    raw: bytes
    text: str


def steps(loader: Loader, blob: BlobMap) -> Iterator[tuple[Region, TableRecord]]:
    """The records of a loader, in order, with their regions."""
    # A region holds the records of one operation.
    number = 0
    for region in sorted(r for r in loader.regions if r.kind is RegionKind.RECORDS):
        for place in _places(region.offset, region.size, records.SIZE):
            raw = loader.blob[place : place + records.SIZE]
            text = _Words(loader, blob, region.op, number, raw).text()
            yield region, TableRecord(number, raw, text)
            number += 1


def _places(offset: int, size: int, step: int) -> range:
    """The offsets of the elements of a table; a truncated one does not count."""
    return range(offset, offset + size - step + 1, step)


class _Fields(NamedTuple):
    """A record as in the blob (records.Record, unpacked)."""

    code: int
    arg: int
    length: int
    a: int
    b: int
    c: int


class _Words:
    """One record in words."""

    def __init__(self, loader: Loader, blob: BlobMap, op: int, number: int, raw: bytes) -> None:
        self.loader = loader
        self.blob = blob
        self.op = op
        self.next = number + 1
        self.fields = _Fields(*struct.unpack(mark(loader.trace.order) + "BBHIII", raw))
        self.size = self.fields.length + 1

    def text(self) -> str:
        code = self.fields.code
        say = _TEXTS.get(code)
        return f"unknown code {code}" if say is None else say(self)

    def at(self, place: int) -> str:
        return self.blob.name(place, self.op, whole=False)

    @property
    def a(self) -> str:
        return self.at(self.fields.a)

    @property
    def b(self) -> str:
        return self.at(self.fields.b)

    @property
    def target(self) -> int:
        return self.next + self.fields.c

    @property
    def string(self) -> str:
        """The name at a, without the NUL."""
        raw = self.loader.blob[self.fields.a : self.fields.a + self.size]
        return f"'{raw[:-1].decode(errors='backslashreplace')}'"

    def set(self) -> str:
        """Numbers are small, except halves of instructions."""
        number = self.fields.c
        return f"set {self.a} = {number:#x}" if number > 0xFFFF else f"set {self.a} = {number}"

    def skip(self) -> str:
        known = {condition.value: text for condition, text in _CONDITIONS.items()}
        condition = known.get(self.fields.arg, f"is as condition {self.fields.arg}")
        return f"skip to {self.target} if {self.b} {condition}"

    def call(self) -> str:
        command = f"BPF_{enum_name(Cmd, self.fields.arg).upper()}"
        attr = self.blob.name(self.fields.a, self.op, whole=True)
        failure = "; it may fail" if self.fields.c else ""
        return f"call {command}, {attr}, {self.size} bytes -> {self.b}{failure}"

    def find(self) -> str:
        kind = enum_name(Kind, self.fields.arg)
        halves = (self.b, self.at(self.fields.b + 4))
        low, high = halves if self.loader.trace.order == "little" else halves[::-1]
        return f"find {kind} {self.string} -> {low}, {high}{self.missing}"

    def ksym(self) -> str:
        return f"find symbol {self.string} -> {self.b}{self.missing}"

    @property
    def missing(self) -> str:
        return "; it may be missing" if self.fields.c else ""

    def value(self) -> str:
        start = f" + {self.fields.c}" if self.fields.c else ""
        return f"copy {self.a}, {self.size} bytes <- memory at {self.b}{start}"


_TEXTS: dict[int, Callable[[_Words], str]] = {
    Code.COPY: lambda r: f"copy {r.a} <- {r.b}",
    Code.SET: _Words.set,
    Code.POINT: lambda r: f"point {r.a} to {r.blob.name(r.fields.b, r.op, whole=True)}",
    Code.SKIP_IF: _Words.skip,
    Code.CALL: _Words.call,
    Code.CLOSE: lambda r: f"close {r.b}",
    Code.VALUE: _Words.value,
    Code.FIND: _Words.find,
    Code.KSYM: _Words.ksym,
}
