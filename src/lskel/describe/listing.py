"""Listings: a program's instructions with names and source lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.disasm import Line, Names, disassemble
from lskel.bpf.enums import ProgType
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.bpf.names import enum_name
from lskel.cursor import ByteOrder
from lskel.describe.core import CoreRelo, CoreRelos
from lskel.describe.image import ProgramCode, ProgramsImage, Source, read_image
from lskel.describe.records import Functions, Lines, SourceLine
from lskel.describe.variables import variable_at, variables
from lskel.errors import NotFound, at
from lskel.object.model import Extern, ExternKind
from lskel.object.relocations import JUMP_TABLES

MarkKind = Literal["map", "value", "subprogram", "kfunc", "ksym", "core"]
# Entries of a jump table in a line.
_SHOWN_TARGETS = 32
_MAPS: dict[int, MarkKind] = {Pseudo.MAP_IDX: "map", Pseudo.MAP_IDX_VALUE: "value"}


class Mark(NamedTuple):
    """What an instruction refers to, by a relocation.

    `kind`: `map` for its fd, `value` for an address in a map's value, `subprogram` for a call or a
    function's address. `name` is that of the map, function or symbol, or the kernel field or type.
    `map` is the number of the map, `op` the operation that creates or finds it, `insn` the
    instruction of this listing where a subprogram begins.
    """

    kind: MarkKind
    name: str
    map: int | None = None
    op: int | None = None
    insn: int | None = None


class Row(NamedTuple):
    """An instruction: `insn` is the index of its first slot, `raw` its 8 or 16 bytes.

    Or a record of a table loader: `insn` is its number.

    `label` names what starts here: a function, an operation. `source` is the line that starts here.
    `core` are its CO-RE relocations. `note` is what it refers to in words, `marks` as data. Each
    is empty (None) if none.
    """

    insn: int
    raw: bytes
    text: str
    label: str = ""
    source: SourceLine | None = None
    core: tuple[CoreRelo, ...] = ()
    note: str = ""
    marks: tuple[Mark, ...] = ()


class Listing(NamedTuple):
    """A program followed by its subprograms; `problem`: why it has no rows or does not load."""

    name: str
    section: str
    type: str
    rows: tuple[Row, ...]
    problem: str


def listing(source: Source, programs: Sequence[str] | None = None) -> Iterator[Listing]:
    """The programs of these names, or all, in the order of the source.

    A program with autoload disabled is listed only if named, and if `source` has its code. An
    object and its loader have the same listing. Errors in BTF are shown in place, in angle
    brackets. NotFound for an unknown name.
    """
    image = read_image(source)
    check_programs(programs or (), [code.name for code in image.programs])
    for code in image.programs:
        if programs is None and not code.autoload:
            yield _listing(code, (), "autoload disabled, so listed only if named")
        elif programs is None or code.name in programs:
            with at(f"program '{code.name}'"):
                yield _listing(code, rows(image, code), code.problem)


def rows(image: ProgramsImage, code: ProgramCode) -> tuple[Row, ...]:
    """All instructions of a program of `image`, annotated."""
    return tuple(_Annotator(image, code).rows())


def check_programs(names: Iterable[str], known: Sequence[str]) -> None:
    """NotFound for an unknown program name."""
    for name in names:
        if name not in known:
            raise NotFound(f"no program '{name}'", hint=f"available: {', '.join(known) or 'none'}")


def bare_rows(insns: bytes, order: ByteOrder) -> tuple[Row, ...]:
    """Instructions without annotations."""
    return tuple(Row(line.index, line.raw, line.text) for line in disassemble(insns, order))


def _listing(code: ProgramCode, rows: tuple[Row, ...], problem: str) -> Listing:
    kind = enum_name(ProgType, code.type)
    return Listing(code.name, code.spec.name, kind, rows, problem)


class _Refers(NamedTuple):
    """An instruction and its references."""

    text: str
    note: str = ""
    mark: Mark | None = None


class _Annotator:
    """Annotates the instructions of one program."""

    def __init__(self, image: ProgramsImage, code: ProgramCode) -> None:
        self._image = image
        self._code = code
        self._functions = Functions(code.func_info, image.btf, image.order)
        self._lines = Lines(code.line_info, image.btf, image.order)
        self._core = CoreRelos(code.core_relos, image.btf, image.order)
        self._variables = cache(lambda number: variables(image.btf, image.maps[number].value_type))

    def rows(self) -> Iterator[Row]:
        """All instructions."""
        names = Names(map=self._map, subprogram=self._functions.at)
        for line in disassemble(self._code.insns, self._image.order, names):
            refers = self._refers(line)
            core = self._core.at(line.index)
            marks = [] if refers.mark is None else [refers.mark]
            marks += (Mark("core", f"{relo.kind} {relo.target}") for relo in core)
            yield Row(
                line.index,
                line.raw,
                refers.text,
                self._functions.at(line.index) or "",
                self._lines.at(line.index),
                core,
                refers.note,
                tuple(marks),
            )

    def _map(self, pseudo: Pseudo, number: int) -> str | None:
        maps = self._image.maps
        return maps[number].name if pseudo in _MAPS and 0 <= number < len(maps) else None

    def _refers(self, line: Line) -> _Refers:
        insn = i.read(line.raw, 0, self._image.order)
        extern = self._code.externs.get(line.index)
        if extern is not None:
            return self._extern(line.index, insn, extern)
        if (targets := self._code.tables.get(line.index)) is not None:
            return self._jump_table(line.index, insn, targets)
        if insn.op == i.OP_CALL and insn.src == CallKind.SUBPROGRAM:
            return self._subprogram(line, line.index + 1 + insn.imm)
        if len(line.raw) != 2 * i.SIZE:
            return _Refers(line.text)
        if insn.src == Pseudo.FUNC:
            return self._subprogram(line, line.index + 1 + insn.imm)
        if insn.src not in _MAPS or not 0 <= insn.imm < len(self._image.maps):
            return _Refers(line.text)
        note = ""
        if insn.src == Pseudo.MAP_IDX_VALUE:
            offset = i.read(line.raw, 1, self._image.order).imm
            note = variable_at(self._variables(insn.imm), offset)
        name, _, op = self._image.maps[insn.imm]
        return _Refers(line.text, note, Mark(_MAPS[insn.src], name, insn.imm, op))

    def _subprogram(self, line: Line, insn: int) -> _Refers:
        mark = Mark("subprogram", self._functions.at(insn) or "", insn=insn)
        return _Refers(line.text, mark=mark)

    def _jump_table(self, index: int, insn: Insn, targets: tuple[int, ...]) -> _Refers:
        shown = " ".join(str(target) for target in targets[:_SHOWN_TARGETS])
        note = f"{len(targets)} entries: {shown}{' ...' if len(targets) > _SHOWN_TARGETS else ''}"
        mark = Mark("value", JUMP_TABLES, op=self._code.finds.get(index))
        offset = i.read(self._code.insns, index + 1, self._image.order).imm
        return _Refers(f"r{insn.dst} = {JUMP_TABLES}{f' + {offset}' if offset else ''}", note, mark)

    def _extern(self, index: int, insn: Insn, extern: Extern) -> _Refers:
        # The ids and addresses by which `Names` resolves such symbols are not known yet.
        text = f"r{insn.dst} = &{extern.name}" if i.is_wide(insn) else f"call {extern.name}"
        note = f"{'weak ' if extern.is_weak else ''}{extern.kind.value}"
        kind: MarkKind = "kfunc" if extern.kind is ExternKind.KFUNC else "ksym"
        return _Refers(text, note, Mark(kind, extern.name, op=self._code.finds.get(index)))
