"""The ELF format: structures of both classes, and their constants.

Source: the gABI (System V ABI, chapters 4 and 5).
"""

from __future__ import annotations

from enum import IntEnum

from lskel.light_typing import NamedTuple

MAGIC = b"\x7fELF"
IDENT_SIZE = 16

SHN_UNDEF = 0
SHN_LORESERVE = 0xFF00
SHN_XINDEX = 0xFFFF
SHF_EXECINSTR = 4
PT_LOAD = 1


class FileType(IntEnum):
    """e_type."""

    ET_NONE = 0
    ET_REL = 1
    ET_EXEC = 2
    ET_DYN = 3
    ET_CORE = 4


class ElfMachine(IntEnum):
    """e_machine, for machines that Linux supports."""

    EM_NONE = 0
    EM_SPARC = 2
    EM_386 = 3
    EM_68K = 4
    EM_MIPS = 8
    EM_PARISC = 15
    EM_PPC = 20
    EM_PPC64 = 21
    EM_S390 = 22
    EM_ARM = 40
    EM_SPARCV9 = 43
    EM_X86_64 = 62
    EM_AARCH64 = 183
    EM_RISCV = 243
    EM_BPF = 247
    EM_LOONGARCH = 258


class SectionType(IntEnum):
    """sh_type: SHT_*."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    NOTE = 7
    NOBITS = 8
    REL = 9
    DYNSYM = 11
    GNU_VERDEF = 0x6FFFFFFD
    GNU_VERSYM = 0x6FFFFFFF


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
    GNU_IFUNC = 10


class Visibility(IntEnum):
    """st_other: STV_*."""

    DEFAULT = 0
    INTERNAL = 1
    HIDDEN = 2
    PROTECTED = 3


class ElfRecord(NamedTuple):
    """A structure for module `struct`; `fields` if its order differs from ELF64.

    They are the positions of the ELF64 fields, in ELF64 order.
    """

    format: str
    fields: tuple[int, ...] = ()


class ElfClass(NamedTuple):
    """The differences between 32 and 64 bits."""

    bits: int
    header: ElfRecord
    segment: ElfRecord
    section: ElfRecord
    symbol: ElfRecord


#: By EI_CLASS.
CLASSES = {
    1: ElfClass(
        32,
        ElfRecord("HHIIIIIHHHHHH"),
        ElfRecord("8I", (0, 6, 1, 2, 3, 4, 5, 7)),
        ElfRecord("10I"),
        ElfRecord("IIIBBH", (0, 3, 4, 5, 1, 2)),
    ),
    2: ElfClass(
        64,
        ElfRecord("HHIQQQIHHHHHH"),
        ElfRecord("IIQQQQQQ"),
        ElfRecord("IIQQQQIIQQ"),
        ElfRecord("IBBHQQ"),
    ),
}
