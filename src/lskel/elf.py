"""ELF64 relocatable files: sections, symbols and REL entries, over pyelftools.

pyelftools reads the file header and supplies the names of ELF (its structs alone: its ELFFile
brings DWARF along). The tables behind the header are unpacked from the file's bytes at once, since
pyelftools' objects per entry cost more than all the rest of lskel.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.enums import ENUM_E_MACHINE
from elftools.elf.structs import ELFStructs

from lskel import budget
from lskel.cursor import ByteOrder, Strings, unpack_table
from lskel.errors import BadObject

SECTION_HEADER = "IIQQQQIIQQ"
SYMBOL = "IBBHQQ"
REL = "QQ"
SECTION_HEADER_SIZE = 64
SYMBOL_SIZE = 24
REL_SIZE = 16

SHN_UNDEF = 0
SHN_LORESERVE = 0xFF00
SHF_EXECINSTR = 4


class SectionType(IntEnum):
    """The section types that matter here (gABI, sh_type)."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    NOBITS = 8
    REL = 9


class Bind(IntEnum):
    """Symbol binding (gABI)."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


class SymbolType(IntEnum):
    """Symbol type (gABI)."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3


class Visibility(IntEnum):
    """Symbol visibility (gABI)."""

    DEFAULT = 0
    INTERNAL = 1
    HIDDEN = 2
    PROTECTED = 3


class Section(NamedTuple):
    """A section header with its name; sizes and offsets in bytes."""

    number: int
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entsize: int

    @property
    def executable(self) -> bool:
        """Whether the section holds instructions."""
        return self.type == SectionType.PROGBITS and bool(self.flags & SHF_EXECINSTR)


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
        """Undefined here, to be resolved by name."""
        return (
            self.section == SHN_UNDEF
            and self.bind in (Bind.GLOBAL, Bind.WEAK)
            and self.type == SymbolType.NOTYPE
            and bool(self.name)
        )


class Rel(NamedTuple):
    """A relocation without addend: where in its section, against which symbol, what type."""

    offset: int
    symbol: int
    type: int


class Elf:
    """An ELF64 object for BPF. BadObject where the file is none or a table leaves it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._contents: dict[int, bytes] = {}
        self._held = 0
        header = _file_header(data)
        self.order: ByteOrder = "little" if data[5] == 1 else "big"
        self.sections = self._read_sections(header["e_shoff"], header["e_shnum"], header)

    def _read_sections(
        self, offset: int, count: int, header: dict[str, int]
    ) -> tuple[Section, ...]:
        if not offset:
            raise BadObject("the file has no section headers", hint="stripped object file?")
        if header["e_shentsize"] != SECTION_HEADER_SIZE:
            raise BadObject(f"section headers of {header['e_shentsize']} bytes, not 64")
        first = self._slice(offset, SECTION_HEADER_SIZE, "the first section header")
        names_at = header["e_shstrndx"]
        (zero,) = unpack_table(SECTION_HEADER, first, self.order, "section header")
        if not count:  # gABI: 65280 sections and more are counted in the first header
            count = zero[5]
        if names_at == 0xFFFF:
            names_at = zero[6]
        raw = self._slice(offset, count * SECTION_HEADER_SIZE, f"the {count} section headers")
        table = unpack_table(SECTION_HEADER, raw, self.order, "section headers")
        if names_at >= count:
            raise BadObject(f"section names are in section {names_at} of {count}")
        names = Strings(
            self._slice(table[names_at][4], table[names_at][5], "the section names"),
            "the section names",
            budget.NAME,
        )
        return tuple(
            Section(
                index,
                names[name],
                kind,
                flags,
                at,
                size,
                link,
                info,
                entsize,
            )
            for index, (name, kind, flags, _, at, size, link, info, _, entsize) in enumerate(table)
        )

    def _slice(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self.data):
            raise BadObject(
                f"{what}: {offset:#x}+{size:#x} is outside the file of {len(self.data):#x} bytes",
                hint="truncated file?",
            )
        return self.data[offset : offset + size]

    def content(self, section: Section) -> bytes:
        """The section's bytes; NOBITS sections have none."""
        if section.type == SectionType.NOBITS:
            return b""
        found = self._contents.get(section.number)
        if found is None:
            what = f"the bytes of section {section.name}"
            found = self._slice(section.offset, section.size, what)
            self._contents[section.number] = found
            self._held += len(found)
            if self._held > len(self.data):
                raise BadObject(f"{what} overlap those of other sections")
        return found

    def section(self, name: str) -> Section | None:
        """The first section of this name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Section]:
        found: dict[str, Section] = {}
        for section in self.sections:
            found.setdefault(section.name, section)
        return found

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbol table; BadObject where there is none or more than one."""
        tables = [s for s in self.sections if s.type == SectionType.SYMTAB]
        if len(tables) != 1:
            raise BadObject(
                f"the file has {len(tables)} symbol tables, not one", hint="stripped object file?"
            )
        (table,) = tables
        if table.entsize != SYMBOL_SIZE:
            raise BadObject(f"section {table.name}: entries of {table.entsize} bytes, not 24")
        if table.link >= len(self.sections):
            raise BadObject(f"section {table.name}: its strings are in section {table.link}")
        names = Strings(self.content(self.sections[table.link]), "the symbol names", budget.NAME)
        raw = unpack_table(SYMBOL, self.content(table), self.order, f"section {table.name}")
        return tuple(
            Symbol(
                index,
                names[name],
                info & 0xF,
                info >> 4,
                other & 3,
                section,
                value,
                size,
            )
            for index, (name, info, other, section, value, size) in enumerate(raw)
        )

    def tables_of(self, section: Section) -> tuple[Section, ...]:
        """The REL sections of a section, in the order of the file."""
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
        if section.entsize != REL_SIZE:
            raise BadObject(f"section {section.name}: entries of {section.entsize} bytes, not 16")
        raw = unpack_table(REL, self.content(section), self.order, f"section {section.name}")
        symbols = self.symbols
        for number, (offset, info) in enumerate(raw):
            symbol = info >> 32
            if symbol >= len(symbols):
                raise BadObject(
                    f"section {section.name}: relocation {number}: there is no symbol {symbol}"
                )
            yield Rel(offset, symbol, info & 0xFFFFFFFF), symbols[symbol]


def _file_header(data: bytes) -> dict[str, int]:
    if data[:4] != b"\x7fELF":
        raise BadObject(
            "not an ELF file",
            hint="expected a BPF object, as `clang -target bpf -c` writes, or an lskel bundle",
        )
    if data[4:5] != b"\x02":
        raise BadObject("not an ELF64 file", hint="BPF objects are 64-bit")
    if data[5:6] not in (b"\x01", b"\x02"):
        raise BadObject(f"byte order {data[5:6].hex() or '?'} in the ELF header is unknown")
    try:
        structs = ELFStructs(little_endian=data[5] == 1, elfclass=64)
        structs.create_basic_structs()
        header = struct_parse(structs.Elf_Ehdr, io.BytesIO(data), 0)
    except ELFError as error:
        raise BadObject("the ELF header is damaged", hint="truncated file?") from error
    if header["e_type"] != "ET_REL":
        raise BadObject(f"ELF type is {header['e_type']}, not a relocatable object")
    if header["e_machine"] not in ("EM_BPF", "EM_NONE"):
        number = ENUM_E_MACHINE.get(header["e_machine"], header["e_machine"])
        raise BadObject(
            f"ELF machine is {header['e_machine']} ({number}), not BPF",
            hint="compile with `-target bpf`",
        )
    return dict(header)
