"""lskel.pyz: it does what the installed lskel does, with a bare Python, and unpacks nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

from tests.build.clang import example, simple_examples
from tests.cli.terminals import on_terminal
from tests.conftest import lacking
from tests.packaging.conftest import ROOT, Dist

pytestmark = pytest.mark.packaging

PYTHON = "/usr/bin/python3"


class Pyz(NamedTuple):
    """The zipapp, run in a directory."""

    command: list[str]
    directory: Path

    def __call__(self, *args: str | Path) -> bytes:
        return output([*self.command, *map(str, args)], self.directory)


@pytest.fixture
def pyz(dist: Dist, tmp_path: Path) -> Pyz:
    """It, run by the system's Python without that one's packages."""
    if not Path(PYTHON).exists():
        lacking(f"there is no {PYTHON}")
    return Pyz([PYTHON, "-I", str(dist.pyz)], tmp_path)


def output(command: list[str], directory: Path) -> bytes:
    """What a command prints; it leaves nothing at home or among the temporary files."""
    empty = [directory / name for name in ("home", "tmp")]
    for place in empty:
        place.mkdir(exist_ok=True)
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "HOME": str(empty[0]), "TMPDIR": str(empty[1])},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [list(place.iterdir()) for place in empty] == [[], []]
    return done.stdout


def ours(directory: Path, *args: str | Path) -> bytes:
    """What the installed one prints."""
    return output([sys.executable, "-m", "lskel", *map(str, args)], directory)


def test_runs_by_itself(dist: Dist, tmp_path: Path) -> None:
    assert output([str(dist.pyz), "--version"], tmp_path).startswith(b"lskel, version ")


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["gen", "--help"],
        ["inspect", example("syscount"), "--json"],
        ["inspect", example("tcpconnlat")],
        ["disasm", example("execsnoop")],
        ["disasm", "--loader", example("hello")],
        ["trace", example("syscount"), "-v"],
        ["diff", example("hello"), example("hello")],
        ["load", example("syscount"), "--replay", "simulator", "--json"],
        ["completion", "zsh"],
    ],
    ids=lambda args: " ".join(Path(str(arg)).name for arg in args),
)
def test_says_the_same(args: list[str | Path], pyz: Pyz) -> None:
    assert pyz(*args) == ours(pyz.directory, *args)


@pytest.mark.parametrize(
    ("command", "suffix"),
    [("gen", ".lskel"), ("gen", "_lskel.py"), ("gen", ".lskel.h"), ("explain", ".html")],
)
def test_writes_the_same(command: str, suffix: str, pyz: Pyz) -> None:
    pyz(command, example("execsnoop"), "-o", f"a{suffix}")
    ours(pyz.directory, command, example("execsnoop"), "-o", f"b{suffix}")
    made, expected = (pyz.directory / f"{name}{suffix}" for name in "ab")
    assert made.read_bytes() == expected.read_bytes()


def test_generates_many(pyz: Pyz) -> None:
    sources = []
    for number in range(40):  # enough for several processes
        sources.append(pyz.directory / f"o{number}.bpf.o")
        shutil.copy(example("hello"), sources[-1])
    pyz("gen", *sources, "-o", "many/")
    assert len(list((pyz.directory / "many").iterdir())) == len(sources)


@pytest.mark.kernel
def test_loads_and_runs(pyz: Pyz) -> None:
    args: list[str | Path] = ["load", *simple_examples(), "--json"]
    reports = [pyz(*args), ours(pyz.directory, *args)]
    assert json.loads(reports[0])["failed"] == []
    without_ids = [re.sub(rb'"id": \d+', b"", report) for report in reports]
    assert without_ids[0] == without_ids[1] != reports[0]
    # Not all of it is the same: others mount and unmount meanwhile.
    machine = json.loads(pyz("doctor", "--json"))
    assert machine["runs"] and len(machine["attach"]) > 20
    *_, last = pyz("run", example("hello"), "--duration", "0.2", "--json").splitlines()
    assert json.loads(last)["maps"][0]["entries"][0]["value"]["calls"] > 0


def test_pythons_that_are_too_old(dist: Dist) -> None:
    script = "import runpy, sys; sys.version_info = (3, 9, 2); runpy.run_path(sys.argv[1])"
    command = [sys.executable, "-c", script, str(dist.pyz)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lskel needs Python 3.10 or newer; this is 3.9\n"


def test_progress(pyz: Pyz) -> None:
    """What it carries of rich is enough."""
    sources = example("hello"), example("syscount")
    screen = on_terminal("load", *sources, "--replay", "simulator", command=pyz.command)
    assert screen.status == 0 and "\u280b" in screen.raw
    table = on_terminal("inspect", example("hello"), command=pyz.command)
    assert table.status == 0 and table.is_styled


def test_what_it_carries_is_what_the_wheel_allows() -> None:
    lines = (ROOT / "scripts" / "pyz-requirements.txt").read_text().splitlines()
    pinned = {name: version for name, _, version in (line.partition("==") for line in lines)}
    found = re.search(r"^dependencies = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert found is not None
    for requirement in map(Requirement, json.loads(found[1])):
        assert requirement.specifier.contains(pinned[requirement.name])
