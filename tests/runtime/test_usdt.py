"""USDT: notes as readelf shows them, arguments as the program had them, semaphores, attaching."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import lskel
from lskel.bpf.enums import AttachType, Cmd, MapType, ProgType
from lskel.elf.format import ElfMachine
from lskel.errors import LskelError, NotFound, NotSupported, UsageError
from lskel.runtime.attach import usdt
from lskel.runtime.attach.elf_symbols import ElfFile
from lskel.runtime.attach.probe import UsdtProgram
from lskel.runtime.attach.stapsdt import find_probes
from lskel.runtime.attach.uprobe import THIS_PROCESS
from lskel.runtime.attach.usdt import IPS_MAP
from lskel.runtime.attach.usdt_arguments import Argument, Where, parse_arguments
from lskel.runtime.attach.usdt_layout import SPECS_MAP, spec_layout
from lskel.runtime.elements import items
from lskel.runtime.info import MapInfo, map_info
from lskel.runtime.objects import Fd
from lskel.runtime.one_element import lookup
from lskel.runtime.program import ProgramDefinition
from lskel.runtime.syscall import BpfError
from lskel.skeleton.dynamic import DynamicCollection
from tests.build.clang import compile_bpf
from tests.build.gcc import compile_c
from tests.conftest import Run
from tests.runtime.programs import counts_in, create_map, load_program

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="its C has x86-64 probes"),
]

# Each byte read fires a probe; then the semaphore is written.
SOURCE = r"""
#include <unistd.h>

#define PROBE(name, semaphore, arguments, ...)				\
	asm volatile(							\
		"990: nop\n"						\
		".pushsection .note.stapsdt,\"\",@note\n"		\
		".balign 4\n"						\
		".4byte 992f-991f, 994f-993f, 3\n"			\
		"991: .asciz \"stapsdt\"\n"				\
		"992: .balign 4\n"					\
		"993: .8byte 990b, base_of_probes, " semaphore "\n"	\
		".asciz \"trial\"\n"					\
		".asciz \"" name "\"\n"					\
		".asciz \"" arguments "\"\n"				\
		"994: .balign 4\n"					\
		".popsection\n"						\
		: : __VA_ARGS__)

asm(".pushsection .stapsdt.base,\"a\"\n"
    ".hidden base_of_probes\n"
    ".globl base_of_probes\n"
    "base_of_probes: .space 1\n"
    ".popsection\n");

__attribute__((section(".probes"), visibility("hidden"))) volatile unsigned short semaphore = 0;

static void __attribute__((noinline))
many(signed char c, unsigned short h, int i, unsigned long l, short *where)
{
	volatile int here = -123456;
	PROBE("many", "semaphore", "-1@%0 2@%1 -4@%2 8@%3 -2@%4 -4@%5 4@%5 -4@$-9 1@$0x7f",
		"r"(c), "r"(h), "r"(i), "r"(l), "m"(where[2]), "m"(here));
}

static void __attribute__((noinline)) indexed(short *from, long number)
{
	PROBE("indexed", "0", "-2@4(%0,%1,2) -2@(%0,%1,2)", "r"(from), "r"(number), "m"(*from));
}

static void __attribute__((noinline)) first(long x) { PROBE("twice", "0", "-8@%0", "a"(x)); }
static void __attribute__((noinline)) second(int x) { PROBE("twice", "0", "-4@%0", "D"(x)); }

int main(void)
{
	volatile short memory[6] = { 1, 2, -300, -4, -5, -6 };
	char c;

	while (read(0, &c, 1) == 1) {
		switch (c) {
		case 'm': many(-5, 65535, -7, 1ul << 63 | 3, (short *)memory); break;
		case '1': first(-1000000000000); break;
		case '2': second(-2); break;
		case 'b': PROBE("bare", "0", "", "i"(0)); break;
		case 'i': indexed((short *)memory, 3); break;
		case 'f': PROBE("float", "0", "8f@%%xmm0", "i"(0)); break;
		}
		write(1, (void *)&semaphore, sizeof(semaphore));
	}
	return 0;
}
"""
MANY = [-5, 65535, -7, -(1 << 63) + 3, -300, -123456, (1 << 32) - 123456, -9, 127]

# As the headers of libbpf 1.7 and newer have it. A member more does not matter.
INDEXED = """
enum __bpf_usdt_arg_type { CONST, REG, REG_DEREF, SIB };

struct __bpf_usdt_arg_spec {
	unsigned long long val_off;
	enum __bpf_usdt_arg_type arg_type : 8;
	unsigned short idx_reg_off : 12;
	unsigned short scale_bitshift : 4;
	unsigned char reserved : 8;
	short reg_off;
	_Bool arg_signed;
	char arg_bitshift;
};

struct __bpf_usdt_spec {
	struct __bpf_usdt_arg_spec args[12];
	unsigned long long usdt_cookie;
	short arg_cnt;
};
"""

# A program that reads the operands with an index register.
INDEXED_PROGRAM = f"""
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
{INDEXED}
char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {{
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, struct __bpf_usdt_spec);
}} __bpf_usdt_specs SEC(".maps");

extern _Bool LINUX_HAS_BPF_COOKIE __kconfig;
struct {{ long hits, count, cookie, values[12], first; }} seen;

static long reg(void *ctx, unsigned offset)
{{
	long value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + offset);
	return value;
}}

SEC("usdt")
int on_probe(struct pt_regs *ctx)
{{
	int id = LINUX_HAS_BPF_COOKIE ? bpf_get_attach_cookie(ctx) : 0, i;
	struct __bpf_usdt_spec *spec = bpf_map_lookup_elem(&__bpf_usdt_specs, &id);

	if (!spec)
		return 0;
	seen.hits++;
	seen.count = spec->arg_cnt;
	seen.cookie = spec->usdt_cookie;
	for (i = 0; i < 2; i++) {{
		struct __bpf_usdt_arg_spec *arg = &spec->args[i];
		long at = reg(ctx, arg->reg_off) + arg->val_off, value = 0;

		if (arg->arg_type == SIB)
			at += reg(ctx, arg->idx_reg_off) << arg->scale_bitshift;
		bpf_probe_read_user(&value, sizeof(value), (void *)at);
		seen.values[i] = value << arg->arg_bitshift >> arg->arg_bitshift;
	}}
	return 0;
}}
"""

PROGRAMS = """
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct { long hits, count, cookie, values[12], first; } seen;

SEC("usdt/%s")
int BPF_USDT(on_probe, long first)
{
	int i;

	seen.hits++;
	seen.count = bpf_usdt_arg_cnt(ctx);
	seen.cookie = bpf_usdt_cookie(ctx);
	seen.first = first;
	for (i = 0; i < 12; i++)
		bpf_usdt_arg(ctx, i, &seen.values[i]);
	return 0;
}
"""


class Seen(NamedTuple):
    """What the program saw last."""

    hits: int
    arguments: int
    cookie: int
    values: list[int]
    first: int


class Process:
    """The running program."""

    def __init__(self, running: subprocess.Popen[bytes]) -> None:
        self.pid = running.pid
        assert running.stdin is not None
        assert running.stdout is not None
        self._in, self._out = running.stdin, running.stdout

    def fire(self, probe: str) -> int:
        """Run a probe; the semaphore."""
        self._in.write(probe.encode())
        self._in.flush()
        return int.from_bytes(self._out.read(2), sys.byteorder)


@contextlib.contextmanager
def started(binary: Path) -> Iterator[Process]:
    with subprocess.Popen(
        [str(binary)], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        yield Process(running)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(SOURCE, tmp_path_factory.mktemp("usdt") / "trial")


@pytest.fixture
def process(binary: Path) -> Iterator[Process]:
    with started(binary) as process:
        yield process


class Made:
    """The program that is loaded, with its maps."""

    def __init__(self, bpf: DynamicCollection) -> None:
        self._bpf = bpf
        (self.program,) = bpf.progs
        self.program.fileno()  # which loads it

    @property
    def links(self) -> list[Link]:
        return list(self._bpf.links)

    def over(self, program: UsdtProgram, fd: Fd) -> UsdtProgram:
        """Another program, with the maps of this one."""
        program.maps = self.program.maps
        program.bind(fd, self._bpf.links.add)
        return program

    def map(self, name: str) -> dict[bytes, bytes]:
        fd = self._bpf.maps[name].fileno()
        return dict(items(fd, map_info(fd)))

    def taken(self) -> int:
        """Elements of the map of descriptions that are in use."""
        return sum(any(value) for value in self.map(SPECS_MAP).values())

    def seen(self) -> Seen:
        bss = self._bpf.maps.bss
        value = lookup(bss.fileno(), bytes(4), bss.info().value_size)
        assert value is not None
        numbers = struct.unpack_from("=16q", value)
        return Seen(numbers[0], numbers[1], numbers[2], [*numbers[3:15]], numbers[15])


@contextlib.contextmanager
def loaded(target: str, *flags: str, **options: Any) -> Iterator[Made]:
    source = PROGRAMS.replace("%s", target) if target else PROGRAMS.replace("/%s", "")
    with compiled(source, *flags, **options) as made:
        yield made


@contextlib.contextmanager
def compiled(source: str, *flags: str, **options: Any) -> Iterator[Made]:
    data = compile_bpf(source, "-nohead", "-D__TARGET_ARCH_x86", "-D__x86_64__", *flags)
    with lskel.load(data, name="usdt", **options) as bpf:
        yield Made(bpf)


@pytest.fixture
def made() -> Iterator[Made]:
    with loaded("") as made:
        yield made


# -- notes ----------------------------------------------------------------------------------------


class Note(NamedTuple):
    provider: str
    name: str
    location: int
    base: int
    semaphore: int
    arguments: str


def notes(run: Run, path: str | Path) -> list[Note]:
    """The notes of a file by readelf."""
    pattern = (
        r"Provider: (\S+)\s+Name: (\S+)\s+"
        r"Location: (\S+), Base: (\S+), Semaphore: (\S+)\s+Arguments: ?(.*)"
    )
    return [
        Note(provider, name, int(at, 16), int(base, 16), int(semaphore, 16), arguments.strip())
        for provider, name, at, base, semaphore, arguments in re.findall(
            pattern, run("readelf", "-nW", path)
        )
    ]


def test_notes(run: Run, binary: Path) -> None:
    expected = notes(run, binary)
    assert {note.name for note in expected} == {"many", "twice", "bare", "float", "indexed"}
    with ElfFile(binary) as elf:
        for name in {note.name for note in expected}:
            same = [note for note in expected if note.name == name]
            found = find_probes(elf, "trial", name)
            assert [(probe.address, probe.arguments) for probe in found] == [
                (note.location, note.arguments) for note in same
            ]
            for probe, note in zip(found, same, strict=True):
                # Programs are linked so that code is where it is in the file.
                assert probe.offset == note.location
                assert bool(probe.semaphore) == bool(note.semaphore)


def test_prelinked(run: Run, binary: Path, tmp_path: Path) -> None:
    """Notes whose base is another than the section's have all their addresses moved with it."""
    (note,) = (note for note in notes(run, binary) if note.name == "many")
    data = binary.read_bytes()
    addresses = [note.location, note.base, note.semaphore]
    old = struct.pack("=3Q", *addresses)
    assert data.count(old) == 1
    moved = tmp_path / "moved"
    new = struct.pack("=3Q", *(address - 0x200 for address in addresses))
    moved.write_bytes(data.replace(old, new))
    with ElfFile(binary) as elf, ElfFile(moved) as other:
        assert find_probes(other, "trial", "many") == find_probes(elf, "trial", "many")


def test_no_such_probe(binary: Path) -> None:
    with ElfFile(binary) as elf, pytest.raises(NotFound) as caught:
        find_probes(elf, "trial", "twise")
    assert str(caught.value).startswith("no probe 'trial:twise' (similar: trial:twice,")
    with ElfFile("/bin/sh") as elf, pytest.raises(NotFound, match="the file has no probes"):
        find_probes(elf, "trial", "many")


def test_damaged_notes(binary: Path, tmp_path: Path) -> None:
    """Each byte of the notes overwritten: an answer, or one of lskel's errors."""
    data = binary.read_bytes()
    with ElfFile(binary) as elf:
        section = elf.section(".note.stapsdt")
    assert section is not None
    path = tmp_path / "damaged"
    refused = 0
    for place in range(section.offset, section.offset + section.size):
        path.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
        try:
            with ElfFile(path) as elf:
                find_probes(elf, "trial", "bare")
        except LskelError:
            refused += 1
    assert refused > 10


# -- arguments ------------------------------------------------------------------------------------

# Offsets in struct pt_regs (arch/x86/include/uapi/asm/ptrace.h).
RBP, RBX, R10, R8, RAX, RCX, RDX, RSI, RDI, RIP, RSP = (
    8 * number for number in (4, 5, 7, 9, 10, 11, 12, 13, 14, 16, 19)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-4@$-9", Argument(Where.CONST, -9, 0, 4, True)),
        ("8@$0x10", Argument(Where.CONST, 16, 0, 8, False)),
        ("8@%rax", Argument(Where.REG, 0, RAX, 8, False)),
        ("-4@%eax", Argument(Where.REG, 0, RAX, 4, True)),
        ("2@%ax", Argument(Where.REG, 0, RAX, 2, False)),
        ("-1@%al", Argument(Where.REG, 0, RAX, 1, True)),
        ("1@%bl", Argument(Where.REG, 0, RBX, 1, False)),
        ("4@%ecx", Argument(Where.REG, 0, RCX, 4, False)),
        ("4@%edx", Argument(Where.REG, 0, RDX, 4, False)),
        ("1@%sil", Argument(Where.REG, 0, RSI, 1, False)),
        ("2@%di", Argument(Where.REG, 0, RDI, 2, False)),
        ("4@%r8d", Argument(Where.REG, 0, R8, 4, False)),
        ("1@%r10b", Argument(Where.REG, 0, R10, 1, False)),
        ("8@%r15", Argument(Where.REG, 0, 0, 8, False)),
        ("-4@-1204(%rbp)", Argument(Where.REG_DEREF, -1204, RBP, 4, True)),
        ("8@(%rsp)", Argument(Where.REG_DEREF, 0, RSP, 8, False)),
        ("8@0x18(%rdi)", Argument(Where.REG_DEREF, 24, RDI, 8, False)),
        ("4@4096(%rip)", Argument(Where.REG_DEREF, 4096, RIP, 4, False)),
        ("-1@-96(%rbp,%rax,8)", Argument(Where.SIB, -96, RBP, 1, True, RAX, 3)),
        ("8@(%rdi,%rsi,1)", Argument(Where.SIB, 0, RDI, 8, False, RSI, 0)),
        ("8@0x10(%rdi,%r8)", Argument(Where.SIB, 16, RDI, 8, False, R8, 0)),
    ],
)
def test_argument_on_x86_64(text: str, expected: Argument) -> None:
    assert parse_arguments(text, ElfMachine.EM_X86_64) == (expected,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-4@5", Argument(Where.CONST, 5, 0, 4, True)),
        ("8@-17", Argument(Where.CONST, -17, 0, 8, False)),
        ("-8@x4", Argument(Where.REG, 0, 32, 8, True)),
        ("4@w30", Argument(Where.REG, 0, 240, 4, False)),
        ("8@sp", Argument(Where.REG, 0, 248, 8, False)),
        ("-4@[sp]", Argument(Where.REG_DEREF, 0, 248, 4, True)),
        ("-4@[sp, 96]", Argument(Where.REG_DEREF, 96, 248, 4, True)),
        ("8@[x1,-8]", Argument(Where.REG_DEREF, -8, 8, 8, False)),
    ],
)
def test_argument_on_aarch64(text: str, expected: Argument) -> None:
    assert parse_arguments(text, ElfMachine.EM_AARCH64) == (expected,)


def test_arguments() -> None:
    """Between them is space, which on arm64 is in them, too."""
    assert (
        parse_arguments("", ElfMachine.EM_X86_64)
        == parse_arguments(":", ElfMachine.EM_X86_64)
        == ()
    )
    for machine, parts in (
        (ElfMachine.EM_X86_64, ("-4@$1", "8@%rax", "1@-3(%rbp)", "2@%cx")),
        (ElfMachine.EM_AARCH64, ("-4@[sp, 96]", "8@x3", "8@[x1]", "4@12")),
    ):
        single = [parse_arguments(part, machine)[0] for part in parts]
        for chosen in itertools.permutations(range(4)):
            text = " ".join(parts[number] for number in chosen)
            assert parse_arguments(text, machine) == tuple(single[number] for number in chosen)


@pytest.mark.parametrize(
    "text",
    [
        *("8@%xmm0", "8@counter(%rip)", "8@8+counter(%rip)", "8@(%rdi,%rsi,3)", "8@4(,%rsi,8)"),
        *("8f@%rax", "3@%rax", "16@%rax", "@%rax", "%rax", "8@", "8@rax", "8@$", "8@%rax)"),
        *("8@$09", "8@(%rax", "8@(%rax,%xmm0,8)", "eight@%rax", "8@%fs:4", "8@[sp, 96]"),
    ],
)
def test_arguments_that_cannot_be_read(text: str) -> None:
    with pytest.raises(NotSupported, match=re.escape(f"argument 1 of the probe, '{text}'")):
        parse_arguments(f"-4@$1 {text}", ElfMachine.EM_X86_64)


def test_arguments_of_others() -> None:
    with pytest.raises(NotSupported, match="only x86-64 and arm64"):
        parse_arguments("8@%rax", 243)
    assert parse_arguments("", 243) == ()
    for text in ("8@x31", "8@[sp, x0]", "8@%rax", "8@[sp, 96", "8@xzr"):
        with pytest.raises(NotSupported, match="argument 0"):
            parse_arguments(text, ElfMachine.EM_AARCH64)


# What is written for the first line, and the C that sets the same.
ARGUMENTS = {
    "-4@$-9": "a->val_off = -9; a->arg_type = 0; a->arg_signed = 1; a->arg_bitshift = 32;",
    "1@8(%rax)": "a->val_off = 8; a->arg_type = 2; a->reg_off = 80; a->arg_bitshift = 56;",
}
SIB = {
    "-2@-96(%rbp,%r8,8)": "a->val_off = -96; a->arg_type = 3; a->reg_off = 32; a->arg_signed = 1;"
    "a->arg_bitshift = 48; a->idx_reg_off = 72; a->scale_bitshift = 3;"
}


def _installed() -> str:
    header = Path("/usr/include/bpf/usdt.bpf.h").read_text()
    start = header.index("enum __bpf_usdt_arg_type {")
    return header[start : header.index("struct {", start)]


MAP = """
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct __bpf_usdt_spec);
} __bpf_usdt_specs SEC(".maps");
"""
LAYOUTS = {
    "installed": (_installed, ARGUMENTS),
    "1.7": (lambda: INDEXED, ARGUMENTS | SIB),
    # As none is so far: only the BTF says where its members are.
    "other": (
        lambda: INDEXED.replace("12]", "9]").replace("short reg", "long other; short reg"),
        ARGUMENTS | SIB,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout(name: str, tmp_path: Path) -> None:
    """Where gcc has the members of struct __bpf_usdt_spec."""
    types, arguments = LAYOUTS[name]
    lines = "a++;".join(arguments.values())
    source = f"""
    #include <linux/types.h>
    #include <stdbool.h>
    #include <string.h>
    #include <unistd.h>
    {types()}
    int main(void)
    {{
        struct __bpf_usdt_spec spec;
        struct __bpf_usdt_arg_spec *a = spec.args;

        memset(&spec, 0, sizeof(spec));
        spec.usdt_cookie = 1ull << 63 | 5;
        spec.arg_cnt = {len(arguments)};
        {lines}
        return write(1, &spec, sizeof(spec)) != sizeof(spec);
    }}
    """
    path = compile_c(source, tmp_path / "layout")
    expected = subprocess.run([path], capture_output=True, check=True).stdout
    source = (
        f"#include <linux/bpf.h>\n#include <stdbool.h>\n#include <bpf/bpf_helpers.h>\n{types()}"
    )
    with lskel.load(compile_bpf(source + MAP, "-nohead"), name="layout") as bpf:
        info = bpf.maps[SPECS_MAP].info()
        with_btf = spec_layout(info)
    found = parse_arguments(" ".join(arguments), ElfMachine.EM_X86_64)
    layouts = [with_btf] if name == "other" else [with_btf, spec_layout(info._replace(btf_id=0))]
    for layout in layouts:
        ours = layout.encode(found, 1 << 63 | 5)
        # The last byte is padding, and marks it.
        assert len(ours) == len(expected)
        assert ours[:-1] == expected[:-1]
        assert not layout.is_free(ours)
        assert layout.is_free(bytes(len(ours)))
        with pytest.raises(NotSupported, match=f"13 arguments, at most {layout.room}"):
            layout.encode(found[:1] * 13, 0)


def test_layout_without_rights(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The BTF takes CAP_SYS_ADMIN; the size of values says it, too."""
    info = map_info(made.program.maps[SPECS_MAP].fileno())
    expected = spec_layout(info)

    def refused(*_: object) -> None:
        raise BpfError(Cmd.BTF_GET_FD_BY_ID, errno.EPERM)

    monkeypatch.setattr("lskel.runtime.objects.by_id", refused)
    found = spec_layout(info)
    arguments = parse_arguments("-4@$-9 1@8(%rax)", ElfMachine.EM_X86_64)
    assert found.encode(arguments, 7) == expected.encode(arguments, 7)


def test_layout_before_index_registers(made: Made, binary: Path) -> None:
    with pytest.raises(NotSupported, match=r"argument 0 .* has an index register \(.*libbpf 1.7"):
        made.program.attach(binary, "trial", "indexed")
    assert made.taken() == 0


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ("struct __bpf_usdt_spec { long args[4]; };", "have no 'usdt_cookie'"),
        (INDEXED.replace("reg_off;", "reg;"), "have no 'reg_off'"),
        (INDEXED.replace("short arg_cnt;", "long arg_cnt;"), "have no 'padding at the end'"),
        ("struct __bpf_usdt_spec { long args, usdt_cookie, arg_cnt; };", "have no 'args'"),
    ],
)
def test_layout_of_something_else(types: str, said: str) -> None:
    source = f"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n{types}{MAP}"
    with lskel.load(compile_bpf(source, "-nohead"), name="layout") as bpf:
        info: MapInfo = bpf.maps[SPECS_MAP].info()
        with pytest.raises(UsageError, match=said):
            spec_layout(info)
    without = info._replace(btf_id=0, value_size=300)
    with pytest.raises(UsageError, match="have 300 bytes, and no BTF"):
        spec_layout(without)


# -- attaching ------------------------------------------------------------------------------------


def test_arguments_seen(made: Made, binary: Path, process: Process) -> None:
    process.fire("m")
    assert made.seen().hits == 0
    link = made.program.attach(binary, "trial", "many", cookie=77)
    assert made.links == [link]
    process.fire("m")
    seen = made.seen()
    assert (seen.hits, seen.arguments, seen.cookie, seen.first) == (1, len(MANY), 77, MANY[0])
    assert seen.values[: len(MANY)] == MANY
    link.close()
    process.fire("m")
    assert made.seen().hits == 1
    assert link.closed


def test_index_register(binary: Path, process: Process) -> None:
    with compiled(INDEXED_PROGRAM) as made, made.program.attach(binary, "trial", "indexed"):
        process.fire("i")
        assert (made.seen().hits, made.seen().arguments) == (1, 2)
        assert made.seen().values[:2] == [-6, -4]


def test_semaphore(made: Made, binary: Path, process: Process) -> None:
    """It is 1 while anybody is attached, also in processes that are started meanwhile."""
    assert process.fire("m") == 0
    with made.program.attach(binary, "trial", "many"):
        assert process.fire("m") == 1
        with made.program.attach(binary, "trial", "many"), started(binary) as other:
            assert other.fire("m") == 1
        assert process.fire("m") == 1
    assert process.fire("m") == 0


def test_two_places(made: Made, binary: Path, process: Process) -> None:
    """One probe in two places, with its argument elsewhere in each."""
    with made.program.attach(binary, "trial", "twice"):
        assert made.taken() == 2
        process.fire("1")
        assert made.seen().first == -1000000000000
        process.fire("2")
        assert made.seen().first == -2
        assert made.seen().hits == 2
    assert made.taken() == 0


def test_several_probes(made: Made, binary: Path, process: Process) -> None:
    """Attached at once, each has its own arguments and cookie; what is given back is used again."""
    many = made.program.attach(binary, "trial", "many", cookie=1)
    bare = made.program.attach(binary, "trial", "bare", cookie=2)
    for _ in range(2):
        process.fire("m")
        assert (made.seen().arguments, made.seen().cookie) == (len(MANY), 1)
        process.fire("b")
        assert (made.seen().arguments, made.seen().cookie) == (0, 2)
        many.close()
        many = made.program.attach(binary, "trial", "many", cookie=1)
    assert made.taken() == 2
    many.close()
    bare.close()


def test_pid(made: Made, binary: Path, process: Process) -> None:
    with started(binary) as other:
        with made.program.attach(binary, "trial", "bare", pid=process.pid):
            other.fire("b")
            assert made.seen().hits == 0
            process.fire("b")
            assert made.seen().hits == 1
        with made.program.attach(binary, "trial", "bare", pid=THIS_PROCESS):
            process.fire("b")
            assert made.seen().hits == 1


def test_attaches_itself(binary: Path, process: Process) -> None:
    with loaded(f"{binary}:trial:bare") as made:
        assert made.program.attaches_itself()
        with made.program.attach():
            process.fire("b")
            assert made.seen().hits == 1


def test_without_cookies(binary: Path, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 5.15: the program finds the description by its own address."""
    monkeypatch.setattr(usdt, "_has_cookies", lambda: False)
    with loaded("", kconfig={"LINUX_HAS_BPF_COOKIE": "n"}) as made:
        with pytest.raises(NotSupported, match="one process at a time"):
            made.program.attach(binary, "trial", "twice")
        with made.program.attach(binary, "trial", "twice", pid=process.pid, cookie=9):
            assert len(made.map(IPS_MAP)) == 2
            process.fire("2")
            assert (made.seen().first, made.seen().cookie) == (-2, 9)
            process.fire("1")
            assert made.seen().first == -1000000000000
        assert made.map(IPS_MAP) == {}
        with pytest.raises(NotFound, match="has not mapped that file"):
            made.program.attach(binary, "trial", "twice", pid=THIS_PROCESS)


def test_multi(made: Made, binary: Path, process: Process) -> None:
    """Programs that were loaded for it attach to all places by one link (Linux 6.6)."""
    with create_map(MapType.ARRAY, 4, 8, 1) as counter:
        kind = AttachType.TRACE_UPROBE_MULTI
        fd = load_program(ProgType.KPROBE, counts_in(counter.fileno()), attach_type=kind)
        definition = ProgramDefinition("multi", "usdt", "", ProgType.KPROBE, kind)
        with fd, made.over(UsdtProgram(definition), fd).attach(binary, "trial", "twice"):
            process.fire("1")
            process.fire("2")
        process.fire("1")
        assert lookup(counter.fileno(), bytes(4), 8) == (2).to_bytes(8, sys.byteorder)


def test_refusals(made: Made, binary: Path) -> None:
    program = made.program
    for arguments, error, said in (
        ((), UsageError, "has no attach target: expected a probe"),
        ((binary, "trial"), UsageError, "no probe in the binary"),
        ((None, "trial", "bare"), UsageError, "'provider' and 'name' need 'binary'"),
        ((binary, "trial", "float"), NotSupported, "argument 0 of the probe, '8f@%xmm0'"),
        ((binary, "trial", "other"), NotFound, "no probe 'trial:other'"),
        (("/nowhere/to/be", "trial", "bare"), NotFound, "no file"),
    ):
        with pytest.raises(error, match=re.escape(said)):
            program.attach(*arguments)
    with pytest.raises(LskelError, match="ESRCH"):
        program.attach(binary, "trial", "bare", pid=(1 << 22) - 1)
    program.maps = {}
    with pytest.raises(UsageError, match=r"no map '__bpf_usdt_specs' \(.*usdt.bpf.h"):
        program.attach(binary, "trial", "bare")
    assert made.links == []
    assert made.taken() == 0


def test_full(binary: Path) -> None:
    """No more probes than the map has room for; and none is left when that is said."""
    with loaded("", "-DBPF_USDT_MAX_SPEC_CNT=3") as made:
        attach = made.program.attach
        with attach(binary, "trial", "bare"), attach(binary, "trial", "bare"):
            with pytest.raises(LskelError, match=f"map '{SPECS_MAP}' is full: all 3 elements"):
                attach(binary, "trial", "twice")
            assert made.taken() == 2
            with attach(binary, "trial", "bare"):
                assert made.taken() == 3
        assert made.taken() == 0
