"""Compiling C for this machine in tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import lacking


def compile_c(source: str, path: Path, *options: str) -> Path:
    """Compile a C source to a program, or to what `options` say, at `path`."""
    gcc = shutil.which("gcc")
    if gcc is None:
        lacking("gcc is not installed")
    command = [gcc, "-x", "c", "-g0", "-O1", "-", "-o", str(path), *options]
    done = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return path
