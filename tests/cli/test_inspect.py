"""lskel inspect: the same facts as JSON, as plain text, and in a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lskel.cli import main
from lskel.describe.jsonable import jsonable
from lskel.describe.summary import summarize
from lskel.loader.bundle import dump
from lskel.loader.generate import generate
from lskel.object.open import open_object
from tests.build.clang import compile_bpf, example
from tests.build.elf import one_program
from tests.cli.terminals import LSKEL
from tests.describe.samples import ASKING, LOADABLE, UNLOADABLE


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.bpf.o"
    path.write_bytes(compile_bpf(LOADABLE))
    return path


def inspect(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    assert main(["inspect", *map(str, args)]) == 0
    return capsys.readouterr().out


def rows(text: str, title: str) -> list[list[str]]:
    """The cells of a plain table, by words."""
    lines = text.split("\n\n")
    (table,) = (part for part in lines if part.startswith(f"{title}\n"))
    return [line.split() for line in table.splitlines()[1:]]


def test_json_is_the_summary(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    shown: dict[str, Any] = json.loads(inspect(capsys, sample, "--json"))
    assert shown == jsonable(summarize(open_object(sample)))
    assert shown["maps"][0]["name"] == "first"
    assert shown["programs"][0]["subprograms"] == ["add", "visit"]


def test_object(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    text = inspect(capsys, sample)
    assert text.startswith("sample: object, little-endian, license Dual BSD/GPL\nBTF: ")
    maps = {row[0]: row[1:] for row in rows(text, "Maps")}
    assert maps["name"][:2] == ["type", "key"]
    assert maps["first"] == ["hash", "4", "int", "8", "struct", "inner_s", "8", ".maps"]
    assert "of hash (key 4, value 8, entries 8), [1] = first" in text
    assert "in the kernel name_of_more_th, no_prealloc, 0x10000000, pinned by_name" in text
    assert ["limits", "const", "volatile", "int[2]", "sample.rodata", "0", "8"] in rows(
        text, "Variables"
    )
    (main_program, optional) = rows(text, "Programs")[1:]
    assert main_program[:3] == ["main_program", "raw_tp/sys_enter", "raw_tracepoint"]
    assert " ".join(main_program).endswith("5 contains add, visit")
    assert " ".join(optional).endswith("sleepable, autoload disabled")
    assert ["license", "13"] in rows(text, "Sections")
    assert "Cannot be loaded" not in text


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    lines = inspect(capsys, sample).split("\n\n")[2].splitlines()
    assert lines[0] == "Variables"
    starts = [line.index(word) for line, word in zip(lines[1:3], ("map", "sample"), strict=True)]
    assert starts[0] == starts[1]
    assert {len(line) for line in lines[1:]} == {len(lines[1])}


def test_bundle(capsys: pytest.CaptureFixture[str], sample: Path, tmp_path: Path) -> None:
    loader = generate(open_object(sample))
    path = tmp_path / "sample.lskel"
    path.write_bytes(dump(loader))
    text = inspect(capsys, path)
    assert text.startswith("sample: bundle, ")
    assert f"loader: table, {len(loader.insns) // 8} instructions, {len(loader.blob)} " in text
    assert "Sections" not in text
    sizes = [int(size) for _, size in rows(text, "Data")[1:]]
    assert sum(sizes) == len(loader.blob)
    assert ["ProgLoad", "2"] in rows(text, "Operations")


def test_why_programs_cannot_be_loaded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "sample.bpf.o"
    path.write_bytes(compile_bpf(UNLOADABLE))
    text = inspect(capsys, path)
    problems = text.partition("\nCannot be loaded\n")[2].splitlines()
    assert any("'unknown'" in line and "has no known program type" in line for line in problems)
    assert not any("'harmless'" in line for line in problems)
    assert [
        "bpf_task_acquire",
        "kfunc",
        "struct",
        "task",
        "*(struct",
        "task",
        "*)",
        "with_kfunc",
        "weak",
    ] in rows(text, "Externs")


def test_what_is_asked_of_the_target(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "asking.bpf.o"
    path.write_bytes(compile_bpf(ASKING))
    bundle = tmp_path / "asking.lskel"
    generate(open_object(path)).save(bundle)
    for source in (path, bundle):
        text = inspect(capsys, source)
        assert "types, needed by program 'replacing' (freplace)" in text.splitlines()[1]
        externs = {row[0].partition("___")[0]: row[1:] for row in rows(text, "Externs")[1:]}
        assert externs["bpf_task_release"][-2:] == ["kfuncs", "weak"]
        assert externs["bpf_prog_active"] == ["ksym", "variables", "typeless"]
        assert externs["CONFIG_HZ"] == ["kconfig", "int"]
        asked = [" ".join(row[1:]) for row in rows(text, "Inputs")[1:]]
        another = "whether the kernel has another type than:"
        assert f"{another} struct task *bpf_task_acquire(struct task *)" in asked
        assert f"{another} const struct rq runqueues" in asked
        assert [row for row in asked if another not in row] == [
            "BTF id of the attach target of program 'replacing'",
            "fd of the attach target of program 'replacing'",
        ]
        notes = {row[0]: row for row in rows(text, "Maps")}
        assert notes["shared"][-2:] == ["pinned", "by_name"] and notes["arena"][1] == "arena"


def test_standard_input() -> None:
    shown = subprocess.run(
        [*LSKEL, "inspect", "-", "--name", "hello", "--json"],
        input=example("hello").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert json.loads(shown.stdout) == jsonable(summarize(open_object(example("hello"))))


def test_errors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bad = tmp_path / "bad.o"
    bad.write_bytes(b"\x7fELF junk")
    for path, message in (
        (bad, f"lskel: {bad}: the ELF header: 0x0+0x10 is outside the file"),
        (tmp_path / "none.o", f"lskel: {tmp_path / 'none.o'}: No such file or directory"),
    ):
        assert main(["inspect", str(path)]) == 1
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.startswith(message)
        assert shown.err.count("\n") == 1


def test_names_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "odd.o"
    path.write_bytes(bytes(one_program(name="a\x1b[31m\nb")))
    text = inspect(capsys, path)
    assert r"a\x1b[31m\nb" in text and "\x1b" not in text


def in_terminal(path: Path) -> str:
    """What a wide terminal gets."""
    main_end, terminal = pty.openpty()
    process = subprocess.Popen(
        [*LSKEL, "inspect", str(path)],
        stdout=terminal,
        env={**os.environ, "COLUMNS": "200", "TERM": "xterm"},
    )
    os.close(terminal)
    output = b""
    try:
        while piece := os.read(main_end, 4096):
            output += piece
    except OSError:
        pass  # Linux says so when the other end is closed
    finally:
        os.close(main_end)
    assert process.wait() == 0
    return output.decode()


def test_terminal_gets_tables(sample: Path) -> None:
    text = in_terminal(sample)
    assert "\x1b[1m" in text and "───" in text
    assert "const volatile int[2]" in text


def test_names_are_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "odd.o"
    path.write_bytes(bytes(one_program(name="a[red]\x1b[31mb")))
    assert r"a[red]\x1b[31mb" in in_terminal(path)


def test_no_colours_elsewhere(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    assert "\x1b" not in inspect(capsys, sample)
