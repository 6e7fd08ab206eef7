"""The source distribution and the wheel: what is in them, and that they install."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from tests.build.clang import example
from tests.packaging.conftest import ROOT, Dist, build, tracked

pytestmark = pytest.mark.packaging


def said(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_source_distribution_is_what_is_under_version_control(dist: Dist) -> None:
    with tarfile.open(dist.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    made = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    assert names - made == set(tracked())


def test_wheel(dist: Dist) -> None:
    with zipfile.ZipFile(dist.wheel) as wheel:
        names = set(wheel.namelist())
    package = {name.removeprefix("src/") for name in tracked() if name.startswith("src/lskel/")}
    assert package <= names
    data = f"{dist.wheel.name.removesuffix('-py3-none-any.whl')}.data/data/"
    shared = {data + name for name in tracked() if name.startswith("share/")}
    assert shared == {name for name in names if name.startswith(data)} and len(shared) > 8
    others = names - package - shared
    assert all(name.partition("/")[0].endswith(".dist-info") for name in others), others


def metadata(dist: Dist) -> Message:
    with zipfile.ZipFile(dist.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        assert name.replace("METADATA", "licenses/LICENSE") in wheel.namelist()
        return email.message_from_bytes(wheel.read(name))


def test_metadata(dist: Dist) -> None:
    said(sys.executable, "-m", "twine", "check", "--strict", dist.sdist, dist.wheel)
    found = metadata(dist)
    assert found["Requires-Python"] == ">=3.10"
    assert found["License-Expression"] == "BSD-2-Clause" and found["License-File"] == "LICENSE"
    assert found["Description-Content-Type"] == "text/markdown"
    described = found.get_payload(decode=True)
    assert isinstance(described, bytes)
    assert described.strip() == (ROOT / "README.md").read_bytes().strip()
    needed = [line for line in found.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(">")[0] for line in needed} == {"click", "rich", "jinja2"}
    assert "Programming Language :: Python :: 3.10" in found.get_all("Classifier", [])


def test_same_source_same_bytes(dist: Dist, tmp_path: Path) -> None:
    again = build(tmp_path / "elsewhere")
    for first, second in zip(dist, again, strict=True):
        assert first.name == second.name and first.read_bytes() == second.read_bytes(), first.name


def test_installs_in_a_clean_venv(dist: Dist, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    said(sys.executable, "-m", "venv", "--without-pip", venv)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python")]
    said(*pip, "install", "--quiet", "--no-compile", dist.wheel)
    for shared in (name for name in tracked() if name.startswith("share/")):
        assert (venv / shared).read_bytes() == (ROOT / shared).read_bytes()
    installed = venv / "bin" / "lskel"
    assert said(installed, "--version").startswith("lskel, version ")
    ours = [sys.executable, "-m", "lskel"]
    for suffix in (".lskel", "_lskel.py", ".lskel.h", ".html"):
        args = ["explain" if suffix == ".html" else "gen", str(example("syscount")), "-o"]
        said(installed, *args, tmp_path / f"a{suffix}")
        said(*ours, *args, tmp_path / f"b{suffix}")
        made, expected = (tmp_path / f"{name}{suffix}" for name in "ab")
        assert made.read_bytes() == expected.read_bytes()
    said(*pip, "install", "--quiet", "--no-compile", f"{dist.wheel}[bench]")
    said(venv / "bin" / "python", "-c", "import pygal, lskel.cli")


def test_pipx(dist: Dist, tmp_path: Path) -> None:
    names = ("PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR")
    where = {name: str(tmp_path / name) for name in names}
    said(sys.executable, "-m", "pipx", "install", "--quiet", dist.wheel, **where)
    installed = tmp_path / "PIPX_BIN_DIR" / "lskel"
    assert said(installed, "--version").startswith("lskel, version ")
    said(installed, "gen", example("hello"), "-o", tmp_path / "hello_lskel.py")
    assert (tmp_path / "PIPX_MAN_DIR" / "man1" / "lskel-gen.1").is_file()
