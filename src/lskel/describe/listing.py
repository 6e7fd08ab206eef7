"""Listings: a program's instructions with the names and source lines that belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.disasm import Line, Names, disassemble
from lskel.bpf.enums import ProgType
from lskel.bpf.insn import Pseudo
from lskel.bpf.names import enum_name
from lskel.cursor import ByteOrder
from lskel.describe.core import CoreRelo, CoreRelos
from lskel.describe.image import Code, Image, Source, read_image
from lskel.describe.records import Functions, Lines, SourceLine
from lskel.describe.variables import variable_at, variables
from lskel.errors import NotFound, at
from lskel.object.model import Extern

_BY_INDEX = (Pseudo.MAP_IDX, Pseudo.MAP_IDX_VALUE)


class Row(NamedTuple):
    """One instruction: `insn` is the index of its first slot, `raw` its 8 or 16 bytes.

    Of what a loader keeps in tables, it is an element: `insn` is its number.

    `label` names what starts here: a function, an operation. `source` is the line that starts here.
    `core` are its CO-RE relocations. `note` says what it refers to. Each is empty (None) where
    there is none.
    """

    insn: int
    raw: bytes
    text: str
    label: str = ""
    source: SourceLine | None = None
    core: tuple[CoreRelo, ...] = ()
    note: str = ""


class Listing(NamedTuple):
    """A program with its subprograms behind it; `problem`: why it has no rows or does not load."""

    name: str
    section: str
    type: str
    rows: tuple[Row, ...]
    problem: str


def listing(source: Source, programs: Sequence[str] | None = None) -> Iterator[Listing]:
    """The programs of these names, or all, in the order of the source.

    A program that is not loaded by itself is listed where it is named, and where `source` has its
    code. An object and its loader have the same listing. What is broken in BTF is said in place, in
    angle brackets. NotFound where there is no program of a name.
    """
    image = read_image(source)
    check_programs(programs or (), [code.name for code in image.programs])
    for code in image.programs:
        if programs is None and not code.autoload:
            yield _listing(code, (), "not loaded by itself, so listed only when it is named")
        elif programs is None or code.name in programs:
            with at(f"program '{code.name}'"):
                yield _listing(code, rows(image, code), code.problem)


def rows(image: Image, code: Code) -> tuple[Row, ...]:
    """All instructions of a program of `image`, with what belongs to them."""
    return tuple(_Annotator(image, code).rows())


def check_programs(names: Iterable[str], known: Sequence[str]) -> None:
    """NotFound where there is no program of a name."""
    for name in names:
        if name not in known:
            raise NotFound(
                f"there is no program '{name}'", hint=f"there is: {', '.join(known) or 'none'}"
            )


def bare_rows(insns: bytes, order: ByteOrder) -> tuple[Row, ...]:
    """Instructions of which nothing else is known."""
    return tuple(Row(line.index, line.raw, line.text) for line in disassemble(insns, order))


def _listing(code: Code, rows: tuple[Row, ...], problem: str) -> Listing:
    kind = enum_name(ProgType, code.type)
    return Listing(code.name, code.spec.name, kind, rows, problem)


class _Annotator:
    """Tells what the instructions of one program are about."""

    def __init__(self, image: Image, code: Code) -> None:
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
            extern = self._code.externs.get(line.index)
            text, note = self._extern(line, extern) if extern else (line.text, self._variable(line))
            yield Row(
                line.index,
                line.raw,
                text,
                self._functions.at(line.index) or "",
                self._lines.at(line.index),
                self._core.at(line.index),
                note,
            )

    def _map(self, pseudo: Pseudo, number: int) -> str | None:
        maps = self._image.maps
        return maps[number].name if pseudo in _BY_INDEX and 0 <= number < len(maps) else None

    def _variable(self, line: Line) -> str:
        if len(line.raw) != 2 * i.SIZE:
            return ""
        insn = i.read(line.raw, 0, self._image.order)
        if insn.src != Pseudo.MAP_IDX_VALUE or not 0 <= insn.imm < len(self._image.maps):
            return ""
        offset = i.read(line.raw, 1, self._image.order).imm
        return variable_at(self._variables(insn.imm), offset)

    def _extern(self, line: Line, extern: Extern) -> tuple[str, str]:
        # The numbers that the kernel gets, by which `Names` tell such symbols, are not known yet.
        insn = i.read(line.raw, 0, self._image.order)
        text = f"r{insn.dst} = &{extern.name}" if i.is_wide(insn) else f"call {extern.name}"
        return text, f"{'weak ' if extern.is_weak else ''}{extern.kind.value}"
