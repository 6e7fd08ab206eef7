"""The report: all that the page shows of an object or a loader, as plain data.

The page gets it as JSON: named tuples as objects, other tuples as lists, bytes as hexadecimal.
`web/src/report.d.ts` declares the same for TypeScript; scripts/gen_report_types.py writes it.

Things refer to each other by their index: `op` in `Report.ops`, `region` in `Blob.regions`, `map`
in `Report.maps`, `program` in `Report.programs` (and `Report.listings`, in the same order).
Sizes and offsets are in bytes, times in nanoseconds.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from lskel.cursor import ByteOrder
from lskel.describe.listing import Row
from lskel.describe.regions import Span
from lskel.describe.summary import (
    BtfSummary,
    ExternSummary,
    MapSummary,
    ProgramSummary,
    SectionSummary,
)
from lskel.describe.tables import Step
from lskel.trace import Makes

# The number that changes when a field goes or gets another meaning.
VERSION = 1

SourceKind = Literal["object", "bundle", "header"]
Role = Literal[
    "btf",
    "map",
    "value",
    "inner map",
    "value type",
    "program",
    "attach target",
    "map in code",
    "kfunc",
    "ksym",
    "closes",
]
Status = Literal["same", "changed", "only a", "only b"]


class Meta(NamedTuple):
    """What was explained; a `header` is that of a light skeleton.

    `form` is the loader's, `table` or `unrolled`; empty where there is no loader. `file` is the
    name of the file without its directories.
    """

    name: str
    file: str
    source: SourceKind
    order: ByteOrder
    license: str
    form: str
    lskel: str


class Use(NamedTuple):
    """Something of the same trace that operation `op` made, and what for.

    A `value` is the fd of a map or program as an element, a `value type` the kernel's of a
    struct_ops map. `times` says how often, where code refers to it.
    """

    op: int
    role: Role
    times: int


class Field(NamedTuple):
    """A field of the attr of a call, as the simulated kernel got it, with what it holds in words.

    `ops` made the fds in it; `region` is what it points to in the blob, None for no pointer.
    Fields that are 0 or empty are left out.
    """

    name: str
    text: str
    ops: tuple[int, ...]
    region: int | None


class Call(NamedTuple):
    """A call that the simulator recorded: number, name (`BPF_MAP_CREATE`, `close`), result.

    `result` is in words; `failed` says that it is an error.
    """

    number: int
    name: str
    fields: tuple[Field, ...]
    result: str
    failed: bool


class Op(NamedTuple):
    """An operation of the trace.

    `kind`: `BtfLoad`, `MapCreate`, `MapUpdate`, `MapFreeze`, `BtfFind`, `KsymFind`, `ProgLoad`,
    `RawTracepointOpen`, `LinkCreate`, `Close`. `title` is short (``MapCreate 'events'``), `phrase`
    as in errors. `map` and `program` are what it is about. `makes` is what comes of it (a `type` of
    the kernel comes with the fd of its BTF); `stays` says whether that is handed over at the end.
    `guard` says when it is left out, in words. `inputs` are numbers that the target knows, in
    words. `regions` of the blob are its own or shared with others. `calls` are what the simulator
    recorded, none where it was left out; `steps` its part of the op table, `insns` its instructions
    [from, to) of an unrolled loader.
    """

    number: int
    kind: str
    title: str
    phrase: str
    map: int | None
    program: int | None
    makes: Makes
    stays: bool
    uses: tuple[Use, ...]
    used_by: tuple[int, ...]
    guard: str
    inputs: tuple[str, ...]
    regions: tuple[int, ...]
    calls: tuple[Call, ...]
    steps: tuple[Step, ...]
    insns: tuple[int, int] | None


class RegionUse(NamedTuple):
    """Whose bytes: an operation's, and the field of its attr that points there (may be empty)."""

    op: int
    field: str


class Region(NamedTuple):
    """A range of the blob; together they are the whole blob, in order, without gaps.

    `kind` is that of `lskel inspect`: `fd_array`, `status`, `fds`, `found`, `attr`, `btf`,
    `values`, `names`, `insns`, `func_info`, `line_info`, `core_relos`, `messages`, `state`,
    `context`, `records`, `padding`, or `data`. Data that several operations share have several
    `uses`.
    """

    offset: int
    size: int
    kind: str
    name: str
    uses: tuple[RegionUse, ...]
    spans: tuple[Span, ...]


class Stretch(NamedTuple):
    """Bytes [offset, offset + size) of the blob: `raw`, repeated up to `size`.

    Where `raw` is empty they are left out, since there are too many for the page.
    """

    offset: int
    size: int
    raw: bytes


class Text(NamedTuple):
    """A string of C in a region's names or values, at `offset` of the blob."""

    offset: int
    region: int
    text: str


class Blob(NamedTuple):
    """The value of the loader's map; `content` is all of it, in order.

    `strings` are the first thousand of four characters or more, up to 200 of each.
    """

    size: int
    regions: tuple[Region, ...]
    content: tuple[Stretch, ...]
    strings: tuple[Text, ...]


class Listing(NamedTuple):
    """The code of a program. `region` of the blob holds it, `op` loads it, where there is one.

    `problem` says why there are no rows or it does not load; `files` are the sources, in the order
    in which the rows name them.
    """

    name: str
    section: str
    type: str
    problem: str
    region: int | None
    op: int | None
    files: tuple[str, ...]
    rows: tuple[Row, ...]


class LoaderProgram(NamedTuple):
    """The loader program itself: its code, with labels and notes, and the size of its context.

    `insns` counts 8-byte slots; `layout` are the fields of the context; `btf` and `func_info` are
    the bytes that it is loaded with. `steps` are those that belong to no single operation.
    """

    insns: int
    context: int
    layout: tuple[Span, ...]
    btf: int
    func_info: int
    rows: tuple[Row, ...]
    steps: tuple[Step, ...]


class SizeNode(NamedTuple):
    """A box of a treemap: its size is that of its children, where it has any.

    `kind` is a region's kind, or empty. `regions` are those in a leaf; `map` and `program` what a
    box is about.
    """

    name: str
    kind: str
    size: int
    regions: tuple[int, ...]
    map: int | None
    program: int | None
    children: tuple[SizeNode, ...]


class SizeView(NamedTuple):
    """One way to divide: `by kind`, `by owner` (programs, maps), or an ELF file's `sections`."""

    title: str
    root: SizeNode


class Failure(NamedTuple):
    """Where and why a replay stopped. `op` is None where it cannot be told.

    `errno` is the name; `log` the verifier's lines; `explanation` what they mean, in lines that
    belong below each other.
    """

    op: int | None
    errno: str
    message: str
    hint: str
    explanation: tuple[str, ...]
    log: tuple[str, ...]


class Simulation(NamedTuple):
    """The replay in the simulator: the number of its calls, those that no operation made.

    `failure` is None where it came to its end.
    """

    calls: int
    others: tuple[Call, ...]
    failure: Failure | None


class OpTime(NamedTuple):
    """How long operation `op` took: the median, shortest and longest of the repeats."""

    op: int
    median: int
    shortest: int
    longest: int


class Measurement(NamedTuple):
    """A real direct replay: every operation is a system call (or a search in BTF) of one process.

    `release` and `machine` are the kernel's. `total` is the median time of all operations together.
    Where it failed, `times` are of the operations up to the failure.
    """

    release: str
    machine: str
    repeats: int
    total: int
    times: tuple[OpTime, ...]
    failure: Failure | None


class FieldChange(NamedTuple):
    """A property that differs; `a` and `b` are what it is on each side, in words."""

    name: str
    a: str
    b: str


class ItemChange(NamedTuple):
    """A map on both sides."""

    name: str
    status: Status
    fields: tuple[FieldChange, ...]


class DiffRow(NamedTuple):
    """Instructions side by side, as indexes in the rows of both sides; None where one has none.

    They are the `same` if they say the same: maps and functions count by name, not by number.
    """

    a: int | None
    b: int | None
    same: bool


class ProgramChange(NamedTuple):
    """A program: as ItemChange, and its code side by side where that differs, else no rows.

    The rows of A are those of its listing, those of B are `code`.
    """

    name: str
    status: Status
    fields: tuple[FieldChange, ...]
    rows: tuple[DiffRow, ...]
    code: tuple[Row, ...]


class CallChange(NamedTuple):
    """A call on both sides: `a` and `b` are numbers of calls, `op_a` and `op_b` whose they are.

    `fields` are those that differ.
    """

    title: str
    status: Status
    a: int | None
    b: int | None
    op_a: int | None
    op_b: int | None
    fields: tuple[FieldChange, ...]


class SizeChange(NamedTuple):
    """Bytes of the blob of a kind, or `loader program`, on each side."""

    kind: str
    a: int
    b: int


class Against(NamedTuple):
    """What differs from another loader, which is B; this report is of A.

    `maps`, `programs` and `sizes` are empty where B is a light skeleton, of which only its calls
    are known. `problem` says what else cannot be compared, and why.
    """

    meta: Meta
    calls: tuple[CallChange, ...]
    maps: tuple[ItemChange, ...]
    programs: tuple[ProgramChange, ...]
    sizes: tuple[SizeChange, ...]
    problem: str


class Report(NamedTuple):
    """Everything. `problem` says why there is no loader: `blob`, `loader` are None then.

    Or it says that the bytes of a bundle are not what its description generates; where they do
    something else, only what they are and the calls that they make in the simulator is here.

    What an object consists of (`maps`, `programs`, `listings`, `externs`, `inputs`, `sections`) is
    there all the same. A loader has no `sections`. `listings` are in the order of `programs`.
    """

    version: int
    meta: Meta
    problem: str
    btf: BtfSummary | None
    maps: tuple[MapSummary, ...]
    programs: tuple[ProgramSummary, ...]
    externs: tuple[ExternSummary, ...]
    inputs: tuple[str, ...]
    sections: tuple[SectionSummary, ...]
    blob: Blob | None
    loader: LoaderProgram | None
    ops: tuple[Op, ...]
    listings: tuple[Listing, ...]
    sizes: tuple[SizeView, ...]
    simulation: Simulation | None
    measurement: Measurement | None
    against: Against | None
