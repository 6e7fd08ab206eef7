"""Packages of other Debian suites, unpacked into .cache: nothing of them is installed.

apt reads lists and sources of its own here, checks signatures as always, and leaves the machine as
it is. The mirror is that of the machine's own sources.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).resolve().parent.parent / ".cache"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TOOLS = ("apt-get", "apt-cache", "dpkg")


class Fetched(NamedTuple):
    """Where packages lie unpacked, or why they do not."""

    root: Path | None
    why: str = ""
    gone: bool = False  # the mirror has no such packages, or has them no more


class _FetchError(Exception):
    def __init__(self, why: str, gone: bool = False) -> None:
        super().__init__(why)
        self.gone = gone


@cache
def fetch(
    name: str,
    suites: tuple[str, ...],
    packages: tuple[str | re.Pattern[str], ...],
    *,
    with_dependencies: tuple[str | re.Pattern[str], ...] = (),
    finish: Callable[[Path], None] = lambda root: None,
) -> Fetched:
    """The packages of these suites in the directory `name` of .cache, as `dpkg -x` unpacks them.

    A package is named as apt-get has it ("clang-22", "bpftool=VERSION"), or by a pattern for its
    whole name, of which the newest is taken. Of those in `with_dependencies`, all that they depend
    on is unpacked as well, down to libc, so that `program` runs by the ld.so that comes with it.
    `finish` prepares the directory; it appears whole, or not at all. What is there stays: to get
    newer packages, remove it.
    """
    root = CACHE / name
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            work = CACHE / f"{name}.partial"
            shutil.rmtree(work, ignore_errors=True)
            try:
                _download(work, suites, packages, with_dependencies)
                finish(work / "root")
            except _FetchError as error:
                return Fetched(None, str(error), error.gone)
            (work / "root").rename(root)
            shutil.rmtree(work)
    return Fetched(root)


def _download(
    work: Path,
    suites: Sequence[str],
    packages: Sequence[str | re.Pattern[str]],
    with_dependencies: Sequence[str | re.Pattern[str]],
) -> None:
    if lacking := [tool for tool in _TOOLS if not shutil.which(tool)]:
        raise _FetchError(f"this is not Debian: it lacks {', '.join(lacking)}")
    if not _KEYRING.exists():
        raise _FetchError(f"Debian's keys are missing: {_KEYRING}")
    for directory in ("lists/partial", "archives/partial", "root"):
        (work / directory).mkdir(parents=True)
    (work / "status").touch()
    sources = [f"deb [signed-by={_KEYRING}] {_mirror(suite)} {suite} main\n" for suite in suites]
    (work / "sources.list").write_text("".join(sources))
    (work / "apt.conf").write_text(_configuration(work))
    options = ["-qq", f"--config-file={work / 'apt.conf'}"]
    _run(work, "apt-get", *options, "update")
    offered = _run(work, "apt-cache", *options, "pkgnames").split()
    for fetching, wanted in (
        (("install", "--download-only", "--yes"), with_dependencies),
        (("download",), packages),
    ):
        if names := [_newest(package, offered, suites) for package in wanted]:
            _run(work / "archives", "apt-get", *options, *fetching, *names)
    for package in sorted((work / "archives").glob("*.deb")):
        _run(work, "dpkg", "-x", str(package), str(work / "root"))


def _configuration(work: Path) -> str:
    """It is read after the machine's own, of which a proxy, for one, stays."""
    options = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/nonexistent",
        "Dir::Etc::preferences": "/nonexistent",
        "Dir::Etc::preferencesparts": "/nonexistent",
        "Dir::State::Lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::State::extended_states": work / "extended",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "Dir::Log": work,
        "Debug::NoLocking": "true",
        "APT::Install-Recommends": "false",
        "APT::Update::Error-Mode": "any",
        # What is downloaded lies where apt's own user may not look.
        "APT::Sandbox::User": "root",
    }
    # Images for containers have hooks here, which remove the machine's own lists and packages.
    hooks = (
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
    )
    cleared = [
        f"#clear {hook};\n" for hook in (*hooks, "DPkg::Pre-Install-Pkgs", "DPkg::Post-Invoke")
    ]
    return "".join(cleared + [f'{name} "{value}";\n' for name, value in options.items()])


def _run(directory: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise _FetchError(f"{command[0]}: {said[-1]}")
    return done.stdout


def _newest(package: str | re.Pattern[str], offered: Sequence[str], suites: Sequence[str]) -> str:
    if isinstance(package, str):
        return package
    newest = max(filter(package.fullmatch, offered), key=version, default=None)
    if newest is None:
        where = " or ".join(suites)
        raise _FetchError(f"the mirror has no package {package.pattern} in {where}", gone=True)
    return newest


def program(root: Path, path: str) -> tuple[str, ...]:
    """The command that runs a program below `root` by the ld.so and the libraries there."""
    # Before Debian 13, packages have files in /lib as well.
    directories = [root / top / f"{platform.machine()}-linux-gnu" for top in ("usr/lib", "lib")]
    loader = next(found for where in directories for found in sorted(where.glob("ld-linux-*.so.*")))
    libraries = ":".join(str(directory) for directory in directories)
    return (str(loader), "--library-path", libraries, str(root / path))


def version(name: str) -> list[int]:
    """What orders names that differ in their numbers only."""
    return [int(number) for number in re.findall(r"\d+", name)]


def _mirror(suite: str) -> str:
    archive = "debian-security" if suite.endswith("-security") else "debian"
    listed = _run(Path("/"), "apt-get", "indextargets", "--format", "$(REPO_URI)")
    for uri in listed.split():
        if uri.rstrip("/").endswith(f"/{archive}"):
            return uri
    raise _FetchError(f"the machine's own sources name no mirror of {archive}")
