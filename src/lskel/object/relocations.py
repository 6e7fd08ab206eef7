"""Resolving ELF relocations of code: maps, global data, subprograms, externs and jump tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.enums import MapType
from lskel.bpf.insn import CallKind, Insn
from lskel.catalog.map_types import ARENA_SECTION
from lskel.cursor import unpack_table
from lskel.elf.format import SHN_LORESERVE, Bind, SectionType, SymbolType
from lskel.elf.object import Elf, Rel, Symbol
from lskel.elf.reader import Section
from lskel.errors import BadObject, NotSupported, at
from lskel.object.data import data_kind
from lskel.object.externs import KCONFIG
from lskel.object.functions import TEXT, FunctionLayout, FunctionRange
from lskel.object.legacy import SECTION as LEGACY_MAPS
from lskel.object.maps import SECTION as MAPS
from lskel.object.model import (
    CallRef,
    DataRef,
    Extern,
    ExternKind,
    ExternRef,
    FuncRef,
    JumpTableRef,
    MapRef,
    MapSpec,
    Relocation,
)

# Where LLVM puts the targets of `gotox`, of instruction set v4: offsets in the section of the code.
JUMP_TABLES = ".jumptables"
_ENTRY_SIZE = 8
_RELOCATIONS = (SectionType.REL, SectionType.RELA)


class Resolver:
    """Resolves relocations against the maps and externs of one object."""

    def __init__(
        self,
        elf: Elf,
        layout: FunctionLayout,
        maps: Sequence[MapSpec],
        externs: Mapping[int, Extern],
    ) -> None:
        """`externs` are by symbol index."""
        self._elf = elf
        self._layout = layout
        self._maps = {(m.section, m.offset): index for index, m in enumerate(maps)}
        arenas = (index for index, m in enumerate(maps) if m.type == MapType.ARENA)
        self._arena = next(arenas, None)
        self._externs = externs
        self._numbers = {symbol: number for number, symbol in enumerate(externs)}
        self._tables: dict[tuple[int, int, int], tuple[int, ...]] = {}
        section = elf.section(JUMP_TABLES)
        self._entries = budget.Allowance(
            budget.JUMP_TABLES * (section.size if section else 0), "bytes of jump tables"
        )

    def collect(self) -> dict[tuple[int, int], tuple[Relocation, ...]]:
        """Relocations by (section index, start) of the function, ascending by instruction."""
        found: dict[tuple[int, int], list[Relocation]] = {}
        sections = self._elf.sections
        for table in sections:
            if table.type not in _RELOCATIONS or table.info >= len(sections):
                continue
            section = sections[table.info]
            if not section.executable:
                continue
            if table.type == SectionType.RELA:
                raise NotSupported(
                    f"section {table.name}: RELA relocations are not supported for BPF"
                )
            code = self._elf.content(section)
            for rel, symbol in self._elf.relocations(table):
                where = f"relocation at {rel.offset:#x} against '{self._name(symbol)}'"
                with at(f"section {section.name}", where):
                    if rel.offset % i.SIZE or rel.offset >= len(code):
                        raise BadObject("no instruction at this offset")
                    place = self._layout.find(section.number, rel.offset // i.SIZE)
                    # Relocations remain when a weak function is replaced by another one.
                    if place is not None:
                        key = (section.number, place.start)
                        found.setdefault(key, []).append(self._resolve(code, place, rel, symbol))
        return {
            key: tuple(sorted(relocations, key=lambda r: r.insn))
            for key, relocations in found.items()
        }

    def _name(self, symbol: Symbol) -> str:
        if symbol.type == SymbolType.SECTION and symbol.section < len(self._elf.sections):
            return self._elf.sections[symbol.section].name
        return symbol.name

    def _resolve(self, code: bytes, place: FunctionRange, rel: Rel, symbol: Symbol) -> Relocation:
        index = rel.offset // i.SIZE
        insn = i.read(code, index, self._elf.order)
        local = index - place.start
        if insn.op != i.OP_CALL and not i.is_wide(insn):
            raise BadObject(
                f"instruction {local} of '{place.symbol.name}' (opcode {insn.op:#04x}) is neither "
                "a call nor a 64-bit load"
            )
        if i.is_wide(insn) and index + 1 >= place.end:
            raise BadObject(f"the 64-bit load at the end of '{place.symbol.name}' is cut off")
        if symbol.is_extern:
            return self._extern(insn, local, symbol)
        section = self._section(symbol)
        if insn.op == i.OP_CALL:
            return self._call(insn, local, section, symbol)
        if section.name == TEXT and section.executable:
            return self._function_address(insn, local, symbol)
        if section.name in (MAPS, LEGACY_MAPS):
            found = self._maps.get((section.name, symbol.value))
            if found is None:
                raise BadObject(
                    f"no map at {symbol.value:#x} of {section.name}",
                    hint="is the map declared `static`?",
                )
            return MapRef(local, found)
        if section.name == ARENA_SECTION and self._arena is not None:
            return DataRef(local, self._arena, symbol.value + insn.imm)
        if section.name == JUMP_TABLES:
            return self._jump_table(insn, local, section, symbol)
        if data_kind(section) is None:
            raise BadObject(f"section {section.name} has neither maps nor global data")
        return DataRef(local, self._maps[section.name, 0], symbol.value + insn.imm)

    def _jump_table(self, insn: Insn, local: int, section: Section, symbol: Symbol) -> Relocation:
        start, size = symbol.value, symbol.size
        if not size or size % _ENTRY_SIZE or start % _ENTRY_SIZE:
            raise BadObject(
                f"{start:#x}+{size:#x} of {JUMP_TABLES} is not a table of {_ENTRY_SIZE}-byte "
                "entries",
                hint="in assembly: `.size TABLE, . - TABLE` after its last entry",
            )
        if start + size > section.size:
            raise BadObject(
                f"{start:#x}+{size:#x} is outside the {section.size:#x} bytes of {JUMP_TABLES}"
            )
        if not 0 <= insn.imm < size or insn.imm % _ENTRY_SIZE:
            raise BadObject(f"no entry at {insn.imm:#x} of a jump table of {size:#x} bytes")
        key = (section.number, start, size)
        if key not in self._tables:
            self._entries.spend(size)
            content = self._elf.content(section)[start : start + size]
            entries = [at for (at,) in unpack_table("Q", content, self._elf.order, JUMP_TABLES)]
            if wrong := next((at for at in entries if at % i.SIZE), 0):
                raise BadObject(f"the entry {wrong:#x} of {JUMP_TABLES} is not an instruction")
            self._tables[key] = tuple(at // i.SIZE for at in entries)
        return JumpTableRef(local, start, self._tables[key], insn.imm)

    def _extern(self, insn: Insn, local: int, symbol: Symbol) -> Relocation:
        extern = self._externs.get(symbol.number)
        if extern is None:
            raise BadObject("unresolved extern")
        is_call = insn.op == i.OP_CALL
        if is_call and extern.kind is not ExternKind.KFUNC:
            raise BadObject(f"call of a {extern.kind.value}, which is not a function")
        if extern.kconfig is not None:
            return DataRef(local, self._maps[KCONFIG, 0], extern.kconfig.offset)
        return ExternRef(local, self._numbers[symbol.number], is_call)

    def _section(self, symbol: Symbol) -> Section:
        if not 0 < symbol.section < min(len(self._elf.sections), SHN_LORESERVE):
            raise BadObject(
                f"the symbol is in special section {symbol.section:#x}",
                hint="is it a global variable without initial value? compile with -fno-common",
            )
        return self._elf.sections[symbol.section]

    def _call(self, insn: Insn, local: int, section: Section, symbol: Symbol) -> Relocation:
        if insn.src != CallKind.SUBPROGRAM:
            raise BadObject("a helper call cannot be relocated")
        if section.name != TEXT:
            raise BadObject(
                f"calls into section {section.name}",
                hint="subprograms must be in .text: declare them without SEC()",
            )
        # Calls of static functions refer to the section symbol, with the offset as immediate.
        return CallRef(local, self._function(symbol.value + (insn.imm + 1) * i.SIZE))

    def _function_address(self, insn: Insn, local: int, symbol: Symbol) -> Relocation:
        is_section = symbol.type == SymbolType.SECTION and symbol.bind == Bind.LOCAL
        if not (is_section or symbol.type == SymbolType.FUNC):
            raise BadObject("not the address of a function")
        # Static functions: the section symbol, and the function's offset as immediate.
        return FuncRef(local, self._function(symbol.value + insn.imm))

    def _function(self, offset: int) -> int:
        text = self._elf.section(TEXT)
        place = self._layout.find(text.number, offset // i.SIZE) if text else None
        if place is None or place.start * i.SIZE != offset:
            raise BadObject(f"no function starts at {offset:#x} of {TEXT}")
        return place.start
