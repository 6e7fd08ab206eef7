"""A fixed range of damaged inputs, and all that were ever found, through every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.commands import COMMANDS
from tests.fuzz.seeds import ROOT, kept

# Of the numbers; `make fuzz` takes others.
COUNT = 4000


def fuzz(directory: Path, *words: str | Path) -> dict[str, Any]:
    """The counts of a run in a process of its own, whose workers it forks."""
    counts = directory / "counts.json"
    command = [sys.executable, "-m", "tests.fuzz", "--keep", directory, "--json", counts, *words]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert counts.exists(), done.stderr
    result: dict[str, Any] = json.loads(counts.read_text())
    assert not result["findings"], done.stdout
    return result


def test_damaged(tmp_path: Path) -> None:
    result = fuzz(tmp_path, "--count", str(COUNT))
    assert result["pairs"] == COUNT
    assert result["counts"].keys() == COMMANDS.keys()
    # Damage leaves some inputs good; were all refused at the door, nothing would be tested.
    for command, outcomes in result["counts"].items():
        assert outcomes.keys() == {"ok", "error"}, command


@pytest.mark.parametrize("path", kept(), ids=lambda path: path.name)
def test_kept(path: Path, tmp_path: Path) -> None:
    assert fuzz(tmp_path, path)["pairs"]
