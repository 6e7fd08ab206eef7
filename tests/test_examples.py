"""The prebuilt examples are what their sources compile to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import lskel
from tests.build.clang import EXAMPLES
from tests.conftest import lacking


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("clang-19") is None:
        lacking("clang-19 is not installed")
    directory = tmp_path_factory.mktemp("examples")
    for path in EXAMPLES.iterdir():
        if path.suffix in (".c", ".h") or path.name == "Makefile":
            shutil.copy(path, directory)
    subprocess.run(["make", "-s", "-C", str(directory)], check=True, capture_output=True)
    return directory


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.bpf.o")))
def test_prebuilt(name: str, rebuilt: Path) -> None:
    ours, anew = (lskel.open_object(directory / name).trace() for directory in (EXAMPLES, rebuilt))
    assert ours.maps == anew.maps and ours.programs == anew.programs
    for old, new in zip(ours.ops, anew.ops, strict=True):
        assert old == new
