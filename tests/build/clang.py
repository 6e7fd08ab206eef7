"""Compiling BPF C in tests."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.conftest import lacking

HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""
INCLUDE = "/usr/include/x86_64-linux-gnu"


@cache
def compile_bpf(
    source: str,
    *options: str,
    big_endian: bool = False,
    directory: Path | None = None,
    clang: str = "clang-19",
) -> bytes:
    """The object of a C source; `HEAD` comes first, unless an option is -nohead.

    `directory` is where clang runs, and where it finds the files that #line names. `clang` is the
    compiler, for what older ones cannot.
    """
    found = shutil.which(clang) or (shutil.which("clang") if clang == "clang-19" else None)
    if found is None:
        lacking(f"{clang} is not installed")
    text = source if "-nohead" in options else HEAD + source
    command = [
        found,
        *("-g", "-O2", "-mcpu=v3", "-Wno-everything", "-fno-ident"),
        *("-target", "bpfeb" if big_endian else "bpfel", "-idirafter", INCLUDE),
        *(option for option in options if option != "-nohead"),
        *("-x", "c", "-c", "-", "-o", "-"),
    ]
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, check=False, cwd=directory
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def example(name: str) -> Path:
    """A prebuilt example."""
    return EXAMPLES / f"{name}.bpf.o"


def simple_examples() -> list[Path]:
    """The prebuilt examples that need nothing of the kernel's BTF: no struct_ops, no kfuncs."""
    return sorted({*EXAMPLES.glob("*.bpf.o")} - {example("fifosched")})
