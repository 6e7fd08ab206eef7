"""Pointers in the initial values of global data, which no loader fills in.

They are relocations of sections .data, .rodata and .bss; libbpf 1.8 skips these. The only right
value of a pointer is a kernel address, which is not known before the map exists; and a program that
reads it from the map has a number, which the verifier does not let it follow.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from lskel.elf.format import SectionType, SymbolType
from lskel.elf.object import Elf, Rel, Symbol
from lskel.elf.reader import Section
from lskel.errors import at
from lskel.object.data import data_kind

# Of LLVM's relocation types for data (R_BPF_64_ABS32 and the older R_BPF_64_32), those of 32 bits.
_IN_32_BITS = frozenset({3, 10})
# Variables of a section that are named.
_NAMED = 16
# Bytes of a string literal that is shown.
_LITERAL = 32


def pointer_remarks(elf: Elf) -> tuple[str, ...]:
    """What is not filled in, by section and variable, with the target of the first pointer."""
    sections = [s for s in elf.sections if data_kind(s) is not None and elf.tables_of(s)]
    if not sections:
        return ()
    found = _Pointers(elf)
    return tuple(remark for section in sections for remark in found.remarks(section))


class _Pointers:
    def __init__(self, elf: Elf) -> None:
        self._elf = elf
        self._variables: dict[int, list[Symbol]] = {}
        self._names: dict[tuple[int, int], str] = {}
        for symbol in sorted(elf.symbols, key=lambda symbol: symbol.value):
            if symbol.type == SymbolType.OBJECT:
                self._variables.setdefault(symbol.section, []).append(symbol)
            if symbol.type in (SymbolType.OBJECT, SymbolType.FUNC):
                self._names.setdefault((symbol.section, symbol.value), symbol.name)

    def remarks(self, section: Section) -> Iterator[str]:
        by_variable: dict[str, list[tuple[Rel, Symbol]]] = {}
        with at(f"section {section.name}"):
            for table in self._elf.tables_of(section):
                for rel, symbol in self._elf.relocations(table):
                    name = self._variable(section, rel.offset)
                    by_variable.setdefault(name, []).append((rel, symbol))
        for name, pointers in islice(by_variable.items(), _NAMED):
            rel, symbol = pointers[0]
            more = f" (and {len(pointers) - 1} more)" if len(pointers) > 1 else ""
            yield (
                f"section {section.name}, {name} at +{rel.offset:#x}: the pointer to "
                f"{self._target(section, rel, symbol)}{more} is not filled in: a program cannot "
                "follow a pointer that it reads from data (use an array of text, or a switch)"
            )
        if len(by_variable) > _NAMED:
            more = f"{len(by_variable) - _NAMED} more variables"
            yield f"section {section.name}: pointers in {more} are not filled in"

    def _variable(self, section: Section, offset: int) -> str:
        variables = self._variables.get(section.number, [])
        number = bisect_right(variables, offset, key=lambda symbol: symbol.value) - 1
        if number >= 0 and offset < variables[number].value + variables[number].size:
            return f"variable '{variables[number].name}'"
        return "data without a name"

    def _target(self, section: Section, rel: Rel, symbol: Symbol) -> str:
        """A symbol, a string literal, or a section and an offset."""
        elf = self._elf
        if symbol.type != SymbolType.SECTION or symbol.section >= len(elf.sections):
            return f"'{symbol.name}'"
        pointed = elf.sections[symbol.section]
        # What the relocation adds to is in place.
        place = slice(rel.offset, rel.offset + (4 if rel.type in _IN_32_BITS else 8))
        offset = symbol.value + int.from_bytes(elf.content(section)[place], elf.order)
        if (pointed.number, offset) in self._names:
            return f"'{self._names[pointed.number, offset]}'"
        if pointed.type == SectionType.PROGBITS and ".str" in pointed.name:
            text, end, _ = elf.content(pointed)[offset : offset + _LITERAL].partition(b"\0")
            return f'"{text.decode("utf-8", "backslashreplace")}{"" if end else "..."}"'
        return f"{pointed.name}+{offset:#x}"
