"""Objects and bundles whose names are code: Python skeletons of them, and none of it runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lskel
from lskel.loader.model import Loader
from tests.skeleton import watched

INPUTS = Path(__file__).parent / "inputs"
CASES = sorted(INPUTS.glob("inj-python-*"))


def used(path: Path, loader: Loader, room: Path, runtime: str) -> None:
    """Write a skeleton by the command, import and use it; what it does besides is a failure."""
    made = room / "made.py"
    command = [sys.executable, "-m", "lskel", "gen", "--runtime", runtime]
    # Their bytes are those of an earlier lskel.
    command += ["--trust-bytes"] if path.suffix == ".lskel" else []
    subprocess.run([*command, "-o", made, path], check=True)
    trace = loader.trace
    names = [m.name for m in trace.maps] + [p.name for p in trace.programs]
    item = watched.Item(made.read_text(), names)
    # The first one imports the runtime.
    _, found = watched.events([item, item])
    events = [event for event in found if not event[0].startswith("ctypes.")]
    assert events == [("exec", "'generated.py'")]


@pytest.mark.parametrize("runtime", ["embed", "import"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_nothing_of_it_runs(path: Path, runtime: str, tmp_path: Path) -> None:
    is_bundle = path.suffix == ".lskel"
    loader = Loader.load(path) if is_bundle else lskel.generate(lskel.open_object(path))
    used(path, loader, tmp_path, runtime)


@pytest.mark.parametrize("runtime", ["embed", "import"])
@pytest.mark.parametrize("name", ['"+exit(7)+".bpf.o', "coding: rot13.bpf.o", "'''\n\"\"\".bpf.o"])
def test_names_of_files(name: str, runtime: str, tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copyfile(INPUTS / "inj-python-section.bpf.o", path)
    used(path, lskel.generate(lskel.open_object(path)), tmp_path, runtime)


def test_the_cases_are_there() -> None:
    assert len(CASES) == 4
