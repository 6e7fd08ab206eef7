"""Pointers in global data: who names them, and what the kernel holds instead."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import lskel
from lskel.cli import main
from lskel.elf.object import Elf
from lskel.object.pointers import pointer_remarks
from tests import corpus
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.loads import Load, both

POINTERS = """
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} counts SEC(".maps");
static __attribute__((noinline)) int triple(int x) { return x * 3; }
int number = 3;
int (*volatile table[2])(int) = { triple, triple };
void *volatile of_map = &counts;
int *volatile of_number = &number;
struct { int id; const char *name; } volatile inside[] = { { 1, "one" }, { 2, "two" } };
static const char *volatile hidden = "a text of more than thirty-two bytes";
const char *const volatile words[] = { "alpha", "beta" };
const volatile int plain[] = { 1, 2 };
SEC("socket") int run(struct __sk_buff *skb)
{
	int at = skb->mark & 1;
	return triple(number) + (long)table[at] + (long)of_map + (long)of_number +
	(long)inside[at].name + (long)hidden + (long)words[at] + plain[at];
}
"""
# None of these is in data: values of maps of maps, prog arrays, debug information.
ELSEWHERE = """
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} one SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, int);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { &one } };
SEC("socket") int tail(struct __sk_buff *skb) { return 0; }
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__array(values, int (void *));
} tails SEC(".maps") = { .values = { (void *)&tail } };
int zero;
"""


@pytest.mark.parametrize("big_endian", [False, True])
def test_remarks(big_endian: bool) -> None:
    remarks = lskel.open_object(compile_bpf(POINTERS, big_endian=big_endian)).remarks
    found = [
        re.match(r"section (\S+), (.*) is not filled in: a program cannot", r) for r in remarks
    ]
    assert sorted(match.groups() for match in found if match) == [
        (
            ".data",
            "variable 'hidden' at +0x48: the pointer to \"a text of more than thirty-two b...\"",
        ),
        (".data", "variable 'inside' at +0x30: the pointer to \"one\" (and 1 more)"),
        (".data", "variable 'of_map' at +0x18: the pointer to 'counts'"),
        (".data", "variable 'of_number' at +0x20: the pointer to 'number'"),
        (".data", "variable 'table' at +0x8: the pointer to 'triple' (and 1 more)"),
        (".rodata", "variable 'words' at +0x0: the pointer to \"alpha\" (and 1 more)"),
    ]


def test_all_are_counted(tmp_path: Path) -> None:
    """As readelf counts the relocations."""
    path = tmp_path / "pointers.bpf.o"
    path.write_bytes(compile_bpf(POINTERS))
    listed = subprocess.run(
        ["readelf", "--relocs", "--wide", path], capture_output=True, check=True, text=True
    ).stdout
    counts = re.findall(r"'\.rel\.(?:data|rodata)' at offset \S+ contains (\d+) entries", listed)
    named = [re.search(r"\(and (\d+) more\)", r) for r in lskel.open_object(path).remarks]
    assert sum(1 + int(match[1]) if match else 1 for match in named) == sum(map(int, counts)) == 9


def test_many_variables() -> None:
    names = "".join(f"int *volatile p{n:02} = &number;" for n in range(20))
    uses = " + ".join(f"*p{n:02}" for n in range(20))
    source = f'int number; {names} SEC("socket") int run(void *skb) {{ return {uses}; }}'
    *named, last = lskel.open_object(compile_bpf(source)).remarks
    assert len(named) == 16
    assert last == "section .data: pointers in 4 more variables are not filled in"


def test_no_remark_elsewhere() -> None:
    assert lskel.open_object(compile_bpf(ELSEWHERE)).remarks == ()


@pytest.mark.corpus
def test_no_selftest_has_them(corpus_tools: None) -> None:
    """None has a section .rel.data, .rel.rodata or .rel.bss: no warning is a false one."""
    for path in corpus.objects():
        assert pointer_remarks(Elf(path.read_bytes())) == (), path


def test_every_door_says_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "pointers.bpf.o"
    path.write_bytes(compile_bpf(POINTERS))
    doors = [
        *(["inspect", str(path)], ["trace", str(path)], ["disasm", str(path)]),
        *(["gen", str(path), "-o", str(tmp_path / f"out.{kind}")] for kind in ("lskel", "py", "h")),
    ]
    for arguments in doors:
        assert main(arguments) == 0
        assert (
            f"lskel: warning: {path}: section .data, variable 'of_map'" in capsys.readouterr().err
        )
    with pytest.warns(UserWarning, match=r"^pointers: section \.data, variable 'of_map'"):
        lskel.load(path).close()


@pytest.mark.kernel
@both
def test_what_the_kernel_holds(load: Load, tmp_path: Path, bpffs: Path, run: Run) -> None:
    """The same as with libbpf."""
    path = tmp_path / "pointers.bpf.o"
    path.write_bytes(compile_bpf(POINTERS))
    run("bpftool", "prog", "load", path, bpffs / "run")
    shown = json.loads(run("bpftool", "-j", "prog", "show", "pinned", bpffs / "run"))
    expected = {}
    for number in shown["map_ids"]:
        name = json.loads(run("bpftool", "-j", "map", "show", "id", number))["name"]
        (element,) = json.loads(run("bpftool", "-j", "map", "dump", "id", number))
        expected[name] = bytes(int(byte, 16) for byte in element["value"])
    obj = lskel.open_object(path)
    with load(lskel.generate(obj)) as bpf:
        for section in ("data", "rodata"):
            assert bytes(getattr(bpf, section)) == expected[f"pointers.{section}"]
        assert bytes(bpf.data) == obj.map("pointers.data").initial
