"""The ELF builder: what it builds is well-formed, and each part of it can be made wrong."""

from __future__ import annotations

import ctypes
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from lskel.cursor import ByteOrder
from tests.build.elf import (
    SYM_SIZE,
    Bind,
    Elf,
    Rel,
    Reloc,
    SectionType,
    Shndx,
    Symbol,
    SymbolType,
    bss_section,
    data_section,
    one_program,
    program_section,
    section_symbol,
)
from tests.conftest import lacking

ORDERS: tuple[ByteOrder, ...] = ("little", "big")
ARRAY = bytes([2, 0, 0, 0]) * 5


def everything(order: ByteOrder) -> Elf:
    """An object with every kind of part."""
    code = bytes.fromhex("18010000000000000000000000000000 8510000000000000 9500000000000000")
    return one_program("xdp", code=code, order=order).adding(
        program_section(".text", bytes.fromhex("b700000000000000 9500000000000000")),
        data_section(".rodata", ARRAY, writable=False),
        bss_section(".bss", 24),
        symbols=[
            Symbol("count", ".bss", 8, 8, type=SymbolType.OBJECT),
            Symbol("helper", ".text", 0, 16, bind=Bind.LOCAL, type=SymbolType.FUNC),
            Symbol("a_kfunc", Shndx.UNDEF, bind=Bind.WEAK),
            section_symbol(".text"),
            section_symbol(".rodata"),
        ],
        rels=[Rel("xdp", 0, ".rodata"), Rel("xdp", 16, ".text", Reloc.INSN_32)],
    )


def readelf(data: bytes, path: Path) -> str:
    """All that readelf says, which must not complain."""
    path.write_bytes(data)
    done = subprocess.run(
        ["readelf", "--all", "--wide", path],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LC_ALL": "C"},
        check=True,
    )
    assert not done.stderr
    assert "arning" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("order", ORDERS)
def test_readelf(order: ByteOrder, tmp_path: Path) -> None:
    lines = [
        " ".join(x.split())
        for x in readelf(bytes(one_program(order=order)), tmp_path / "o").splitlines()
    ]
    assert f"Data: 2's complement, {order} endian" in lines
    assert "Machine: Linux BPF" in lines
    assert "Type: REL (Relocatable file)" in lines
    names = [x.partition("]")[2].split()[0] for x in lines if x.startswith("[") and "]" in x]
    assert names[2:] == [".strtab", "raw_tp/sys_enter", "license", ".symtab"]
    assert "1: 0000000000000000 16 FUNC GLOBAL DEFAULT 2 prog" in lines
    assert "2: 0000000000000000 4 OBJECT GLOBAL DEFAULT 3 _license" in lines


@pytest.mark.parametrize("order", ORDERS)
def test_readelf_everything(order: ByteOrder, tmp_path: Path) -> None:
    text = readelf(bytes(everything(order)), tmp_path / "o")
    relocations = [x.split() for x in text.splitlines() if "R_BPF_" in x]
    # The columns are offset, info (its lower half is the type), type, value, name.
    assert [(int(x[0], 16), int(x[1][8:], 16), x[4]) for x in relocations] == [
        (0, Reloc.INSN_64, ".rodata"),
        (16, Reloc.INSN_32, ".text"),
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_elf_library(order: ByteOrder) -> None:
    elf = everything(order)
    read = ELFFile(io.BytesIO(bytes(elf)))
    assert read.little_endian == (order == "little")
    sections = {section.name: section for section in read.iter_sections()}
    assert list(sections) == [section.name for section in elf.layout()]
    assert sections[".rodata"].data() == ARRAY
    assert sections[".bss"]["sh_size"] == 24
    symtab, relxdp = sections[".symtab"], sections[".relxdp"]
    assert isinstance(symtab, SymbolTableSection)
    assert isinstance(relxdp, RelocationSection)
    binds = [symbol["st_info"]["bind"] for symbol in symtab.iter_symbols()]
    assert binds == sorted(binds, key=lambda bind: bind != "STB_LOCAL")
    assert symtab["sh_info"] == binds.count("STB_LOCAL")
    assert symtab.get_symbol(elf.symbol_index("count"))["st_value"] == 8
    assert relxdp.get_relocation(1)["r_info_sym"] == elf.symbol_index(".text")
    assert relxdp["sh_info"] == elf.section_index("xdp")


@pytest.mark.parametrize("elf", [one_program(), everything("little")], ids=["one", "everything"])
@pytest.mark.skipif(sys.byteorder != "little", reason="libbpf opens objects of its own byte order")
def test_libbpf_opens_it(elf: Elf) -> None:
    try:
        lib = ctypes.CDLL("libbpf.so.1")
    except OSError as error:
        lacking(str(error))
    lib.bpf_object__open_mem.restype = ctypes.c_void_p
    # An undefined symbol is an extern, which wants BTF.
    elf = replace(elf, symbols=tuple(s for s in elf.symbols if s.section != Shndx.UNDEF))
    data = bytes(elf)
    opened = lib.bpf_object__open_mem(data, ctypes.c_size_t(len(data)), None)
    assert opened
    lib.bpf_object__close(ctypes.c_void_p(opened))


@pytest.mark.parametrize("order", ORDERS)
def test_one_field_of_the_header(order: ByteOrder) -> None:
    good = one_program(order=order)
    bad = replace(good, header={"e_machine": 62})
    differences = [
        i for i, (a, b) in enumerate(zip(bytes(good), bytes(bad), strict=True)) if a != b
    ]
    assert differences == [18 if order == "little" else 19]


@pytest.mark.parametrize(
    ("section", "attributes"),
    [
        (".symtab", {"entsize": SYM_SIZE + 1}),
        (".symtab", {"link": 99}),
        (".relxdp", {"info": 99}),
        (".relxdp", {"type": SectionType.RELA}),
        ("license", {"fields": {"sh_offset": 1 << 40}}),
        ("license", {"fields": {"sh_size": 0xFFFFFFFF}}),
        (".strtab", {"fields": {"sh_name": 0x7FFFFFFF}}),
    ],
)
def test_one_field_of_a_section(section: str, attributes: dict[str, object]) -> None:
    good = everything("little")
    before, after = bytes(good), bytes(good.changed(section, **attributes))
    assert len(before) == len(after)
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    # Only the one header, behind all contents.
    start = len(before) - 64 * (len(good.layout()) - good.section_index(section))
    assert changed
    assert all(start <= i < start + 64 for i in changed)


def test_contents_of_a_generated_section() -> None:
    elf = everything("little").changed(".strtab", data=b"\xff" * 8)
    read = ELFFile(io.BytesIO(bytes(elf)))
    assert read.get_section(1).data() == b"\xff" * 8


def test_one_field_of_a_symbol() -> None:
    elf = Elf(symbols=(Symbol("f", fields={"st_name": 0xFFFF, "st_shndx": 0xFF00}),))
    symbol = ELFFile(io.BytesIO(bytes(elf))).get_section(2).data()[SYM_SIZE:]
    assert symbol[:4] == b"\xff\xff\0\0"
    assert symbol[6:8] == b"\x00\xff"


def test_change_of_a_section_that_is_not_there() -> None:
    with pytest.raises(AssertionError, match="do not exist"):
        bytes(one_program().changed(".rodata", data=b""))
