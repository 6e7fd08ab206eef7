"""Builder of minimal BPF ELF64 relocatable objects, in either byte order.

``bytes(elf)`` is a valid object laid out the way clang does it (one string table, local symbols
first). To make exactly one thing wrong, change one field of one header::

    bytes(one_program())  # valid
    bytes(one_program().changed(".symtab", entsize=25))
    bytes(one_program().changed("license", fields={"sh_offset": 1 << 40}))
    bytes(replace(one_program(), header={"e_machine": 62}))

Source: the ELF-64 object file format; EM_BPF and R_BPF_* in Documentation/bpf/llvm_reloc.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag
from typing import Any

from lskel.cursor import ByteOrder, mark

EM_BPF = 247
ET_REL = 1


class SectionType(IntEnum):
    """sh_type: SHT_*."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    NOBITS = 8
    REL = 9


class SectionFlag(IntFlag):
    """sh_flags: SHF_*."""

    WRITE = 1
    ALLOC = 2
    EXECINSTR = 4
    INFO_LINK = 0x40


class Bind(IntEnum):
    """The upper half of st_info: STB_*."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


class SymbolType(IntEnum):
    """The lower half of st_info: STT_*."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4


class Shndx(IntEnum):
    """The special values of st_shndx."""

    UNDEF = 0
    ABS = 0xFFF1
    COMMON = 0xFFF2


class Visibility(IntEnum):
    """st_other: STV_*."""

    DEFAULT = 0
    HIDDEN = 2


class Reloc(IntEnum):
    """Relocation types: R_BPF_*."""

    INSN_64 = 1  # R_BPF_64_64: the immediate of ld_imm64
    ABS_64 = 2
    ABS_32 = 3
    NODYLD_32 = 4
    INSN_32 = 10  # R_BPF_64_32: the immediate of a call


# Field names and struct formats of the records, in file order.
_EHDR = {
    "e_ident": "16s",
    "e_type": "H",
    "e_machine": "H",
    "e_version": "I",
    "e_entry": "Q",
    "e_phoff": "Q",
    "e_shoff": "Q",
    "e_flags": "I",
    "e_ehsize": "H",
    "e_phentsize": "H",
    "e_phnum": "H",
    "e_shentsize": "H",
    "e_shnum": "H",
    "e_shstrndx": "H",
}
_SHDR = {
    "sh_name": "I",
    "sh_type": "I",
    "sh_flags": "Q",
    "sh_addr": "Q",
    "sh_offset": "Q",
    "sh_size": "Q",
    "sh_link": "I",
    "sh_info": "I",
    "sh_addralign": "Q",
    "sh_entsize": "Q",
}
_SYM = {
    "st_name": "I",
    "st_info": "B",
    "st_other": "B",
    "st_shndx": "H",
    "st_value": "Q",
    "st_size": "Q",
}
_REL = {"r_offset": "Q", "r_info": "Q"}

EHDR_SIZE = 64
SHDR_SIZE = 64
SYM_SIZE = 24
REL_SIZE = 16


def _pack(form: Mapping[str, str], order: ByteOrder, values: Mapping[str, Any]) -> bytes:
    assert form.keys() == values.keys(), form.keys() ^ values.keys()
    return struct.pack(mark(order) + "".join(form.values()), *(values[name] for name in form))


@dataclass(frozen=True, slots=True)
class Section:
    """A section; `fields` overrides raw fields of its header (``sh_size``, ``sh_offset``, ...).

    `link` is the index or the name of a section.
    """

    name: str
    data: bytes = b""
    type: int = SectionType.PROGBITS
    flags: int = 0
    link: int | str = 0
    info: int = 0
    entsize: int = 0
    align: int = 1
    fields: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol; `section` is an index or a name; `fields` overrides raw fields (``st_*``)."""

    name: str
    section: int | str = Shndx.UNDEF
    value: int = 0
    size: int = 0
    bind: int = Bind.GLOBAL
    type: int = SymbolType.NOTYPE
    other: int = Visibility.DEFAULT
    fields: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rel:
    """A relocation of byte `offset` of `section`, against a symbol by index or by name.

    A section's own symbol (`section_symbol`) goes by the name of its section.
    """

    section: str
    offset: int
    symbol: int | str
    type: int = Reloc.INSN_64
    fields: Mapping[str, int] = field(default_factory=dict)


def program_section(name: str, code: bytes) -> Section:
    """A section of instructions."""
    flags = SectionFlag.ALLOC | SectionFlag.EXECINSTR
    return Section(name, code, flags=flags, align=8)


def data_section(name: str, data: bytes, *, writable: bool = True, align: int = 8) -> Section:
    """A section of variables."""
    flags = SectionFlag.ALLOC | (SectionFlag.WRITE if writable else 0)
    return Section(name, data, flags=flags, align=align)


def bss_section(name: str, size: int) -> Section:
    """A section of `size` zero bytes that the file does not hold."""
    section = replace(data_section(name, b""), type=SectionType.NOBITS)
    return replace(section, fields={"sh_size": size})


def section_symbol(section: str) -> Symbol:
    """The nameless local symbol that stands for a section."""
    return Symbol("", section, bind=Bind.LOCAL, type=SymbolType.SECTION)


class _Strings:
    """A string table under construction."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._offsets = {"": 0}

    def offset(self, text: str) -> int:
        """Where `text` begins; it is added at the first call."""
        if text not in self._offsets:
            self._offsets[text] = len(self.data)
            self.data += text.encode(errors="surrogateescape") + b"\0"
        return self._offsets[text]


@dataclass(frozen=True, slots=True)
class Elf:
    """An object file.

    ``.strtab`` comes before `sections`; behind them come one REL section for each section that
    `rels` name, and ``.symtab``. `header` overrides raw fields of the ELF header (``e_*``);
    `changes` holds, by section name, what `changed` was told.
    """

    sections: tuple[Section, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    rels: tuple[Rel, ...] = ()
    order: ByteOrder = "little"
    header: Mapping[str, int | bytes] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def adding(
        self,
        *sections: Section,
        symbols: Iterable[Symbol] = (),
        rels: Iterable[Rel] = (),
    ) -> Elf:
        """The same with more in it."""
        return replace(
            self,
            sections=(*self.sections, *sections),
            symbols=(*self.symbols, *symbols),
            rels=(*self.rels, *rels),
        )

    def changed(self, section: str, **attributes: Any) -> Elf:
        """The same with other attributes of one `Section`, also of one that the builder adds.

        Its name, by which others refer to it, stays; ``fields={"sh_name": 0}`` hides it.
        """
        assert "name" not in attributes
        return replace(self, changes={**self.changes, section: attributes})

    def symbol_index(self, name: str) -> int:
        """The index in ``.symtab`` of a symbol, or of the section symbol of section `name`."""
        names = [
            symbol.section if symbol.type == SymbolType.SECTION else symbol.name
            for symbol in self._table()
        ]
        return 1 + names.index(name)

    def section_index(self, name: str) -> int:
        """The index of a section."""
        return [section.name for section in self.layout()].index(name)

    def layout(self) -> tuple[Section, ...]:
        """All sections in file order, the null section first; names resolved, changes applied."""
        relocated = tuple(dict.fromkeys(rel.section for rel in self.rels))
        rel_names = tuple(f".rel{name}" for name in relocated)
        strings = _Strings()
        own = tuple(section.name for section in self.sections)
        names = ("", ".strtab", *own, *rel_names, ".symtab")
        for name in names:
            strings.offset(name)
        symtab = Section(
            ".symtab",
            self._symtab(names, strings),
            type=SectionType.SYMTAB,
            link=".strtab",
            info=1 + sum(symbol.bind == Bind.LOCAL for symbol in self.symbols),
            entsize=SYM_SIZE,
            align=8,
        )
        rels = tuple(
            Section(
                rel_name,
                self._rel_table(name),
                type=SectionType.REL,
                flags=SectionFlag.INFO_LINK,
                link=".symtab",
                info=names.index(name),
                entsize=REL_SIZE,
                align=8,
            )
            for name, rel_name in zip(relocated, rel_names, strict=True)
        )
        strtab = Section(".strtab", bytes(strings.data), type=SectionType.STRTAB)
        null = Section("", type=SectionType.NULL, align=0)
        sections = (null, strtab, *self.sections, *rels, symtab)
        unknown = self.changes.keys() - set(names)
        assert not unknown, f"changes of sections that do not exist: {unknown}"
        changed = (replace(s, **self.changes.get(s.name, {})) for s in sections)
        return tuple(
            replace(s, fields={"sh_name": strings.offset(s.name), **s.fields}) for s in changed
        )

    def __bytes__(self) -> bytes:
        """The file."""
        sections = self.layout()
        names = [section.name for section in sections]
        body = bytearray(EHDR_SIZE)
        headers = []
        for section in sections:
            body += bytes(-len(body) % max(section.align, 1))
            values = {
                "sh_name": 0,
                "sh_type": section.type,
                "sh_flags": section.flags,
                "sh_addr": 0,
                "sh_offset": len(body) if section.name else 0,
                "sh_size": len(section.data),
                "sh_link": _index(section.link, names),
                "sh_info": section.info,
                "sh_addralign": section.align,
                "sh_entsize": section.entsize,
            }
            headers.append(_pack(_SHDR, self.order, {**values, **section.fields}))
            body += section.data
        body += bytes(-len(body) % 8)
        header = {
            "e_ident": b"\x7fELF\x02" + (b"\x01" if self.order == "little" else b"\x02") + b"\x01",
            "e_type": ET_REL,
            "e_machine": EM_BPF,
            "e_version": 1,
            "e_entry": 0,
            "e_phoff": 0,
            "e_shoff": len(body),
            "e_flags": 0,
            "e_ehsize": EHDR_SIZE,
            "e_phentsize": 0,
            "e_phnum": 0,
            "e_shentsize": SHDR_SIZE,
            "e_shnum": len(sections),
            "e_shstrndx": names.index(".strtab"),
        }
        body[:EHDR_SIZE] = _pack(_EHDR, self.order, {**header, **self.header})
        return bytes(body) + b"".join(headers)

    def _table(self) -> list[Symbol]:
        """The symbols without the null symbol, locals first as ELF wants it."""
        return sorted(self.symbols, key=lambda symbol: symbol.bind != Bind.LOCAL)

    def _symtab(self, sections: Sequence[str], strings: _Strings) -> bytes:
        table = bytearray(SYM_SIZE)
        for symbol in self._table():
            values = {
                "st_name": strings.offset(symbol.name),
                "st_info": symbol.bind << 4 | symbol.type,
                "st_other": symbol.other,
                "st_shndx": _index(symbol.section, sections),
                "st_value": symbol.value,
                "st_size": symbol.size,
            }
            table += _pack(_SYM, self.order, {**values, **symbol.fields})
        return bytes(table)

    def _rel_table(self, section: str) -> bytes:
        table = b""
        for rel in (rel for rel in self.rels if rel.section == section):
            symbol = self.symbol_index(rel.symbol) if isinstance(rel.symbol, str) else rel.symbol
            values = {"r_offset": rel.offset, "r_info": symbol << 32 | rel.type}
            table += _pack(_REL, self.order, {**values, **rel.fields})
        return table


def _index(section: int | str, names: Sequence[str]) -> int:
    return names.index(section) if isinstance(section, str) else section


# r0 = 0; exit: the same bytes in either order.
RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")


def one_program(
    section: str = "raw_tp/sys_enter",
    *,
    name: str = "prog",
    code: bytes = RETURN_0,
    licence: bytes = b"GPL\0",
    order: ByteOrder = "little",
) -> Elf:
    """A valid object of one program; no BTF."""
    return Elf(
        sections=(
            program_section(section, code),
            data_section("license", licence, align=1),
        ),
        symbols=(
            Symbol(name, section, size=len(code), type=SymbolType.FUNC),
            Symbol("_license", "license", size=len(licence), type=SymbolType.OBJECT),
        ),
        order=order,
    )
