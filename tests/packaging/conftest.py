"""What is given out, built once for all tests from what is under version control."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import lacking

ROOT = Path(__file__).parents[2]
EPOCH = "1700000000"


class Dist(NamedTuple):
    """The three files."""

    sdist: Path
    wheel: Path
    pyz: Path


def tracked() -> list[str]:
    """The files under version control; where there is none, all but those that it would ignore."""
    if not (ROOT / ".git").exists():
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        return [str(path) for path in paths if not _is_ignored(path)]
    if shutil.which("git") is None:
        lacking("git is not installed")
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


def _is_ignored(path: Path) -> bool:
    """By .gitignore, all patterns of which are of directories."""
    patterns = (ROOT / ".gitignore").read_text().split()
    return any(
        f"/{parent}/" == p if p.startswith("/") else fnmatch(f"{parent.name}/", p)
        for parent in path.parents
        for p in patterns
    )


def build(source: Path) -> Dist:
    """Build from a copy of the source, in `source`."""
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    done = subprocess.run(
        [sys.executable, str(source / "scripts" / "dist.py")],
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return built(source)


def built(source: Path) -> Dist:
    """What is in its dist/."""
    directory = source / "dist"
    (sdist,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return Dist(sdist, wheel, directory / "lskel.pyz")


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    """What is given out; pytest's workers share it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with (base / "dist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "source" / "dist" / "lskel.pyz").exists():
            build(base / "source")
    return built(base / "source")
