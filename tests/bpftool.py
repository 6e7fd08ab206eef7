"""The reference: bpftool 7.8 with libbpf 1.8, from the backports to Debian 13.

It is unpacked into .cache, with the libraries that it needs, and run by their own ld.so: nothing of
it is installed. The bpftool of Debian 12, which other tests run, has the libbpf of Linux 6.1.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

NAME = "bpftool 7.8"
VERSION = "7.8.0+7.3.4-1~bpo13+1"
_PACKAGES = (
    *(f"bpftool={VERSION}", "libc6", "libcap2", "libelf1t64", "libssl3t64", "libzstd1"),
    "zlib1g",
)
_SUITES = ("trixie", "trixie-backports")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LOADERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}
_ROOT = Path(__file__).resolve().parent.parent / ".cache" / f"bpftool-{VERSION}"


@cache
def command() -> tuple[str, ...]:
    """What runs it; empty where it cannot be had here."""
    machine = platform.machine()
    usr = _ROOT / "usr"
    if machine not in _LOADERS or not (shutil.which("apt-get") and Path(_KEYRING).exists()):
        return ()
    _ROOT.parent.mkdir(parents=True, exist_ok=True)
    with _ROOT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not usr.exists() and not _unpack():
            return ()
    libraries = usr / "lib" / f"{machine}-linux-gnu"
    binary = usr / "sbin" / "bpftool"
    return (str(usr / _LOADERS[machine]), "--library-path", str(libraries), str(binary))


def run(*words: str | Path) -> str:
    """Its output; CalledProcessError, with its errors, where it fails."""
    done = subprocess.run(
        [*command(), *(str(word) for word in words)],
        capture_output=True,
        text=True,
        check=True,
        errors="replace",
    )
    return done.stdout


def _unpack() -> bool:
    """Download and unpack with apt's own checks; the root appears whole, or not at all."""
    mirror = _mirror()
    if mirror is None:
        return False
    work = _ROOT.with_suffix(".partial")
    shutil.rmtree(work, ignore_errors=True)
    for directory in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (work / directory).mkdir(parents=True)
    (work / "status").touch()
    sources = work / "sources.list"
    sources.write_text(
        "".join(f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n" for suite in _SUITES)
    )
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/nonexistent",
        "Dir::State::Lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        # What is downloaded lies where apt's own user may not look.
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    try:
        for words in (["update"], ["download", *_PACKAGES]):
            subprocess.run([*apt, *words], cwd=work / "debs", capture_output=True, check=True)
        for package in (work / "debs").iterdir():
            subprocess.run(["dpkg", "-x", package, work / "root"], check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    (work / "root").rename(_ROOT)
    shutil.rmtree(work)
    return True


def _mirror() -> str | None:
    """The one that this machine's own sources name; None where they name none of Debian's."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    mirrors = listed.stdout.split()
    return next((uri for uri in mirrors if uri.rstrip("/").endswith("/debian")), None)
