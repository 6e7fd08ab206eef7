"""What modules of a kernel are built with: headers, gcc and kbuild, unpacked into .cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests import debian
from tests.vm.kernels import find_kernel


class _Row(NamedTuple):
    """Of a series: the suites that have all of it, and the compiler that has built the kernel."""

    suites: tuple[str, ...]
    gcc: str


_ROWS = {
    "6.1": _Row(("bookworm", "bookworm-security"), "gcc-12"),
    "7.3": _Row(("trixie", "trixie-backports"), "gcc-14"),
}
SERIES = tuple(_ROWS)
_ELF = b"\x7fELF"
_TARGET = "x86_64-linux-gnu"


def missing(series: str) -> str:
    """Why no module can be built here; empty if one can."""
    if not shutil.which("make"):
        return "it needs make"
    return "there is no such kernel" if find_kernel(series) is None else _fetched(series).why


def make(series: str, directory: Path) -> None:
    """Run the Makefile in a directory, which takes the kernel's headers from KERNEL.

    AssertionError if it fails or warns.
    """
    kernel, root = find_kernel(series), _fetched(series).root
    assert kernel is not None and root is not None
    # These are there, whichever is the newer.
    command = [
        *("make", "--old-file=execs.bpf.o", "--old-file=execs.lskel.h"),
        f"KERNEL={root}/usr/src/linux-headers-{kernel.release}",
        f"CC={root}/{_ROWS[series].gcc}",
        "CONFIG_DEBUG_INFO_BTF_MODULES=",  # the module's own types, which take pahole
    ]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "warning: " not in said.replace("warning: pahole version differs", ""), said


@cache
def _fetched(series: str) -> debian.Fetched:
    kernel, row = find_kernel(series), _ROWS[series]
    assert kernel is not None
    common = kernel.release.removesuffix("-amd64")
    # Before 6.12, kbuild is common to a series.
    kbuild = series if row.gcc == "gcc-12" else common
    return debian.fetch(
        f"linux-headers-{kernel.release}",
        row.suites,
        (f"linux-headers-{kernel.release}", f"linux-headers-{common}-common"),
        with_dependencies=(f"linux-kbuild-{kbuild}", row.gcc),
        finish=lambda root: _prepare(root, row.gcc),
    )


def _prepare(root: Path, gcc: str) -> None:
    for makefile in (root / "usr/src").glob("*/Makefile"):
        # Where Debian installs them.
        makefile.write_text(makefile.read_text().replace("/usr/src/", "../"))
    for kbuild in (root / "usr/lib").glob("linux-kbuild-*"):
        for path in sorted(kbuild.rglob("*")):
            if _is_program(path):
                _write_script(root, path, debian.program(root, str(_real(path).relative_to(root))))
    command = debian.program(root, f"usr/bin/{_TARGET}-{gcc}")
    version = gcc.removeprefix("gcc-")
    # cc1 is in one of them, its headers in the other.
    own = [root / f"usr/{where}/gcc/{_TARGET}/{version}" for where in ("lib", "libexec")]
    prefixes = [f"-B{path}/" for path in own if path.exists()] + [f"-B{root}/usr/bin/{_TARGET}-"]
    _write_script(root, root / gcc, (*command, "-wrapper", ",".join(command[:-1]), *prefixes))


def _is_program(path: Path) -> bool:
    if not path.is_file() or path.is_symlink() or ".real-" in path.name or path.suffix == ".so":
        return False
    with path.open("rb") as file:
        return os.access(path, os.X_OK) and file.read(len(_ELF)) == _ELF


def _real(path: Path) -> Path:
    """A program in kbuild: some are there for several targets, and called by a short one."""
    for target in ("x86", "lsb-64"):
        if (real := path.with_name(f"{path.name}.real-{target}")).exists():
            return real
    return path.rename(path.with_name(f"{path.name}.elf"))


def _write_script(root: Path, path: Path, command: tuple[str, ...]) -> None:
    """A script that runs a command, wherever the directory of all is."""
    up = os.path.relpath(root, path.parent)
    words = " ".join(f'"{word}"' for word in command).replace(str(root), "$root")
    path.write_text(f'#!/bin/sh\nroot=$(realpath "$(dirname "$0")/{up}")\nexec {words} "$@"\n')
    path.chmod(0o755)
