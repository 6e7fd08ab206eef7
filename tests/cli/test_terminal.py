"""What goes to terminals and what to pipes: progress, colours, and the variables that say so."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.build.clang import example
from tests.cli.terminals import LSKEL, SGR, on_terminal

NAMES = ("hello", "syscount", "xdpcount")
SPINNER = "\u280b"
# What no terminal may get: the lines without an animation.
CURSOR = "\x1b["


def piped(*args: str | Path, **environment: str) -> tuple[str, str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [*LSKEL, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env=clean | {"TERM": "xterm-256color"} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def many(command: str, tmp_path: Path) -> list[str | Path]:
    """Arguments for several objects."""
    options = {
        "gen": ["-o", f"{tmp_path}/out/"],
        "load": ["--replay", "simulator"],
        "run": ["--duration", "0"],
    }
    return [command, *map(example, NAMES), *options[command]]


@pytest.mark.kernel
@pytest.mark.parametrize("command", ["gen", "load", "run"])
def test_progress(command: str, tmp_path: Path) -> None:
    out, err = piped(*many(command, tmp_path))
    assert CURSOR not in out + err and SPINNER not in out + err
    screen = on_terminal(*many(command, tmp_path))
    assert screen.status == 0 and SPINNER in screen.raw and "0/3" in screen.raw
    if command != "gen":
        assert all(f"{name}.bpf.o" in screen.raw for name in NAMES)
    # The progress is gone in the end; what stays is what goes to a pipe.
    assert heads(screen.lines) == heads((out + err).splitlines())


def heads(lines: list[str]) -> list[str]:
    """The lines but for what is in maps, and numbers."""
    return [line for line in lines if not line.startswith("  ")]


@pytest.mark.kernel
@pytest.mark.parametrize("command", ["gen", "load", "run"])
def test_no_progress(command: str, tmp_path: Path) -> None:
    args = many(command, tmp_path)
    for quiet in (
        on_terminal(*args, "--json"),
        on_terminal(*args, TERM="dumb"),
        on_terminal(command, example("hello"), *args[4:]),
    ):
        assert quiet.status == 0
        assert CURSOR not in quiet.raw and SPINNER not in quiet.raw


def test_progress_gives_way_to_errors(tmp_path: Path) -> None:
    bad = tmp_path / "bad.o"
    bad.write_bytes(b"nothing")
    sources = example("hello"), bad, example("syscount")
    screen = on_terminal("load", *sources, "--replay", "simulator")
    assert screen.status == 1 and SPINNER in screen.raw
    starts = [line for line in screen.lines if not line.startswith("  ")]
    assert starts[0].startswith(f"{example('hello')}: 1 maps") and len(starts) >= 4
    assert starts[1].startswith(f"lskel: {bad}: not an ELF file")
    assert starts[-1] == "2 of 3 objects loaded"


COLOURED = (["disasm", example("hello")], ["disasm", "--loader", example("hello")])


@pytest.mark.parametrize("args", COLOURED, ids=["disasm", "loader"])
def test_colours(args: list[str | Path]) -> None:
    assert on_terminal(*args).is_styled
    assert on_terminal(*args, NO_COLOR="").is_styled
    for plain in (
        {"NO_COLOR": "1"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
        {"TERM": "dumb"},
    ):
        assert not on_terminal(*args, **plain).is_styled
    assert not SGR.search(piped(*args)[0])
    assert SGR.search(piped(*args, FORCE_COLOR="1")[0])
    assert not SGR.search(piped(*args, FORCE_COLOR="")[0])
    assert not SGR.search(piped(*args, FORCE_COLOR="1", NO_COLOR="1")[0])


def test_colours_of_tables_and_progress(tmp_path: Path) -> None:
    for args in (["inspect", example("hello")], many("gen", tmp_path)):
        assert on_terminal(*args).is_styled
        without = on_terminal(*args, NO_COLOR="1")
        assert not without.is_styled
        assert not on_terminal(*args, TERM="dumb").is_styled
    assert SPINNER in without.raw  # which moves, but has no colours
