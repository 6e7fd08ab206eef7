"""lskel disasm: what it prints is the listing, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from lskel.cli import main
from lskel.describe.jsonable import jsonable
from lskel.describe.listing import listing
from lskel.describe.loader_listing import loader_listing
from lskel.loader.bundle import dump
from lskel.loader.generate import generate
from lskel.object.open import open_object
from tests.build.clang import compile_bpf, example
from tests.build.elf import one_program
from tests.cli.terminals import LSKEL
from tests.describe.samples import LOADABLE

INSN = re.compile(r" *(\d+): ")


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.bpf.o"
    path.write_bytes(compile_bpf(LOADABLE))
    return path


def disasm(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    assert main(["disasm", *map(str, args)]) == 0
    return capsys.readouterr().out


def test_example(capsys: pytest.CaptureFixture[str]) -> None:
    text = disasm(capsys, example("execsnoop"))
    assert text.startswith(
        "on_exec (tracing, section tp_btf/sched_process_exec)\n"
        "on_exec:\n"
        "; ./execsnoop.bpf.c:37: int BPF_PROG(on_exec, struct task_struct *task, "
    )
    for line in (
        "   2: r1 = map[0:'events']\n",
        "   6: call bpf_ringbuf_reserve#131\n",
        "  10: r2 = map[1:'execsnoo.bss'] +0            ; lost\n",
        "  17: call fill (pc+5)\n",
        "\nfill:\n; ./execsnoop.bpf.c:26: static __noinline void fill(",
        "; ./execsnoop.bpf.c:30: event->ppid = task->real_parent->tgid;\n",
        "; CO-RE byte_off struct task_struct.real_parent (0:2)\n",
    ):
        assert line in text
    (item,) = listing(open_object(example("execsnoop")))
    shown = [int(match[1]) for line in text.splitlines() if (match := INSN.match(line))]
    assert shown == [row.insn for row in item.rows]


def test_a_line_is_printed_once_before_its_instructions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = disasm(capsys, example("execsnoop"))
    sources = [line for line in text.splitlines() if line.startswith("; ./")]
    assert len(sources) > 10
    assert all(a != b for a, b in pairwise(sources))
    bare = disasm(capsys, example("execsnoop"), "--no-source")
    assert bare.splitlines() == [line for line in text.splitlines() if not line.startswith("; ./")]


def test_raw_bytes_are_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    text = disasm(capsys, example("hello"), "--raw", "--no-source")
    (item,) = listing(open_object(example("hello")))
    found = re.findall(r"^(?: *\d+:|     ) ((?:[0-9a-f]{2} ?){8})", text, re.MULTILINE)
    assert bytes.fromhex("".join(found)) == b"".join(row.raw for row in item.rows)


def test_bundle_reads_like_its_object(
    capsys: pytest.CaptureFixture[str], sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "sample.lskel"
    path.write_bytes(dump(generate(open_object(sample))))
    for options in ((), ("--raw",), ("--json",), ("--program", "main_program"), ("--loader",)):
        assert disasm(capsys, sample, *options) == disasm(capsys, path, *options)


def test_programs_by_name(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    text = disasm(capsys, sample)
    assert "optional (tracing, section fentry.s/do_unlinkat)\n; autoload disabled" in text
    text = disasm(capsys, sample, "--program", "optional")
    assert "optional:\n" in text and "main_program" not in text
    both = disasm(capsys, sample, "--program", "optional", "--program", "main_program")
    assert "optional:\n" in both and "main_program:\n" in both
    assert main(["disasm", str(sample), "--program", "nobody"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"lskel: {sample}: no program 'nobody' (available: ")


def test_json_is_the_listing(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    shown = json.loads(disasm(capsys, sample, "--json"))
    assert shown == {"programs": [jsonable(item) for item in listing(open_object(sample))]}
    row = shown["programs"][0]["rows"][0]
    assert (row["insn"], len(row["raw"]), row["label"]) == (0, 16, "main_program")


def test_loader(capsys: pytest.CaptureFixture[str]) -> None:
    text = disasm(capsys, example("hello"), "--loader", "--form", "unrolled")
    loader = generate(open_object(example("hello")), "unrolled")
    assert text.startswith("hello (syscall)\n")
    assert "\nop 0: BtfLoad:\n" in text
    assert re.search(r"blob\+\d+ \(attr of op 1: max_entries\)", text)
    form = ("--form", "unrolled")
    shown = json.loads(disasm(capsys, example("hello"), "--loader", "--json", *form))
    assert shown == {"programs": [jsonable(loader_listing(loader))]}
    assert main(["disasm", str(example("hello")), "--loader", "--program", "x"]) == 1
    assert "--program cannot be combined with --loader" in capsys.readouterr().err


def test_standard_input(capsys: pytest.CaptureFixture[str]) -> None:
    shown = subprocess.run(
        [*LSKEL, "disasm", "-", "--name", "hello"],
        input=example("hello").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert shown.stdout.decode() == disasm(capsys, example("hello"))


def test_names_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "odd.o"
    path.write_bytes(bytes(one_program(name="a\x1b[31m\nb")))
    text = disasm(capsys, path)
    assert text == (
        "a\\x1b[31m\\nb (raw_tracepoint, section raw_tp/sys_enter)\n   0: r0 = 0\n   1: exit\n"
    )


def test_damaged_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole = example("syscount").read_bytes()
    path = tmp_path / "cut.o"
    path.write_bytes(whole[: len(whole) // 2])
    assert main(["disasm", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"lskel: {path}: ")
