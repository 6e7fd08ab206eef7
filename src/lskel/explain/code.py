"""Programs' code as data: instructions, source lines, and what each instruction refers to."""

from __future__ import annotations

from collections.abc import Iterator

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.enums import ProgType
from lskel.bpf.insn import CallKind, Pseudo
from lskel.bpf.names import enum_name
from lskel.describe import listing
from lskel.describe.image import Code, Image
from lskel.describe.records import Functions
from lskel.explain.report import Listing, Mark, MarkKind, Region, Row
from lskel.object.model import ExternKind
from lskel.trace import ProgLoad, Trace

_MAPS: dict[int, MarkKind] = {Pseudo.MAP_IDX: "map", Pseudo.MAP_IDX_VALUE: "value"}
_EXTERNS: dict[ExternKind, MarkKind] = {
    ExternKind.KFUNC: "kfunc",
    ExternKind.KSYM: "ksym",
    ExternKind.KCONFIG: "value",
}


def explain_code(
    image: Image, trace: Trace | None, regions: tuple[Region, ...]
) -> Iterator[Listing]:
    """All programs of `image`, which is of `trace` where there is one."""
    code_of = {
        use.op: number
        for number, region in enumerate(regions)
        for use in region.uses
        if use.field == "insns"
    }
    left = budget.PAGE_INSTRUCTIONS
    for slot, code in enumerate(image.programs):
        op = trace.programs[slot].op if trace is not None else None
        problem = code.problem
        rows: tuple[Row, ...] = ()
        if i.count(code.insns) <= left:
            rows = tuple(_rows(image, code, trace, op))
            left -= i.count(code.insns)
        else:
            room = budget.PAGE_INSTRUCTIONS
            problem = problem or f"left out: the page has room for {room} instructions"
        files = dict.fromkeys(row.source.file for row in rows if row.source is not None)
        yield Listing(
            code.name,
            code.spec.name,
            enum_name(ProgType, code.type),
            problem,
            None if op is None else code_of.get(op),
            op,
            tuple(files),
            rows,
        )


def _rows(image: Image, code: Code, trace: Trace | None, op: int | None) -> Iterator[Row]:
    marks = _Marks(image, code, trace, op)
    for row in listing.rows(image, code):
        yield Row(*row, tuple(marks.of(row)))


class _Marks:
    """What the instructions of one program refer to."""

    def __init__(self, image: Image, code: Code, trace: Trace | None, op: int | None) -> None:
        self._image = image
        self._code = code
        self._functions = Functions(code.func_info, image.btf, image.order)
        self._made = [made.op for made in trace.maps] if trace is not None else []
        load = trace.ops[op] if trace is not None and op is not None else None
        externs = load.externs if isinstance(load, ProgLoad) else ()
        self._finds = {extern.insn: extern.find.op for extern in externs}

    def of(self, row: listing.Row) -> Iterator[Mark]:
        insn = i.read(row.raw, 0, self._image.order)
        extern = self._code.externs.get(row.insn)
        if extern is not None:
            yield Mark(_EXTERNS[extern.kind], extern.name, None, self._finds.get(row.insn), None)
        elif i.is_wide(insn):
            yield from self._wide(row.insn, insn)
        elif insn.op == i.OP_CALL and insn.src == CallKind.SUBPROGRAM:
            yield self._subprogram(row.insn + 1 + insn.imm)
        for core in row.core:
            yield Mark("core", f"{core.kind} {core.target}", None, None, None)

    def _wide(self, index: int, insn: i.Insn) -> Iterator[Mark]:
        maps = self._image.maps
        if insn.src == Pseudo.FUNC:
            yield self._subprogram(index + 1 + insn.imm)
        elif insn.src in _MAPS and 0 <= insn.imm < len(maps):
            op = self._made[insn.imm] if insn.imm < len(self._made) else None
            yield Mark(_MAPS[insn.src], maps[insn.imm].name, insn.imm, op, None)

    def _subprogram(self, insn: int) -> Mark:
        return Mark("subprogram", self._functions.at(insn) or "", None, None, insn)
