"""Types of a C header, by clang."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from lskel.dwarf.reader import Dwarf
from lskel.elf.object import Elf
from lskel.errors import BadInput, UsageError, at

# What headers use of those that come before them, such as vmlinux.h.
_FIRST = ("linux/types.h", "stdbool.h", "stddef.h")
_SECONDS = 20


def compile_header(path: str) -> Dwarf:
    """The debug information of all types in a header, used or not.

    UsageError if there is no clang ($CLANG, or in $PATH) or no such file; BadInput if it does not
    compile.
    """
    clang = os.environ.get("CLANG") or shutil.which("clang") or _newest()
    with at(path):
        if not clang:
            raise UsageError("a header needs clang", hint="install clang, or set $CLANG")
        if not Path(path).is_file():
            raise UsageError("no such header")
        command = [
            *(clang, "-g", "-fno-eliminate-unused-debug-types", "-target", "bpf"),
            *("-idirafter", f"/usr/include/{platform.machine()}-linux-gnu"),
            *(part for header in _FIRST for part in ("-include", header)),
            *("-include", str(Path(path).absolute())),
            *("-x", "c", "-c", os.devnull, "-o", "-"),
        ]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(
                f"cannot run {clang}: {_failure(error)}", hint="install clang, or set $CLANG"
            ) from error
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").splitlines()
            first = next((line for line in lines if "error:" in line), *lines[:1] or ["failed"])
            raise BadInput(f"{clang}: {first}", hint="the header must include what it uses")
        return Dwarf(Elf(done.stdout))


def _failure(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"it did not end within {_SECONDS} s"


def _newest() -> str | None:
    """The newest clang-N."""
    found = (shutil.which(f"clang-{version}") for version in range(30, 13, -1))
    return next((path for path in found if path), None)
