"""BPF objects as ELF files: ELF64, relocatable, with one symbol table and REL sections."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from lskel import budget
from lskel.elf.format import (
    SHN_UNDEF,
    Bind,
    ElfMachine,
    ElfRecord,
    FileType,
    SectionType,
    SymbolType,
    Visibility,
)
from lskel.elf.reader import ElfReader, Section
from lskel.errors import BadObject

_REL = ElfRecord("QQ")


class Symbol(NamedTuple):
    """A symbol; `section` is a section index or one of the reserved numbers."""

    number: int
    name: str
    type: int
    bind: int
    visibility: int
    section: int
    value: int
    size: int

    @property
    def is_extern(self) -> bool:
        """Whether it is undefined, to be resolved by name."""
        return (
            self.section == SHN_UNDEF
            and self.bind in (Bind.GLOBAL, Bind.WEAK)
            and self.type == SymbolType.NOTYPE
            and bool(self.name)
        )

    @property
    def is_hidden(self) -> bool:
        """Not to be seen outside the object."""
        return self.visibility in (Visibility.HIDDEN, Visibility.INTERNAL)


class Rel(NamedTuple):
    """A REL relocation: offset in its section, symbol, type."""

    offset: int
    symbol: int
    type: int


class Elf(ElfReader):
    """An ELF64 object for BPF. BadObject if it is not one, or a table is outside the file."""

    def __init__(self, data: bytes) -> None:
        super().__init__(
            data,
            "expected a BPF object (`clang -target bpf -c`) or an lskel bundle",
            budget.NAME,
        )
        if self.bits != 64:
            raise BadObject("not an ELF64 file", hint="BPF objects are 64-bit")
        header = self.header
        if header.type != FileType.ET_REL:
            found = _named(FileType, header.type)
            raise BadObject(f"expected a relocatable object, got ELF type {found}")
        if header.machine not in (ElfMachine.EM_BPF, ElfMachine.EM_NONE):
            raise BadObject(
                f"expected ELF machine BPF, got {_named(ElfMachine, header.machine)}",
                hint="compile with `-target bpf`",
            )
        if not self.sections:
            raise BadObject("the file has no section headers", hint="stripped object file?")

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbol table; BadObject unless there is exactly one."""
        tables = [s for s in self.sections if s.type == SectionType.SYMTAB]
        if len(tables) != 1:
            raise BadObject(
                f"expected one symbol table, got {len(tables)}", hint="stripped object file?"
            )
        (table,) = tables
        rows = self.symbol_rows(table)
        names = self.symbol_names(table)
        return tuple(
            Symbol(index, names[name], info & 0xF, info >> 4, other & 3, section, value, size)
            for index, (name, info, other, section, value, size) in enumerate(rows)
        )

    def tables_of(self, section: Section) -> tuple[Section, ...]:
        """The REL sections of a section, in file order."""
        return self._tables.get(section.number, ())

    @cached_property
    def _tables(self) -> dict[int, tuple[Section, ...]]:
        found: dict[int, list[Section]] = {}
        for section in self.sections:
            if section.type == SectionType.REL:
                found.setdefault(section.info, []).append(section)
        return {number: tuple(tables) for number, tables in found.items()}

    def relocations(self, section: Section) -> Iterator[tuple[Rel, Symbol]]:
        """The entries of a REL section, in order, each with its symbol."""
        rows = self._entries(section, _REL)
        symbols = self.symbols
        for number, (offset, info) in enumerate(rows):
            symbol = info >> 32
            if symbol >= len(symbols):
                raise BadObject(f"section {section.name}: relocation {number}: no symbol {symbol}")
            yield Rel(offset, symbol, info & 0xFFFFFFFF), symbols[symbol]


def _named(numbers: type[IntEnum], number: int) -> str:
    """An ELF constant, with its name if known."""
    try:
        return f"{numbers(number).name} ({number})"
    except ValueError:
        return str(number)
