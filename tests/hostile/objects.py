"""Objects of a given size that say as much as they can: each thing of which there may be many.

Each builder takes about how many bytes the file may have. Every object is right in its form, so
that what it costs is not cut short by an error at its first byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

from lskel.bpf import insn as i
from lskel.bpf.enums import MapType
from lskel.bpf.insn import CallKind, Insn
from lskel.btf.types import FuncLinkage, IntEncoding, TypeId, VarLinkage
from tests.build.btf import BtfBuilder
from tests.build.elf import (
    RETURN_0,
    SYM_SIZE,
    Elf,
    Rel,
    Reloc,
    Section,
    Symbol,
    SymbolType,
    bss_section,
    data_section,
    program_section,
)

SECTION = "raw_tp/sys_enter"
EXIT = Insn(i.OP_EXIT).encode("little")
MOV = Insn(i.ALU64 | i.MOV | i.K).encode("little")
LOAD = Insn(i.OP_LD_IMM64, 1).encode("little") + Insn(0).encode("little")
KFUNC = Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=-1).encode("little")
LICENSE = data_section("license", b"GPL\0", align=1)


def call(distance: int) -> bytes:
    """A call of a subprogram `distance` instructions on."""
    return Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=distance).encode("little")


def _elf(
    sections: Iterable[Section], symbols: Iterable[Symbol] = (), rels: Iterable[Rel] = ()
) -> bytes:
    return bytes(Elf((LICENSE, *sections), tuple(symbols), tuple(rels)))


def _btf(builder: BtfBuilder) -> Section:
    return Section(".BTF", builder.bytes())


def function(name: str, section: int | str, at: int, size: int) -> Symbol:
    """A global function."""
    return Symbol(name, section, at, size, type=SymbolType.FUNC)


def _programs(code: bytes, count: int, section: int | str = 3) -> tuple[Section, list[Symbol]]:
    """So many programs of the same code in one section, which is number 3 by default."""
    size = len(code)
    symbols = [function(f"p{n}", section, n * size, size) for n in range(count)]
    return program_section(SECTION, code * count), symbols


def ext(
    btf: BtfBuilder,
    funcs: dict[str, list[tuple[int, int]]],
    lines: dict[str, list[tuple[int, int, int, int]]] | None = None,
    relos: dict[str, list[tuple[int, int, int, int]]] | None = None,
) -> Section:
    """.BTF.ext of these records by section."""
    tables = []
    for size, table in ((8, funcs), (16, lines or {}), (16, relos or {})):
        raw = struct.pack("<I", size) if table else b""
        for name, records in table.items():
            raw += struct.pack("<II", btf.string(name), len(records))
            raw += b"".join(struct.pack(f"<{size // 4}I", *record) for record in records)
        tables.append(raw)
    places, end = [], 0
    for raw in tables:
        places += [end, len(raw)]
        end += len(raw)
    header = struct.pack("<HBBI", 0xEB9F, 1, 0, 32) + struct.pack("<6I", *places)
    return Section(".BTF.ext", header + b"".join(tables))


# -- code ---------------------------------------------------------------------------------------


def shared_subprograms(size: int) -> bytes:
    """Half of it is subprograms, which all programs call."""
    body = MOV * 255 + EXIT
    subprograms = max(size // 2 // len(body), 1)
    text = b"".join(
        (call(255) if n + 1 < subprograms else MOV) + body[8:] for n in range(subprograms)
    )
    count = size // 2 // 64
    section, symbols = _programs(call(-1) + EXIT, count, 4)
    symbols += [function(f"s{n}", 3, n * len(body), len(body)) for n in range(subprograms)]
    # As clang does it: a relocation names the function, the immediate is -1.
    target = count + 1
    rels = (Rel(SECTION, 16 * n, target, Reloc.INSN_32) for n in range(count))
    return _elf([program_section(".text", text), section], symbols, rels)


def calls_in_subprograms(size: int) -> bytes:
    """Small subprograms, each of which calls all the next ones: a program reaches all of them."""
    each = 64
    subprograms = size // 2 // (each * 8 + 32)
    text = b""
    for n in range(subprograms):
        ahead = [min(n + 1 + k, subprograms - 1) - n for k in range(each - 1)]
        text += b"".join(call(d * each - k - 1) for k, d in enumerate(ahead)) + EXIT
    count = size // 2 // 64
    section, symbols = _programs(call(-1) + EXIT, count, 4)
    symbols += [function(f"s{n}", 3, n * each * 8, each * 8) for n in range(subprograms)]
    rels = (Rel(SECTION, 16 * n, count + 1, Reloc.INSN_32) for n in range(count))
    return _elf([program_section(".text", text), section], symbols, rels)


def shared_records(size: int) -> bytes:
    """A short subprogram with very many lines, all of one instruction, which all programs call."""
    btf = BtfBuilder()
    proto = btf.add_func_proto(btf.add_int("int", 4, IntEncoding.SIGNED))
    sub = btf.add_func("s0", proto)
    lines = size // 2 // 16
    count = size // 2 // 120
    mains = [btf.add_func(f"p{n}", proto) for n in range(count)]
    text, file = btf.string("return 0;"), btf.string("a.c")
    section, symbols = _programs(call(-1) + EXIT, count, 4)
    symbols.append(function("s0", 3, 0, len(RETURN_0)))
    rels = (Rel(SECTION, 16 * n, count + 1, Reloc.INSN_32) for n in range(count))
    info = ext(
        btf,
        {".text": [(0, sub)], SECTION: [(16 * n, mains[n]) for n in range(count)]},
        {
            ".text": [(0, file, text, k << 10) for k in range(lines)],
            SECTION: [(16 * n, file, text, 1) for n in range(count)],
        },
    )
    return _elf([program_section(".text", RETURN_0), section, _btf(btf), info], symbols, rels)


def many_programs(size: int) -> bytes:
    """As many programs as fit."""
    section, symbols = _programs(RETURN_0, size // (len(RETURN_0) + SYM_SIZE + 8))
    return _elf([section], symbols)


def untyped_programs(size: int) -> bytes:
    """As many programs as fit, whose type nothing says: none can be loaded."""
    count = size // (16 + SYM_SIZE + 8)
    symbols = [function(f"p{n}", 3, 16 * n, 16) for n in range(count)]
    return _elf([program_section("unknown", RETURN_0 * count)], symbols)


def broken_programs(size: int) -> bytes:
    """Programs that cannot be loaded, beside as many maps, with a large BTF."""
    btf = BtfBuilder()
    sections, symbols = _maps(btf, size // 400, 4)
    count = size // 200
    symbols += [function(f"p{n}", 3, 16 * n, 16) for n in range(count)]
    return _elf([program_section("unknown", RETURN_0 * count), *sections, _btf(btf)], symbols)


def symbols_at_one_address(size: int) -> bytes:
    """Symbols without a type, all at one address, with one name."""
    section, symbols = _programs(RETURN_0, 1)
    symbols += [Symbol("x", 3, 0)] * (size // SYM_SIZE)
    return _elf([section], symbols)


def aliases(size: int) -> bytes:
    """Many names for one long program."""
    code = MOV * (size // 16) + RETURN_0
    names = (f"p{n}" for n in range(size // 48))
    symbols = [function(name, 3, 0, len(code)) for name in names]
    return _elf([program_section(SECTION, code)], symbols)


def long_names(size: int) -> bytes:
    """Programs that share one long name."""
    name = "n" * (size // 2)
    count = size // 2 // 40
    symbols = [function(name, 3, 16 * n, 16) for n in range(count)]
    return _elf([program_section(SECTION, RETURN_0 * count)], symbols)


def relocations(size: int) -> bytes:
    """One program of nothing but loads of one map, each with its relocation."""
    btf = BtfBuilder()
    sections, symbols = _maps(btf, 1, 4)
    count = size // 32
    code = LOAD * count + RETURN_0
    symbols.append(function("p", 3, 0, len(code)))
    rels = (Rel(SECTION, 16 * n, 1) for n in range(count))
    return _elf([program_section(SECTION, code), *sections, _btf(btf)], symbols, rels)


def variables_in_code(size: int) -> bytes:
    """Loads of the addresses of variables of one section, of which there are many."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4, IntEncoding.SIGNED)
    count = size // 120
    variables = [btf.add_var(f"v{n}", number, VarLinkage.STATIC) for n in range(count)]
    btf.add_datasec(".bss", 4 * count, [(v, 4 * n, 4) for n, v in enumerate(variables)])
    loads = b"".join(
        Insn(i.OP_LD_IMM64, 1, imm=4 * n).encode("little") + bytes(8) for n in range(count)
    )
    code = loads + RETURN_0
    symbols = [Symbol("base", 4, type=SymbolType.OBJECT), function("p", 3, 0, len(code))]
    rels = (Rel(SECTION, 16 * n, 1) for n in range(count))
    sections = [program_section(SECTION, code), bss_section(".bss", 4 * count), _btf(btf)]
    return _elf(sections, symbols, rels)


def long_program(size: int) -> bytes:
    """One program of as many instructions as fit."""
    code = MOV * (size // 8 - 2) + EXIT
    return _elf([program_section(SECTION, code)], [function("p", 3, 0, len(code))])


def kfuncs(size: int) -> bytes:
    """Programs that call kfuncs, all of them different."""
    btf = BtfBuilder()
    proto = btf.add_func_proto(btf.add_int("int", 4, IntEncoding.SIGNED))
    count = size // 90
    found = [btf.add_func(f"k{n}", proto, FuncLinkage.EXTERN) for n in range(count)]
    btf.add_datasec(".ksyms", 0, [(f, 0, 0) for f in found])
    code = KFUNC * count + RETURN_0
    symbols = [Symbol(f"k{n}") for n in range(count)]
    symbols.append(function("p", 3, 0, len(code)))
    rels = (Rel(SECTION, 8 * n, 1 + n, Reloc.INSN_32) for n in range(count))
    return _elf([program_section(SECTION, code), _btf(btf)], symbols, rels)


def shared_kfuncs(size: int) -> bytes:
    """Programs that all call a subprogram, which calls many kfuncs."""
    btf = BtfBuilder()
    proto = btf.add_func_proto(btf.add_int("int", 4, IntEncoding.SIGNED))
    count = size // 2 // 90
    found = [btf.add_func(f"k{n}", proto, FuncLinkage.EXTERN) for n in range(count)]
    btf.add_datasec(".ksyms", 0, [(f, 0, 0) for f in found])
    text = KFUNC * count + RETURN_0
    programs = size // 2 // 64
    section, symbols = _programs(call(-1) + EXIT, programs, 4)
    symbols += [function("s", 3, 0, len(text)), *(Symbol(f"k{n}") for n in range(count))]
    rels = [Rel(SECTION, 16 * n, programs + 1, Reloc.INSN_32) for n in range(programs)]
    rels += [Rel(".text", 8 * n, programs + 2 + n, Reloc.INSN_32) for n in range(count)]
    return _elf([program_section(".text", text), section, _btf(btf)], symbols, rels)


# -- sections -----------------------------------------------------------------------------------


def many_sections(size: int) -> bytes:
    """As many sections as fit."""
    section, symbols = _programs(RETURN_0, 1)
    more = [Section(f"s{n}", b"\0") for n in range(min(size // 72, 0xFE00))]
    return _elf([section, *more], symbols)


def many_data_sections(size: int) -> bytes:
    """As many sections of data as fit, each of which becomes a map."""
    section, symbols = _programs(RETURN_0, 1)
    more = [bss_section(f".bss.s{n}", 8) for n in range(min(size // 74, 0xFE00))]
    return _elf([section, *more], symbols)


def many_program_sections(size: int) -> bytes:
    """As many sections of one program as fit."""
    count = min(size // (64 + 16 + SYM_SIZE + 16), 0xFE00)
    sections = [program_section(f"tracepoint/a/{n}", RETURN_0) for n in range(count)]
    symbols = [function(f"p{n}", 3 + n, 0, 16) for n in range(count)]
    return _elf(sections, symbols)


# -- maps ---------------------------------------------------------------------------------------


def _number(btf: BtfBuilder, integer: int, value: int) -> int:
    return btf.add_ptr(btf.add_array(integer, value, integer))


def _map_struct(
    btf: BtfBuilder, type_: int = MapType.ARRAY, more: Iterable[tuple[str, int]] = ()
) -> int:
    integer = btf.add_int("int", 4, IntEncoding.SIGNED)
    fields = [
        ("type", _number(btf, integer, type_)),
        ("max_entries", _number(btf, integer, 1)),
        ("key_size", _number(btf, integer, 4)),
        ("value_size", _number(btf, integer, 4)),
        *more,
    ]
    members = [(name, kind, 64 * n) for n, (name, kind) in enumerate(fields)]
    return btf.add_struct("", 8 * len(fields), members)


def _maps(
    btf: BtfBuilder, count: int, section: int, struct_id: int | None = None, size: int = 32
) -> tuple[list[Section], list[Symbol]]:
    kind = _map_struct(btf) if struct_id is None else struct_id
    variables = [btf.add_var(f"m{n}", kind) for n in range(count)]
    btf.add_datasec(".maps", size * count, [(v, size * n, size) for n, v in enumerate(variables)])
    symbols = [
        Symbol(f"m{n}", section, size * n, size, type=SymbolType.OBJECT) for n in range(count)
    ]
    return [data_section(".maps", bytes(size * count))], symbols


def many_maps(size: int) -> bytes:
    """As many maps as fit."""
    btf = BtfBuilder()
    sections, symbols = _maps(btf, size // 110, 4)
    section, programs = _programs(RETURN_0, 1)
    return _elf([section, *sections, _btf(btf)], [*symbols, *programs])


def maps_of_one_struct(size: int) -> bytes:
    """Maps that share a definition of very many members."""
    btf = BtfBuilder()
    integer = btf.add_int("int", 4, IntEncoding.SIGNED)
    one = _number(btf, integer, 1)
    members = [("max_entries", one, 0)] * min(size // 2 // 12, 0xFFF0)
    kind = btf.add_struct("", 8, [*members, ("type", _number(btf, integer, 2), 0)])
    sections, symbols = _maps(btf, size // 2 // 70, 4, kind, 8)
    section, programs = _programs(RETURN_0, 1)
    return _elf([section, *sections, _btf(btf)], [*symbols, *programs])


def maps_of_maps(size: int) -> bytes:
    """Maps of maps, each of which waits for the last map of all."""
    btf = BtfBuilder()
    inner = _map_struct(btf)
    values = btf.add_array(btf.add_ptr(inner), 0)
    outer = _map_struct(btf, MapType.ARRAY_OF_MAPS, [("values", values)])
    each = 32 + 8
    count = size // 140
    variables = [btf.add_var(f"m{n}", outer) for n in range(count)]
    last = btf.add_var("z", inner)
    places = [(v, each * n, each) for n, v in enumerate(variables)]
    btf.add_datasec(".maps", each * (count + 1), [*places, (last, each * count, each)])
    symbols = [Symbol(f"m{n}", 4, each * n, each, type=SymbolType.OBJECT) for n in range(count)]
    symbols.append(Symbol("z", 4, each * count, each, type=SymbolType.OBJECT))
    section, programs = _programs(RETURN_0, 1)
    rels = (Rel(".maps", each * n + 32, count + 1, Reloc.ABS_64) for n in range(count))
    sections = [section, data_section(".maps", bytes(each * (count + 1))), _btf(btf)]
    return _elf(sections, [*symbols, *programs], rels)


def maps_of_a_datasec(size: int) -> bytes:
    """Maps whose values are a section of very many variables."""
    btf = BtfBuilder()
    number = btf.add_int("long", 8, IntEncoding.SIGNED)
    count = min(size // 3 // 28, 0xFFF0)
    variables = [btf.add_var(f"v{n}", number, VarLinkage.STATIC) for n in range(count)]
    data = btf.add_datasec(".data.x", 4, [(v, 0, 8) for v in variables])
    integer = btf.add_int("int", 4, IntEncoding.SIGNED)
    fields = [("type", _number(btf, integer, 2)), ("key", btf.add_ptr(integer))]
    fields += [("value", btf.add_ptr(data)), ("max_entries", _number(btf, integer, 1))]
    kind = btf.add_struct("", 32, [(name, k, 64 * n) for n, (name, k) in enumerate(fields)])
    sections, symbols = _maps(btf, size // 2 // 100, 4, kind)
    section, programs = _programs(RETURN_0, 1)
    return _elf([section, *sections, _btf(btf)], [*symbols, *programs])


def lifted_members(size: int) -> bytes:
    """A struct of very many unnamed members, each of one struct of very many members."""
    btf = BtfBuilder()
    integer = btf.add_int("int", 4, IntEncoding.SIGNED)
    nothing = btf.add_array(integer, 0)
    count = min(size // 32, 0xFFF0)
    inner = btf.add_struct("", 4, [(f"m{n}", nothing, 0) for n in range(count)])
    kind = btf.add_struct("outer", 4, [("", inner, 0)] * count)
    btf.add_datasec(".bss", 4, [(btf.add_var("v", kind), 0, 4)])
    section, programs = _programs(RETURN_0, 1)
    symbols = [Symbol("v", 4, 0, 4, type=SymbolType.OBJECT)]
    return _elf([section, bss_section(".bss", 4), _btf(btf)], [*symbols, *programs])


def struct_ops(size: int) -> bytes:
    """Variables of struct_ops, all at one place, that share a struct of very many members."""
    btf = BtfBuilder()
    number = btf.add_int("long", 8, IntEncoding.SIGNED)
    members = [(f"m{n}", number, 0) for n in range(min(size // 2 // 18, 0xFFF0))]
    kind = btf.add_struct("ops", 8, members)
    count = size // 2 // 40
    variables = [btf.add_var(f"v{n}", kind) for n in range(count)]
    btf.add_datasec(".struct_ops", 8, [(v, 0, 8) for v in variables])
    symbols = [Symbol("v0", 4, 0, 8, type=SymbolType.OBJECT)]
    section, programs = _programs(RETURN_0, 1)
    sections = [section, data_section(".struct_ops", bytes(8)), _btf(btf)]
    return _elf(sections, [*symbols, *programs])


def struct_ops_programs(size: int) -> bytes:
    """Variables of struct_ops, each of whose members is a program of its own."""
    btf = BtfBuilder()
    proto = btf.add_func_proto(0)
    pointer = btf.add_ptr(proto)
    each = 32
    count = size // 170 // each
    kind = btf.add_struct("ops", 8 * each, [(f"m{n}", pointer, 64 * n) for n in range(each)])
    variables = [btf.add_var(f"v{n}", kind) for n in range(count)]
    places = [(v, 8 * each * n, 8 * each) for n, v in enumerate(variables)]
    btf.add_datasec(".struct_ops", 8 * each * count, places)
    total = each * count
    symbols = [function(f"p{n}", 3, 16 * n, 16) for n in range(total)]
    symbols += [
        Symbol(f"v{n}", 4, 8 * each * n, 8 * each, type=SymbolType.OBJECT) for n in range(count)
    ]
    sections = [
        program_section("struct_ops/x", RETURN_0 * total),
        data_section(".struct_ops", bytes(8 * total)),
        _btf(btf),
    ]
    return _elf(sections, symbols, (Rel(".struct_ops", 8 * n, 1 + n, 2) for n in range(total)))


def kconfig(size: int) -> bytes:
    """As many configuration values as fit."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4, IntEncoding.SIGNED)
    count = size // 100
    variables = [btf.add_var(f"CONFIG_{n}", number, VarLinkage.GLOBAL_EXTERN) for n in range(count)]
    btf.add_datasec(".kconfig", 0, [(v, 0, 4) for v in variables])
    section, symbols = _programs(RETURN_0, 1)
    symbols += [Symbol(f"CONFIG_{n}") for n in range(count)]
    return _elf([section, _btf(btf)], symbols)


def legacy_maps_of_maps(size: int) -> bytes:
    """Maps of maps as iproute2 has them, all of which hold all the others."""
    count = size // 70
    words = [MapType.ARRAY_OF_MAPS, 4, 4, count, 0, 1, 0, 1]
    content = b"".join(struct.pack("<9I", *words, n) for n in range(count))
    symbols = [Symbol(f"m{n}", 4, 36 * n, 36, type=SymbolType.OBJECT) for n in range(count)]
    section, programs = _programs(RETURN_0, 1)
    return _elf([section, data_section("maps", content)], [*symbols, *programs])


def externs_of_one_proto(size: int) -> bytes:
    """kfuncs that share a signature of very many parameters without a name."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4, IntEncoding.SIGNED)
    proto = btf.add_func_proto(number, [("", number)] * min(size // 2 // 8, 0xFFFF))
    found = [btf.add_func(f"k{n}", proto, FuncLinkage.EXTERN) for n in range(size // 2 // 60)]
    btf.add_datasec(".ksyms", 0, [(f, 0, 0) for f in found])
    section, symbols = _programs(RETURN_0, 1)
    symbols += [Symbol(f"k{n}") for n in range(len(found))]
    return _elf([section, _btf(btf)], symbols)


def struct_ops_sections(size: int) -> bytes:
    """Sections of struct_ops of one name, each with all variables that there are."""
    btf = BtfBuilder()
    kind = btf.add_struct("ops", 0)
    variables = [btf.add_var(f"v{n}", kind) for n in range(size // 2 // 40)]
    btf.add_datasec(".struct_ops", 8, [(v, 0, 0) for v in variables])
    section, symbols = _programs(RETURN_0, 1)
    sections = [data_section(".struct_ops", bytes(8))] * (size // 2 // 72)
    return _elf([section, _btf(btf), *sections], symbols)


# -- types --------------------------------------------------------------------------------------


def _data_object(btf: BtfBuilder, variables: Sequence[tuple[int, int, int]], size: int) -> bytes:
    """An object with these variables in .bss, of so many bytes."""
    btf.add_datasec(".bss", size, variables)
    section, symbols = _programs(RETURN_0, 1)
    return _elf([section, bss_section(".bss", size), _btf(btf)], symbols)


def many_variables(size: int) -> bytes:
    """As many variables as fit a section."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4, IntEncoding.SIGNED)
    count = min(size // 36, 0xFFFF)
    variables = [btf.add_var(f"v{n}", number, VarLinkage.STATIC) for n in range(count)]
    return _data_object(btf, [(v, 4 * n, 4) for n, v in enumerate(variables)], 4 * count)


def variables_of_a_long_type(size: int) -> bytes:
    """Variables whose type takes long to say."""
    btf = BtfBuilder()
    name = "n" * (size // 4)
    number = btf.add_int(name, 4, IntEncoding.SIGNED)
    proto = btf.add_func_proto(number, [("a", number)] * 400)
    pointer = btf.add_ptr(proto)
    count = min(size // 2 // 36, 0xFFFF)
    variables = [btf.add_var(f"v{n}", pointer, VarLinkage.STATIC) for n in range(count)]
    return _data_object(btf, [(v, 8 * n, 8) for n, v in enumerate(variables)], 8 * count)


def wide_struct(size: int) -> bytes:
    """A variable of a struct with as many members as there can be."""
    btf = BtfBuilder()
    number = btf.add_int("char", 1)
    count = min(size // 19, 0xFFFF)
    kind = btf.add_struct("wide", count, [(f"m{n}", number, 8 * n) for n in range(count)])
    variable = btf.add_var("v", kind, VarLinkage.STATIC)
    return _data_object(btf, [(variable, 0, count)], count)


def wide_union(size: int) -> bytes:
    """A variable of a union with as many members as there can be, all with one long name."""
    btf = BtfBuilder()
    number = btf.add_int("char", 1)
    count = min(size // 2 // 12, 0xFFFF)
    kind = btf.add_union("wide", 1, [("m" * (size // 2), number, 0)] * count)
    variable = btf.add_var("v", kind, VarLinkage.STATIC)
    return _data_object(btf, [(variable, 0, 1)], 1)


def one_member_type(size: int) -> bytes:
    """Structs that share their members' struct, twice each: twice as much at every level."""
    btf = BtfBuilder()
    kind = btf.add_int("char", 1)
    width = 1
    for level in range(30):
        kind = btf.add_struct(f"s{level}", 2 * width, [("a", kind, 0), ("b", kind, 8 * width)])
        width *= 2
        if width >= 1 << 28:
            break
    variable = btf.add_var("v", kind, VarLinkage.STATIC)
    return _data_object(btf, [(variable, 0, width)], width)


def anonymous_members(size: int) -> bytes:
    """Anonymous structs that hold the next anonymous struct many times."""
    btf = BtfBuilder()
    number = btf.add_int("char", 1)
    kind = btf.add_union("", 1, [(f"m{n}", number, 0) for n in range(max(size // 4 // 19, 1))])
    for _ in range(8):
        kind = btf.add_union("", 1, [("", kind, 0)] * max(size // 16 // 12, 1))
    top = btf.add_union("top", 1, [("x", kind, 0)])
    variable = btf.add_var("v", top, VarLinkage.STATIC)
    return _data_object(btf, [(variable, 0, 1)], 1)


def _chain(size: int, link: Callable[[BtfBuilder, int, int], TypeId]) -> bytes:
    btf = BtfBuilder()
    kind = btf.add_int("char", 1)
    for level in range(size // 24):
        kind = link(btf, kind, level)
    variable = btf.add_var("v", kind, VarLinkage.STATIC)
    return _data_object(btf, [(variable, 0, 1)], 1)


def typedef_chain(size: int) -> bytes:
    """Typedefs of typedefs."""
    return _chain(size, lambda btf, kind, level: btf.add_typedef(f"t{level}", kind))


def const_chain(size: int) -> bytes:
    """Const of const."""
    return _chain(size, lambda btf, kind, _level: btf.add_const(kind))


def pointer_chain(size: int) -> bytes:
    """Pointers to pointers."""
    return _chain(size, lambda btf, kind, _level: btf.add_ptr(kind))


def array_chain(size: int) -> bytes:
    """Arrays of arrays."""
    return _chain(size, lambda btf, kind, _level: btf.add_array(kind, 1))


def struct_chain(size: int) -> bytes:
    """Structs in structs."""
    return _chain(
        size // 2, lambda btf, kind, level: btf.add_struct(f"s{level}", 1, [("m", kind, 0)])
    )


def function_chain(size: int) -> bytes:
    """Functions that take functions."""
    return _chain(
        size // 2, lambda btf, kind, _level: btf.add_ptr(btf.add_func_proto(0, [("f", kind)]))
    )


def typedefs_of_one_chain(size: int) -> bytes:
    """Variables whose types are the ends of one chain of as many as are allowed."""
    btf = BtfBuilder()
    kind = btf.add_int("int", 4)
    for _ in range(60):
        kind = btf.add_const(kind)
    count = min(size // 36, 0xFFFF)
    variables = [btf.add_var(f"v{n}", kind, VarLinkage.STATIC) for n in range(count)]
    return _data_object(btf, [(v, 4 * n, 4) for n, v in enumerate(variables)], 4 * count)


def array_of_itself(size: int) -> bytes:
    """Arrays whose elements are the array, also through others."""
    btf = BtfBuilder()
    alone = btf.add_array(1, 2)
    first = btf.add_array(0, 0)
    second = btf.add_typedef("t", btf.add_const(first))
    btf[first].words[0] = second
    wrapped = btf.add_struct("s", 8, [("m", 0, 0)])
    btf[wrapped].words[1] = btf.add_array(wrapped, 1)
    places = []
    for n in range(max(size // 200, 3)):
        kind = (alone, first, second, wrapped)[n % 4]
        places.append((btf.add_var(f"v{n}", kind, VarLinkage.STATIC), n, 1))
    return _data_object(btf, places, len(places))


def map_of_an_array_of_itself(size: int) -> bytes:
    """A map whose value is such an array."""
    btf = BtfBuilder()
    alone = btf.add_array(1, 2)
    integer = btf.add_int("int", 4, IntEncoding.SIGNED)
    fields = [("type", _number(btf, integer, 2)), ("key", btf.add_ptr(integer))]
    fields += [("value", btf.add_ptr(alone)), ("max_entries", _number(btf, integer, 1))]
    kind = btf.add_struct("", 32, [(name, k, 64 * n) for n, (name, k) in enumerate(fields)])
    sections, symbols = _maps(btf, 1, 4, kind)
    section, programs = _programs(RETURN_0, 1)
    return _elf([section, *sections, _btf(btf)], [*symbols, *programs])


def huge_array(size: int) -> bytes:
    """An array of as many elements as there can be."""
    btf = BtfBuilder()
    number = btf.add_int("long", 8)
    inner = btf.add_array(number, 1 << 14)
    variable = btf.add_var("v", btf.add_array(inner, 1 << 12), VarLinkage.STATIC)
    return _data_object(btf, [(variable, 0, 1 << 29)], 1 << 29)


def array_of_nothing(size: int) -> bytes:
    """An array of a great many empty structs."""
    btf = BtfBuilder()
    empty = btf.add_struct("empty", 0)
    variable = btf.add_var("v", btf.add_array(empty, (1 << 32) - 1), VarLinkage.STATIC)
    return _data_object(btf, [(variable, 0, 0)], 8)


def wide_enum(size: int) -> bytes:
    """A variable of an enum with as many enumerators as there can be."""
    btf = BtfBuilder()
    kind = btf.add_enum("e", [(f"E{n}", n) for n in range(min(size // 15, 0xFFFF))])
    variable = btf.add_var("v", kind, VarLinkage.STATIC)
    return _data_object(btf, [(variable, 0, 4)], 4)


def shared_enum(size: int) -> bytes:
    """Variables of anonymous enums and structs, with very many enumerators."""
    btf = BtfBuilder()
    kind = btf.add_enum("", [(f"E{n}", n) for n in range(min(size // 2 // 15, 0xFFFF))])
    count = min(size // 2 // 36, 0xFFFF)
    variables = [btf.add_var(f"v{n}", kind, VarLinkage.STATIC) for n in range(count)]
    return _data_object(btf, [(v, 4 * n, 4) for n, v in enumerate(variables)], 4 * count)


def same_names(size: int) -> bytes:
    """Variables of different structs that all have one name."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4)
    count = min(size // 65, 0xFFFF)
    places = []
    for n in range(count):
        kind = btf.add_struct("same", 4, [("a", number, 0)])
        places.append((btf.add_var(f"v{n}", kind, VarLinkage.STATIC), 4 * n, 4))
    return _data_object(btf, places, 4 * count)


def overlapping_strings(size: int) -> bytes:
    """Types whose names are the ends of one long string."""
    btf = BtfBuilder()
    long = btf.string("n" * (size // 2))
    number = btf.add_int("int", 4)
    count = size // 2 // 30
    places = []
    for n in range(count):
        variable = btf.add_var("", number, VarLinkage.STATIC)
        btf[variable].name_off = long + n
        places.append((variable, 4 * n, 4))
    return _data_object(btf, places[:0xFFFF], 4 * count)


# -- what goes with code ------------------------------------------------------------------------


def _lined(size: int, lines: int, text: str, file: str) -> bytes:
    btf = BtfBuilder()
    proto = btf.add_func_proto(btf.add_int("int", 4, IntEncoding.SIGNED))
    main = btf.add_func("p", proto)
    words = btf.string(file), btf.string(text)
    code = MOV * (lines - 1) + EXIT
    info = ext(
        btf,
        {SECTION: [(0, main)]},
        {SECTION: [(8 * n, *words, n << 10) for n in range(lines)]},
    )
    symbols = [function("p", 3, 0, len(code))]
    return _elf([program_section(SECTION, code), _btf(btf), info], symbols)


def many_lines(size: int) -> bytes:
    """A source line for each instruction."""
    return _lined(size, size // 24, "return 0;", "a.c")


def long_lines(size: int) -> bytes:
    """The same, of very long text."""
    return _lined(size, size // 2 // 24, "x" * (size // 2), "a.c")


def long_files(size: int) -> bytes:
    """The same, from a file with a very long name."""
    return _lined(size, size // 2 // 24, "return 0;", "x" * (size // 2))


def core_relos(size: int) -> bytes:
    """CO-RE relocations of a field whose type takes long to say, at a depth that is allowed."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4, IntEncoding.SIGNED)
    proto = btf.add_func_proto(number)
    main = btf.add_func("p", proto)
    long = btf.add_ptr(btf.add_func_proto(number, [("a", number)] * 400))
    kind = btf.add_array(long, 1)
    count = size // 24
    code = MOV * (count - 1) + EXIT
    access = btf.string("0:0")
    info = ext(
        btf,
        {SECTION: [(0, main)]},
        None,
        {SECTION: [(8 * n, kind, access, 0) for n in range(count)]},
    )
    symbols = [function("p", 3, 0, len(code))]
    return _elf([program_section(SECTION, code), _btf(btf), info], symbols)


BUILDERS: dict[str, Callable[[int], bytes]] = {
    build.__name__: build
    for build in (
        *(shared_subprograms, calls_in_subprograms, shared_records, many_programs),
        *(untyped_programs, broken_programs, symbols_at_one_address, aliases),
        *(long_names, relocations),
        *(variables_in_code, long_program, kfuncs, shared_kfuncs, many_sections),
        *(many_data_sections, many_program_sections, many_maps, maps_of_one_struct, maps_of_maps),
        *(maps_of_a_datasec, legacy_maps_of_maps, externs_of_one_proto, struct_ops_sections),
        *(lifted_members, struct_ops, struct_ops_programs, kconfig, many_variables),
        *(variables_of_a_long_type, wide_struct, wide_union, one_member_type, anonymous_members),
        *(typedef_chain, const_chain, pointer_chain, array_chain, struct_chain, function_chain),
        *(typedefs_of_one_chain, array_of_itself, map_of_an_array_of_itself, huge_array),
        *(array_of_nothing, wide_enum, shared_enum, same_names, overlapping_strings, many_lines),
        *(long_lines, long_files, core_relos),
    )
}
