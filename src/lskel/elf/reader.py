"""Reading ELF files of either class and byte order: header, sections, strings, symbols.

`lskel.elf.object` uses it for BPF objects, `lskel.runtime.attach.elf_symbols` for probed binaries.
Skeletons that attach uprobes embed it.
"""

from __future__ import annotations

import struct
from functools import cached_property
from operator import itemgetter

from lskel.cursor import Strings, mark, unpack_table
from lskel.elf.format import (
    CLASSES,
    IDENT_SIZE,
    MAGIC,
    SHF_EXECINSTR,
    SHN_XINDEX,
    ElfRecord,
    SectionType,
)
from lskel.errors import BadObject
from lskel.light_typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator
    from typing import Any

    from lskel.cursor import ByteOrder

    Row = tuple[Any, ...]

_ORDERS: dict[int, ByteOrder] = {1: "little", 2: "big"}


class Header(NamedTuple):
    """The file header after e_ident; field names are those of the gABI, without "e_"."""

    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


class Section(NamedTuple):
    """A section header with its name; sizes and offsets in bytes."""

    number: int
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    entsize: int

    @property
    def executable(self) -> bool:
        """Whether the section has instructions."""
        return self.type == SectionType.PROGBITS and bool(self.flags & SHF_EXECINSTR)


class ElfReader:
    """An ELF file. BadObject if it is not one, or a table is outside the file.

    `hint` is for the error if it is not ELF. Names have at most `longest_name` bytes.
    """

    def __init__(
        self, data: bytes | mmap.mmap, hint: str = "", longest_name: int | None = None
    ) -> None:
        self.data = data
        self._longest_name = longest_name
        self._contents: dict[int, bytes] = {}
        self._held = 0
        if data[: len(MAGIC)] != MAGIC:
            raise BadObject("not an ELF file", hint=hint)
        ident = self._slice(0, IDENT_SIZE, "the ELF header")
        if ident[4] not in CLASSES:
            raise BadObject("neither a 32- nor a 64-bit ELF file")
        if ident[5] not in _ORDERS:
            raise BadObject(f"byte order {ident[5]:02x} in the ELF header is unknown")
        self._class = CLASSES[ident[4]]
        self.bits = self._class.bits
        self.order = _ORDERS[ident[5]]
        (fields,) = self._table(self._class.header, IDENT_SIZE, 1, "the ELF header")
        self.header = Header(*fields)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """All sections; none if the file has no section headers."""
        header, record = self.header, self._class.section
        if not header.shoff:
            return ()
        _same_size("section headers", header.shentsize, self._size(record))
        # Numbers that do not fit are in the first section header.
        (first,) = self._table(record, header.shoff, 1, "the first section header")
        count = header.shnum or first[5]
        names_at = first[6] if header.shstrndx == SHN_XINDEX else header.shstrndx
        rows = list(self._table(record, header.shoff, count, f"the {count} section headers"))
        if names_at >= count:
            raise BadObject(f"section names are in section {names_at} of {count}")
        what = "the section names"
        _, _, _, _, at, size, *_ = rows[names_at]
        names = Strings(self._slice(at, size, what), what, self._longest_name)
        return tuple(
            Section(number, names[name], kind, flags, address, at, size, link, info, entsize)
            for number, (name, kind, flags, address, at, size, link, info, _, entsize) in enumerate(
                rows
            )
        )

    def section(self, name: str) -> Section | None:
        """The first section of this name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Section]:
        return {section.name: section for section in reversed(self.sections)}

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

    def strings_of(self, table: Section) -> bytes:
        """The string table of a symbol table."""
        if table.link >= len(self.sections):
            raise BadObject(f"section {table.name}: its strings are in section {table.link}")
        return self.content(self.sections[table.link])

    def symbol_names(self, table: Section) -> Strings:
        """The names of a symbol table, by offset."""
        return Strings(self.strings_of(table), "the symbol names", self._longest_name)

    def symbol_rows(self, table: Section) -> Iterator[Row]:
        """The symbols of a table: st_name, st_info, st_other, st_shndx, st_value, st_size."""
        return self._entries(table, self._class.symbol)

    def _entries(self, table: Section, record: ElfRecord) -> Iterator[Row]:
        """The records of a section."""
        _same_size(f"section {table.name}: entries", table.entsize, self._size(record))
        return self._rows(record, self.content(table), f"section {table.name}")

    def _table(self, record: ElfRecord, offset: int, count: int, what: str) -> Iterator[Row]:
        """`count` records at an offset in the file."""
        return self._rows(record, self._slice(offset, count * self._size(record), what), what)

    def _rows(self, record: ElfRecord, data: bytes, what: str) -> Iterator[Row]:
        rows = unpack_table(record.format, data, self.order, what)
        return map(itemgetter(*record.fields), rows) if record.fields else rows

    def _size(self, record: ElfRecord) -> int:
        return struct.calcsize(mark(self.order) + record.format)

    def _slice(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self.data):
            raise BadObject(
                f"{what}: {offset:#x}+{size:#x} is outside the file of {len(self.data):#x} bytes",
                hint="truncated file?",
            )
        return self.data[offset : offset + size]


def _same_size(what: str, size: int, expected: int) -> None:
    if size != expected:
        raise BadObject(f"{what} of {size} bytes, expected {expected}")
