"""The tutorial, step by step, as a reader would type it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.build.clang import INCLUDE
from tests.conftest import lacking
from tests.test_readme import ROOT, blocks

TUTORIAL = ROOT / "docs" / "tutorial.md"
# Where the installed commands are: lskel's own, and those of Debian under their plain names.
BIN = Path(sys.executable).parent
# Tracepoints are found in tracefs, which most systems mount; in a place of its own, here.
_MOUNT = """
[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
exec "$@"
"""
WITH_TRACEFS = ("unshare", "-m", "sh", "-ec", _MOUNT, "sh")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The reader's directory: the sources of the tutorial, and `clang` on the path."""
    clang = shutil.which("clang-19") or shutil.which("clang")
    if clang is None:
        lacking("clang is not installed")
    (source,) = blocks(TUTORIAL, "c")
    (tmp_path / "opens.bpf.c").write_text(source)
    (script,) = blocks(TUTORIAL, "python")
    (tmp_path / "opens.py").write_text(script)
    (tmp_path / "bin").mkdir()
    # The option that the text names for Debian.
    assert f"-idirafter {INCLUDE}" in TUTORIAL.read_text()
    wrapper = tmp_path / "bin" / "clang"
    wrapper.write_text(f'#!/bin/sh\nexec {clang} -idirafter {INCLUDE} "$@"\n')
    wrapper.chmod(0o755)
    return tmp_path


@contextmanager
def files_being_opened() -> Iterator[None]:
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.01):
            Path("/etc/hostname").read_bytes()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.kernel
def test_every_command(desk: Path) -> None:
    commands = [
        line[2:]
        for block in blocks(TUTORIAL, "console")
        for line in block.splitlines()
        if line[:2] in ("$ ", "# ")
    ]
    assert len(commands) == 10
    path = f"{desk / 'bin'}:{BIN}:{os.environ['PATH']}"
    printed = {}
    with files_being_opened():
        for command in commands:
            done = subprocess.run(
                [*WITH_TRACEFS, "bash", "-c", command],
                cwd=desk,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            printed[command] = done.stdout
    assert "on_open" in printed["lskel inspect opens.bpf.o"]
    assert "/etc/hostname" in printed["lskel run opens.bpf.o --duration 1 --event opens=open"]
    for tool in ("python3 opens.py", "python3 opens-tool.py"):
        assert "/etc/hostname" in printed[tool] and "files opened by process" in printed[tool]
