"""Functions of ELF files: what readelf and the dynamic linker say, for files of all kinds."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from lskel.errors import BadInput, LskelError, NotFound, UsageError
from lskel.runtime.attach import debug_file
from lskel.runtime.attach.binaries import find_binary
from lskel.runtime.attach.elf_symbols import ElfFile
from tests.build.clang import compile_bpf
from tests.build.gcc import compile_c
from tests.conftest import Run, lacking

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files of Linux")

SOURCE = """
int twice(int x) { return 2 * x; }
static int __attribute__((noinline)) hidden(int x) { return x + 3; }
int counter = 1;
int main(void) { return twice(counter) + hidden(counter); }
"""


def libc() -> str:
    return find_binary("libc.so.6")


class Listed(NamedTuple):
    """A function as readelf shows it; `version` with its one or two @."""

    name: str
    version: str
    address: int
    bind: str


def listed(run: Run, path: str | Path) -> list[Listed]:
    """The functions of a file, defined in it, by readelf."""
    found = []
    for line in run("readelf", "-sW", path).splitlines():
        words = line.split()
        if len(words) >= 8 and words[3] == "FUNC" and words[6] != "UND":
            name, at, version = words[7].partition("@")
            found.append(Listed(name, at + version, int(words[1], 16), words[4]))
    return found


def segments(run: Run, path: str | Path) -> list[tuple[int, int, int]]:
    """File offset, address and size in the file of what is loaded, by readelf."""
    found = []
    for line in run("readelf", "-lW", path).splitlines():
        words = line.split()
        if words[:1] == ["LOAD"]:
            offset, address, _, size = (int(word, 16) for word in words[1:5])
            found.append((offset, address, size))
    return found


def expected(run: Run, path: str | Path) -> dict[int, int]:
    """The file offset of each function's address, by readelf."""
    parts = segments(run, path)
    return {
        item.address: item.address - address + offset
        for item in listed(run, path)
        for offset, address, size in parts
        if address <= item.address < address + size
    }


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return compile_c(SOURCE, tmp_path / "program")


@pytest.fixture(params=["-pie", "-no-pie", "-shared", "-static"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The source linked in each of the ways."""
    return compile_c(SOURCE, tmp_path / "built", request.param, "-fPIC")


def test_functions_of_libc(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_file, "ROOT", "/nowhere")
    offsets = expected(run, libc())
    names = defaultdict(set)
    for item in listed(run, libc()):
        names[offsets[item.address]].add(item.name)
    with ElfFile(libc()) as elf:
        found = elf.functions(lambda _: True)
    assert [function.offset for function in found] == sorted(names)
    assert all(function.name in names[function.offset] for function in found)


def test_each_function_of_libc(run: Run) -> None:
    """By name it is the default version, as the linker takes; others are told apart by address."""
    offsets = expected(run, libc())
    wanted: dict[str, set[int]] = defaultdict(set)
    for item in listed(run, libc()):
        if not item.version or item.version.startswith("@@"):
            wanted[item.name].add(offsets[item.address])
    single = {name: places for name, places in wanted.items() if len(places) == 1}
    assert len(single) > 1000
    with ElfFile(libc()) as elf:
        assert elf.function_offsets(list(single)) == [next(iter(p)) for p in single.values()]
        some = list(single)[::100]
        assert [elf.function_offset(name) for name in some] == elf.function_offsets(some)


def test_each_version_of_libc(run: Run) -> None:
    """Each function of libc in each of its versions, as readelf shows them."""
    offsets = expected(run, libc())
    wanted: dict[str, set[int]] = defaultdict(set)
    for item in listed(run, libc()):
        if item.version:
            wanted[f"{item.name}@{item.version.strip('@')}"].add(offsets[item.address])
            if item.version.startswith("@@"):
                wanted[item.name + item.version].add(offsets[item.address])
    single = {name: places for name, places in wanted.items() if len(places) == 1}
    assert len(single) > 4000
    with ElfFile(libc()) as elf:
        assert elf.function_offsets(list(single)) == [next(iter(p)) for p in single.values()]
    by_name: dict[str, set[int]] = defaultdict(set)
    for name, places in single.items():
        by_name[name.partition("@")[0]] |= places
    assert sum(len(places) > 1 for places in by_name.values()) > 10


def test_no_such_version() -> None:
    with ElfFile(libc()) as elf:
        for name in ("realpath@GLIBC_0.1", "realpath@@GLIBC_2.2.5"):
            with pytest.raises(NotFound) as caught:
                elf.function_offset(name)
            said = f"no function '{name}' (its versions: GLIBC_2.2.5, GLIBC_2.3)"
            assert str(caught.value) == said
        with pytest.raises(NotFound, match=r"no function 'realpat@GLIBC_2\.3'"):
            elf.function_offset("realpat@GLIBC_2.3")


VERSIONED = """
int old(int x) { return x; }
int new(int x) { return x + 1; }
int plain(int x) { return x + 2; }
__asm__(".symver old,f@V1\\n.symver new,f@@V2");
"""


def test_versions_in_symtab(tmp_path: Path, run: Run) -> None:
    """Where the symbols are all that says it, and in either table."""
    script = tmp_path / "script"
    script.write_text("V1 { global: f; local: old; new; };\nV2 { global: plain; } V1;\n")
    built = compile_c(
        VERSIONED, tmp_path / "l.so", "-shared", "-fPIC", f"-Wl,--version-script={script}"
    )
    at = {item.name: item.address for item in listed(run, built) if not item.version}
    stripped = tmp_path / "stripped.so"
    run("objcopy", "--strip-unneeded", built, stripped)
    for path in (built, stripped):
        with ElfFile(path) as elf:
            old, new = (elf.file_offset(at[name]) for name in ("old", "new"))
            names = ["f", "f@V1", "f@V2", "f@@V2", "plain@V2"]
            plain = elf.function_offset("plain")
            assert elf.function_offsets(names) == [new, old, new, new, plain]
            for name in ("f@@V1", "plain@V1"):
                with pytest.raises(NotFound, match="its versions: "):
                    elf.function_offset(name)


def test_damaged_versions(tmp_path: Path) -> None:
    """Each byte of the versions overwritten: an answer, or one of lskel's errors."""
    script = tmp_path / "script"
    script.write_text("V1 { global: f; local: old; new; };\nV2 { global: plain; } V1;\n")
    built = compile_c(
        VERSIONED, tmp_path / "l.so", "-shared", "-fPIC", f"-Wl,--version-script={script}"
    )
    data = built.read_bytes()
    with ElfFile(built) as elf:
        section = elf.section(".gnu.version_d")
    assert section is not None
    refused = 0
    for place in range(section.offset, section.offset + section.size):
        built.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
        try:
            with ElfFile(built) as elf:
                elf.function_offset("f@V1")
        except LskelError:
            refused += 1
    assert refused > 10


# -- debug files ----------------------------------------------------------------------------------


class Stripped(NamedTuple):
    """A stripped program and its debug file, made as packages have them."""

    program: Path
    debug: Path
    build_id: str
    offset: int  # of the function that is in the debug file only


@pytest.fixture
def stripped(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Stripped:
    monkeypatch.setattr(debug_file, "ROOT", str(tmp_path / "root"))
    program = compile_c(SOURCE, tmp_path / "program", "-Wl,--build-id")
    with ElfFile(program) as elf:
        offset = elf.function_offset("hidden")
    debug = tmp_path / "program.debug"
    run("objcopy", "--only-keep-debug", program, debug)
    run("strip", program)
    notes = run("readelf", "-nW", program)
    return Stripped(program, debug, notes.split("Build ID: ")[1].split()[0], offset)


def _move(debug: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    debug.rename(to)


def test_debug_file_by_build_id(stripped: Stripped, tmp_path: Path) -> None:
    with ElfFile(stripped.program) as elf, pytest.raises(NotFound, match="the file is stripped"):
        elf.function_offset("hidden")
    number = stripped.build_id
    place = tmp_path / "root" / ".build-id" / number[:2] / f"{number[2:]}.debug"
    _move(stripped.debug, place)
    with ElfFile(stripped.program) as elf:
        assert elf.function_offset("hidden") == stripped.offset
        assert stripped.offset in [one.offset for one in elf.functions("hidden".__eq__)]
        with pytest.raises(NotFound, match="similar: hidden"):
            elf.function_offset("hiden")
    # Of another build, or none at all: as if it were not there.
    for content in (Path("/bin/sh").read_bytes(), b"", place.read_bytes()[:100]):
        place.write_bytes(content)
        with ElfFile(stripped.program) as elf, pytest.raises(NotFound, match="is stripped"):
            elf.function_offset("hidden")


@pytest.mark.parametrize("place", [".", ".debug", "root/{directory}"])
def test_debug_file_by_link(stripped: Stripped, tmp_path: Path, run: Run, place: str) -> None:
    run("objcopy", f"--add-gnu-debuglink={stripped.debug}", stripped.program)
    run("objcopy", "--remove-section=.note.gnu.build-id", stripped.program)
    where = tmp_path / place.format(directory=str(tmp_path)[1:]) / "program.debug"
    _move(stripped.debug, where)
    with ElfFile(stripped.program) as elf:
        assert elf.function_offset("hidden") == stripped.offset
    where.write_bytes(where.read_bytes() + b"x")  # another checksum
    with ElfFile(stripped.program) as elf, pytest.raises(NotFound):
        elf.function_offset("hidden")


@pytest.mark.parametrize("name", ["../x.debug", "/etc/passwd", ""])
def test_debug_link_that_is_no_name(stripped: Stripped, run: Run, name: str) -> None:
    link = stripped.program.with_name("link")
    link.write_bytes(name.encode() + b"\0" * 8)
    run("objcopy", f"--add-section=.gnu_debuglink={link}", stripped.program)
    with ElfFile(stripped.program) as elf:
        candidates = list(debug_file.debug_files(elf, str(stripped.program)))
    assert [bool(one.build_id) for one in candidates] == [True]


def test_function_in_memory() -> None:
    """What the dynamic linker says, against the mapping that the offset is in."""
    address = ctypes.cast(ctypes.CDLL(None).getppid, ctypes.c_void_p).value
    assert address is not None
    with ElfFile(libc()) as elf:
        offset = elf.function_offset("getppid")
    for line in Path("/proc/self/maps").read_text().splitlines():
        area, _, start_in_file, *_ = line.split()
        start, end = (int(number, 16) for number in area.split("-"))
        if start <= address < end:
            assert offset == address - start + int(start_in_file, 16)
            return
    pytest.fail("getppid is not mapped")


@pytest.mark.parametrize("name", ["twice", "hidden", "main"])
def test_program(run: Run, built: Path, name: str) -> None:
    (address,) = {item.address for item in listed(run, built) if item.name == name}
    with ElfFile(built) as elf:
        assert elf.function_offset(name) == expected(run, built)[address]


def test_python(run: Run) -> None:
    path = Path(sys.executable).resolve()
    with ElfFile(path) as elf:
        found = {function.offset for function in elf.functions(lambda _: True)}
    assert found == set(expected(run, path).values())


@pytest.mark.parametrize("order", ["little", "big"])
def test_object(run: Run, order: str, tmp_path: Path) -> None:
    """Files without program headers: offsets are by section. Both byte orders."""
    source = "int first(int x) { return x; } int second(int x) { return x + 7; }"
    path = tmp_path / "functions.o"
    path.write_bytes(compile_bpf(source, "-nohead", big_endian=order == "big"))
    (text,) = (
        int(line.split(".text")[1].split()[2], 16)
        for line in run("readelf", "-SW", path).splitlines()
        if " .text " in line
    )
    address = {item.name: item.address for item in listed(run, path)}
    with ElfFile(path) as elf:
        assert (elf.bits, elf.order) == (64, order)
        for name in ("first", "second"):
            assert elf.function_offset(name) == text + address[name]


@pytest.mark.parametrize("target", ["i386-linux-gnu", "armeb-linux-gnueabi"])
def test_object_of_32_bits(run: Run, target: str, tmp_path: Path) -> None:
    clang = shutil.which("clang-19") or shutil.which("clang")
    if clang is None:
        lacking("clang is not installed")
    path = tmp_path / "functions.o"
    source = "int first(int x) { return x; } int second(int x) { return x + 7; }"
    command = [clang, f"--target={target}", "-O1", "-x", "c", "-c", "-", "-o", str(path)]
    subprocess.run(command, input=source.encode(), check=True)
    (text,) = (
        int(line.split(".text")[1].split()[2], 16)
        for line in run("readelf", "-SW", path).splitlines()
        if " .text " in line
    )
    address = {item.name: item.address for item in listed(run, path)}
    assert address["first"] != address["second"]
    with ElfFile(path) as elf:
        assert elf.bits == 32
        for name in ("first", "second"):
            assert elf.function_offset(name) == text + address[name]


def test_stripped(run: Run, program: Path) -> None:
    run("strip", program)
    with ElfFile(program) as elf, pytest.raises(NotFound, match="stripped"):
        elf.function_offset("twice")


def test_stripped_library(run: Run, tmp_path: Path) -> None:
    """What it exports is still there."""
    path = compile_c(SOURCE, tmp_path / "lib.so", "-shared", "-fPIC")
    with ElfFile(path) as elf:
        before = elf.function_offset("twice")
    run("strip", path)
    with ElfFile(path) as elf:
        assert elf.function_offset("twice") == before
        with pytest.raises(NotFound, match="stripped except for exported symbols"):
            elf.function_offset("hidden")


def test_close_names() -> None:
    with ElfFile(libc()) as elf, pytest.raises(NotFound) as caught:
        elf.function_offset("mallok")
    assert "no function 'mallok' (similar: malloc," in str(caught.value)


def test_chosen_at_run_time(run: Run) -> None:
    lines = run("readelf", "-sW", libc()).splitlines()
    name = next(line.split()[7].partition("@")[0] for line in lines if " IFUNC " in line)
    with ElfFile(libc()) as elf, pytest.raises(UsageError, match="chosen at run time"):
        elf.function_offset(name)


def test_several(run: Run, tmp_path: Path) -> None:
    """Functions that are local to their files share a name; an exported one hides them."""
    parts = []
    for number in (1, 2):
        source = f"""
        static int __attribute__((noinline)) part(int x) {{ return x * x + {number}; }}
        int part{number}(int x) {{ return part(x + 1); }}
        """
        parts.append(str(compile_c(source, tmp_path / f"{number}.o", "-c", "-fno-ipa-sra")))
    with_parts = ["-x", "none", *parts]
    both = "int part1(int), part2(int); int main(void) { return part1(1) + part2(2); }"
    twice = compile_c(both, tmp_path / "twice", *with_parts)
    with ElfFile(twice) as elf, pytest.raises(UsageError) as caught:
        elf.function_offset("part")
    offsets = expected(run, twice)
    places = sorted(offsets[item.address] for item in listed(run, twice) if item.name == "part")
    assert len(places) == 2
    assert str(caught.value) == (
        f"2 functions are named 'part' (use an offset: {places[0]:#x}, {places[1]:#x})"
    )
    exported = compile_c(f"int part(int x) {{ return x; }} {both}", tmp_path / "out", *with_parts)
    (address,) = (
        item.address
        for item in listed(run, exported)
        if item.name == "part" and item.bind == "GLOBAL"
    )
    with ElfFile(exported) as elf:
        assert elf.function_offset("part") == expected(run, exported)[address]


def test_versions(run: Run, tmp_path: Path) -> None:
    """The name alone is the default version, with and without .symtab."""
    source = """
    __asm__(".symver old, f@ONE"); __asm__(".symver new, f@@TWO");
    int old(int x) { return x + 1; }
    int new(int x) { return x * 5; }
    """
    script = tmp_path / "versions"
    script.write_text("ONE { local: *; }; TWO { } ONE;")
    options = ("-shared", "-fPIC", f"-Wl,--version-script={script}")
    path = compile_c(source, tmp_path / "lib.so", *options)
    (address,) = {
        item.address for item in listed(run, path) if (item.name, item.version) == ("f", "@@TWO")
    }
    offset = expected(run, path)[address]
    with ElfFile(path) as elf:
        assert elf.function_offset("f") == offset
    run("strip", path)
    with ElfFile(path) as elf:
        assert elf.function_offset("f") == offset


def test_not_elf(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, said in (
        (b"", "the file is empty"),
        (b"#!/bin/sh\n", "not an ELF file (it is a script: use its interpreter)"),
        (b"\x7fELF\x03\x01" + bytes(10), "neither a 32- nor a 64-bit ELF file"),
        (b"\x7fELF\x01\x03" + bytes(10), "byte order 03 in the ELF header is unknown"),
        (
            b"\x7fELF\x02",
            "the ELF header: 0x0+0x10 is outside the file of 0x5 bytes (truncated file?)",
        ),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput) as caught:
            ElfFile(path)
        assert str(caught.value) == said
    with pytest.raises(NotFound, match="no file"):
        ElfFile(tmp_path / "nothing")
    with pytest.raises(LskelError, match="is not a regular file"):
        ElfFile(tmp_path)


def test_damaged(program: Path, tmp_path: Path) -> None:
    """Whatever is cut off or overwritten: an answer, or one of lskel's errors."""
    whole = program.read_bytes()
    path = tmp_path / "damaged"
    refused = 0
    header = [*range(16, 64)]
    for cut in range(0, len(whole), 509):
        refused += _refused(path, whole[:cut])
    for place in header:
        refused += _refused(path, whole[:place] + b"\xff" + whole[place + 1 :])
    (sections,) = struct.unpack_from("=Q", whole, 40)
    for place in range(sections, len(whole), 7):
        refused += _refused(path, whole[:place] + b"\xfe" + whole[place + 1 :])
    assert refused > len(whole) // 509


def _refused(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        with ElfFile(path) as elf:
            elf.functions(lambda _: True)
            elf.function_offset("twice")
    except LskelError:
        return True
    return False


def test_find_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run) -> None:
    assert find_binary("./here") == "./here"
    assert Path(find_binary("sh")).samefile("/bin/sh")
    # The dynamic linker has loaded it, from where it thinks best.
    loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    assert any(Path(libc()).samefile(path) for path in loaded if path.endswith("/libc.so.6"))
    library = compile_c(SOURCE, tmp_path / "libown.so.1", "-shared", "-fPIC")
    with pytest.raises(NotFound, match=r"no shared library 'libown.so.1' in LD_LIBRARY_PATH"):
        find_binary("libown.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    assert find_binary("libown.so.1") == str(library)
    program = compile_c(SOURCE, tmp_path / "own-program")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tmp_path}")
    assert find_binary("own-program") == str(program) == shutil.which("own-program")
    program.chmod(0o644)
    with pytest.raises(NotFound, match="no program 'own-program' in PATH"):
        find_binary("own-program")
