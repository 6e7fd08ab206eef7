"""The ELF reader beside pyelftools: both classes, both byte orders, objects and what is linked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elftools.elf import enums
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from lskel.elf.format import ElfMachine, FileType, SectionType
from lskel.elf.object import Elf
from lskel.elf.reader import ElfReader
from lskel.errors import BadObject
from lskel.runtime.attach.binaries import find_binary
from lskel.runtime.attach.elf_symbols import ElfFile
from tests.build.clang import compile_bpf, example
from tests.build.elf import one_program
from tests.conftest import lacking

SOURCE = """
int variable = 7, *pointer = &variable;
static int hidden(int x) { return x; }
__attribute__((weak)) int first(int x) { return x; }
int second(int x) { return hidden(x) + variable; }
"""
PROGRAM = 'int count; SEC("xdp") int p(void *ctx) { return ++count; }'

TARGETS = {
    "32-little": "i386-linux-gnu",
    "32-big": "armeb-linux-gnueabi",
    "64-little": "x86_64-linux-gnu",
    "64-big": "s390x-linux-gnu",
}
# Names of the numbers, as pyelftools gives them.
NUMBERS: dict[str, Mapping[str, Any]] = {
    "e_type": enums.ENUM_E_TYPE,
    "e_machine": enums.ENUM_E_MACHINE,
    "e_version": enums.ENUM_E_VERSION,
    "sh_type": {
        **enums.ENUM_SH_TYPE_BASE,
        **enums.ENUM_SH_TYPE_AMD64,
        **enums.ENUM_SH_TYPE_ARM,
    },
    "st_shndx": enums.ENUM_ST_SHNDX,
    "bind": enums.ENUM_ST_INFO_BIND,
    "type": enums.ENUM_ST_INFO_TYPE,
    "visibility": enums.ENUM_ST_VISIBILITY,
}


def number(field: str, value: Any) -> int:
    """A field's number, which pyelftools may have a name for."""
    found = NUMBERS[field][value] if isinstance(value, str) else value
    assert isinstance(found, int), (field, value)
    return found


def compiled(name: str, path: Path) -> Path:
    """An object of the source for one of the targets."""
    clang = shutil.which("clang-19") or shutil.which("clang")
    if clang is None:
        lacking("clang is not installed")
    target = f"--target={TARGETS[name]}"
    command = [clang, target, "-O1", "-fPIC", "-x", "c", "-c", "-", "-o", str(path)]
    subprocess.run(command, input=SOURCE.encode(), check=True)
    return path


def linked(name: str, path: Path) -> Path:
    """A shared library of the source, for this machine's linker."""
    emulation = {"32-little": "elf_i386", "64-little": "elf_x86_64"}[name]
    object_ = compiled(name, path.with_suffix(".o"))
    ld = shutil.which("ld")
    if ld is None or emulation not in subprocess.check_output([ld, "-V"], text=True):
        lacking(f"ld does not link {emulation}")
    subprocess.run([ld, "-m", emulation, "-shared", object_, "-o", path], check=True)
    return path


@pytest.fixture(params=["libc.so.6", sys.executable, "sh"])
def installed(request: pytest.FixtureRequest) -> Path:
    """What this machine runs."""
    return Path(find_binary(request.param))


def test_installed(installed: Path) -> None:
    with installed.open("rb") as file, ElfFile(installed) as elf:
        agree(elf, ELFFile(file))
        agree_on_segments(elf, ELFFile(file))
        assert elf.segments and elf.section(".dynsym")


@pytest.mark.parametrize("name", TARGETS)
def test_compiled(name: str, tmp_path: Path) -> None:
    path = compiled(name, tmp_path / "x.o")
    with path.open("rb") as file, ElfFile(path) as elf:
        assert (elf.bits, elf.order) == (int(name[:2]), name[3:])
        agree(elf, ELFFile(file))
        assert not elf.segments


@pytest.mark.parametrize("name", ["32-little", "64-little"])
def test_linked(name: str, tmp_path: Path) -> None:
    path = linked(name, tmp_path / "x.so")
    with path.open("rb") as file, ElfFile(path) as elf:
        agree(elf, ELFFile(file))
        agree_on_segments(elf, ELFFile(file))
        assert {function.name for function in elf.functions(lambda _: True)} >= {"first", "second"}


@pytest.mark.parametrize("order", ["little", "big"])
def test_bpf_object(order: str, tmp_path: Path) -> None:
    path = tmp_path / "x.o"
    path.write_bytes(compile_bpf(PROGRAM, big_endian=order == "big"))
    elf = Elf(path.read_bytes())
    assert elf.order == order
    with path.open("rb") as file:
        agree(elf, ELFFile(file))
        agree_on_relocations(elf, ELFFile(file))


@pytest.mark.parametrize("name", ["hello", "execsnoop", "iptop"])
def test_example(name: str) -> None:
    elf = Elf(example(name).read_bytes())
    with example(name).open("rb") as file:
        agree(elf, ELFFile(file))
        agree_on_relocations(elf, ELFFile(file))


def agree(elf: ElfReader, other: ELFFile) -> None:
    """The header, all sections with their bytes, and all symbols are the same."""
    assert (elf.bits, elf.order == "little") == (other.elfclass, other.little_endian)
    for field, value in elf.header._asdict().items():
        assert value == number(f"e_{field}", other[f"e_{field}"])
    sections = list(other.iter_sections())
    assert [
        (s.name, s.type, s.flags, s.address, s.offset, s.size, s.link, s.info, s.entsize)
        for s in elf.sections
    ] == [
        (
            s.name,
            number("sh_type", s["sh_type"]),
            *(s[f"sh_{field}"] for field in ("flags", "addr", "offset", "size", "link", "info")),
            s["sh_entsize"],
        )
        for s in sections
    ]
    tables = 0
    for section, expected in zip(elf.sections, sections, strict=True):
        if section.type not in (SectionType.NOBITS, SectionType.NULL):
            assert elf.content(section) == expected.data()
        if isinstance(expected, SymbolTableSection):
            tables += 1
            names = elf.symbol_names(section)
            found = [(names[name], *rest) for name, *rest in elf.symbol_rows(section)]
            assert found == [symbol(each) for each in expected.iter_symbols()]
    assert tables


def symbol(read: Any) -> tuple[str, int, int, int, int, int]:
    """A symbol of pyelftools: name, st_info, st_other, st_shndx, st_value, st_size."""
    info, other = read["st_info"], read["st_other"]
    return (
        read.name,
        number("bind", info["bind"]) << 4 | number("type", info["type"]),
        other["local"] << 5 | number("visibility", other["visibility"]),
        number("st_shndx", read["st_shndx"]),
        read["st_value"],
        read["st_size"],
    )


def agree_on_segments(elf: ElfFile, other: ELFFile) -> None:
    expected = [
        (s["p_vaddr"], s["p_offset"], s["p_filesz"])
        for s in other.iter_segments()
        if s["p_type"] == "PT_LOAD"
    ]
    assert expected and list(elf.segments) == expected


def agree_on_relocations(elf: Elf, other: ELFFile) -> None:
    """Of all REL sections, by the sections that they are for."""
    expected = {
        (section["sh_info"], *(each[f"r_{field}"] for field in ("offset", "info_sym", "info_type")))
        for section in other.iter_sections()
        if isinstance(section, RelocationSection)
        for each in section.iter_relocations()
    }
    found = {
        (section.number, *rel)
        for section in elf.sections
        for table in elf.tables_of(section)
        for rel, of in elf.relocations(table)
        if elf.symbols[rel.symbol] == of
    }
    assert found and found == expected


def test_numbers() -> None:
    """The names of numbers are those of pyelftools."""
    for enum, known in ((FileType, enums.ENUM_E_TYPE), (ElfMachine, enums.ENUM_E_MACHINE)):
        for member in enum:
            assert known[member.name] == member.value
    for kind in SectionType:
        names = [name.upper() for name, value in enums.ENUM_SH_TYPE_BASE.items() if value == kind]
        assert f"SHT_{kind.name}" in names


def test_other_machines_and_types() -> None:
    for header, said in (
        (
            {"e_machine": 62},
            "expected ELF machine BPF, got EM_X86_64 (62) (compile with `-target bpf`)",
        ),
        ({"e_machine": 4711}, "expected ELF machine BPF, got 4711 (compile with `-target bpf`)"),
        ({"e_type": 3}, "expected a relocatable object, got ELF type ET_DYN (3)"),
        ({"e_type": 0xFE00}, "expected a relocatable object, got ELF type 65024"),
        ({"e_shoff": 0}, "the file has no section headers (stripped object file?)"),
        ({"e_shentsize": 40}, "section headers of 40 bytes, expected 64"),
        ({"e_ident": b"\x7fELF\x02\x03"}, "byte order 03 in the ELF header is unknown"),
        ({"e_ident": b"\x7fELF\x03\x01"}, "neither a 32- nor a 64-bit ELF file"),
        ({"e_shstrndx": 99}, "section names are in section 99 of 5"),
    ):
        with pytest.raises(BadObject) as caught:
            Elf(bytes(replace(one_program(), header=header)))
        assert str(caught.value) == said


def test_more_sections_than_fit_the_header() -> None:
    """Their number, and that of the names' section, are in the first section header then."""
    good = one_program()
    count, names = len(good.layout()), good.section_index(".strtab")
    moved = replace(good, header={"e_shnum": 0, "e_shstrndx": 0xFFFF}).changed(
        "", fields={"sh_size": count, "sh_link": names}
    )
    assert [s.name for s in Elf(bytes(moved)).sections] == [s.name for s in good.layout()]


def test_sections_that_are_one_another(tmp_path: Path) -> None:
    """The bytes of all together are not more than the file's, whatever is read of it."""
    path = tmp_path / "x"
    path.write_bytes(bytes(one_program()))
    with ElfFile(path) as elf:
        size = len(elf.data)
        whole = [section._replace(offset=0, size=size) for section in elf.sections[2:4]]
        assert elf.content(whole[0]) == path.read_bytes()
        with pytest.raises(BadObject, match="overlap those of other sections"):
            elf.content(whole[1])
