"""Functions from ELF symbols: entry programs, and subprograms in .text."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.limits import MAX_INSNS
from lskel.btf.ext import BtfExt, Records
from lskel.elf.format import SymbolType
from lskel.elf.object import Elf, Symbol
from lskel.elf.reader import Section
from lskel.errors import BadObject, at
from lskel.object.model import Function, Relocation

TEXT = ".text"


class FunctionRange(NamedTuple):
    """The range of a function symbol: instructions [start, end) of a section."""

    symbol: Symbol
    section: Section
    start: int
    end: int


class FunctionLayout:
    """All function symbols of an object, by section and position."""

    def __init__(self, elf: Elf) -> None:
        by_section: dict[int, list[FunctionRange]] = {}
        for symbol in elf.symbols:
            if symbol.type == SymbolType.FUNC and symbol.section < len(elf.sections):
                section = elf.sections[symbol.section]
                if section.executable:
                    place = _place(section, symbol)
                    by_section.setdefault(section.number, []).append(place)
        self.by_section = dict(sorted(by_section.items()))
        for places in self.by_section.values():
            places.sort(key=lambda place: place.start)
            _refuse_overlap(places)
        self._starts = {
            index: [place.start for place in places] for index, places in self.by_section.items()
        }

    def find(self, section: int, insn: int) -> FunctionRange | None:
        """The function that contains instruction `insn` of a section; the last one of aliases."""
        at_or_before = bisect_right(self._starts.get(section, []), insn) - 1
        if at_or_before < 0:
            return None
        place = self.by_section[section][at_or_before]
        return place if insn < place.end else None

    def named(self, symbol: Symbol, addend: int) -> str:
        """The function that a pointer in data is for; a static one is given by its section.

        Empty where none is, and no other symbol has a name.
        """
        if symbol.type != SymbolType.SECTION:
            return symbol.name
        place = self.find(symbol.section, addend // i.SIZE)
        return place.symbol.name if place and place.start * i.SIZE == addend else ""


def _place(section: Section, symbol: Symbol) -> FunctionRange:
    with at(f"section {section.name}", f"function '{symbol.name}'"):
        if not symbol.name:
            raise BadObject(f"the symbol at {symbol.value:#x} has no name")
        if not symbol.size:
            raise BadObject(
                "its symbol has no size, so that it has no end",
                hint=f"in assembly: `.size {symbol.name}, . - {symbol.name}` after its last line",
            )
        if symbol.value % i.SIZE or symbol.size % i.SIZE:
            raise BadObject(
                f"{symbol.value:#x}+{symbol.size:#x} is not a whole number of instructions"
            )
        if symbol.value + symbol.size > section.size:
            raise BadObject(
                f"{symbol.value:#x}+{symbol.size:#x} is outside the section of {section.size:#x} "
                "bytes"
            )
        if symbol.size // i.SIZE > MAX_INSNS:
            raise BadObject(
                f"{symbol.size // i.SIZE} instructions, the kernel accepts at most {MAX_INSNS}"
            )
    start = symbol.value // i.SIZE
    return FunctionRange(symbol, section, start, start + symbol.size // i.SIZE)


def _refuse_overlap(places: list[FunctionRange]) -> None:
    """Functions may have the same range (aliases), but not parts of it in common."""
    for before, place in pairwise(places):
        if place.start < before.end and (place.start, place.end) != (before.start, before.end):
            raise BadObject(
                f"section {place.section.name}: functions '{before.symbol.name}' and "
                f"'{place.symbol.name}' overlap at offset {place.symbol.value:#x}"
            )


def build_function(
    elf: Elf, ext: BtfExt, place: FunctionRange, code: bytes, relocations: tuple[Relocation, ...]
) -> Function:
    """The function at `place`; `code` is its whole section's."""
    name = place.section.name
    start, end = place.start * i.SIZE, place.end * i.SIZE

    def records(table: str, known: int) -> Records:
        info = getattr(ext, table).get(name)
        return info.slice(start, end, elf.order) if info else Records(known)

    return Function(
        name=place.symbol.name,
        section=name,
        start=place.start,
        code=code[start:end],
        relocations=relocations,
        func_info=records("func_info", 8),
        line_info=records("line_info", 16),
        core_relos=records("core_relos", 16),
    )
