"""Packages of other suites come whole and signed, or not at all, and nothing else changes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests import debian
from tests.conftest import lacking

PACKAGE = "debian-archive-keyring"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own."""
    if not shutil.which("apt-get"):
        lacking("this is not Debian")
    monkeypatch.setattr(debian, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def state() -> dict[str, float]:
    """What apt keeps of this machine, and when it changed."""
    directories = (Path("/var/lib/apt"), Path("/var/cache/apt"), Path("/var/lib/dpkg"))
    paths = (path for directory in directories for path in directory.rglob("*"))
    return {str(path): path.lstat().st_mtime for path in paths}


def test_a_package(cache: Path) -> None:
    before = state()
    fetched = debian.fetch("keys", ("trixie",), (re.compile("debian-archive-key[a-z]+"),))
    if fetched.root is None:
        lacking(fetched.why)
    assert (fetched.root / "usr/share/keyrings/debian-archive-keyring.gpg").exists()
    assert sorted(path.name for path in cache.iterdir()) == ["keys", "keys.lock"]
    assert state() == before


def test_a_package_that_is_gone(cache: Path) -> None:
    fetched = debian.fetch("none", ("trixie",), (re.compile(r"linux-image-2\.6\..*"),))
    if not fetched.gone:
        lacking(fetched.why)
    assert fetched.root is None
    assert fetched.why == r"the mirror has no package linux-image-2\.6\..* in trixie"
    assert not (cache / "none").exists()


def test_a_mirror_without_signatures(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    index = tmp_path / "mirror/dists/trixie/main/binary-amd64/Packages"
    index.parent.mkdir(parents=True)
    index.touch()
    (tmp_path / "mirror/dists/trixie/Release").write_text("Suite: trixie\n")
    monkeypatch.setattr(debian, "_mirror", lambda suite: f"file:{tmp_path}/mirror")
    fetched = debian.fetch("unsigned", ("trixie",), (PACKAGE,))
    assert fetched.root is None
    assert "is not signed" in fetched.why
    assert not fetched.gone
    assert not (cache / "unsigned").exists()


def test_no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_run", lambda *words: "http://mirror.example/ubuntu\n")
    fetched = debian.fetch("other", ("trixie-security",), (PACKAGE,))
    why = "the machine's own sources name no mirror of debian-security"
    assert fetched == debian.Fetched(None, why)


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest(order: int) -> None:
    offered = ["linux-image-6.18.9+deb13-amd64", "linux-image-6.18.15+deb13-amd64", "linux-doc"]
    pattern = re.compile(r"linux-image-6\.18\..*-amd64")
    assert debian._newest(pattern, offered[::order], ()) == "linux-image-6.18.15+deb13-amd64"
