"""Headers of lskel and of bpftool, and C programs that include them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lskel
from lskel.skeleton.c import generate_c
from lskel.trace import Trace
from tests import bpftool
from tests.conftest import lacking

STRICT = ("-Wall", "-Wextra", "-Werror")
# The name that programs here include, whoever wrote it.
HEADER = "skel.h"
_COMPILERS = {"c": "gcc", "c++": "g++"}


def light(
    source: lskel.Object | Trace, name: str, *, standalone: bool = False, form: str = ""
) -> str:
    """lskel's header; in the form that suits it, unless one is said."""
    chosen = form or ("auto" if standalone else "plain")
    return generate_c(lskel.generate(source, chosen), name, standalone=standalone)


def by_bpftool(path: Path, name: str) -> str:
    """The reference generator's header."""
    return bpftool.run("gen", "skeleton", "-L", path, "name", name)


def compiler(language: str) -> str:
    """gcc or g++; skips where it is missing."""
    command = _COMPILERS[language]
    if shutil.which(command) is None:
        lacking(f"{command} is not installed")
    return command


def problems(text: str, language: str, *flags: str, cwd: Path | None = None) -> str:
    """What the compiler says of a text; empty where it likes it."""
    command = [compiler(language), "-x", language, "-fsyntax-only", *flags, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=cwd, check=False)
    return done.stderr or ("" if done.returncode == 0 else "failed")


def build(directory: Path, header: str, program: str, *flags: str, language: str = "c") -> Path:
    """Compile a program that includes HEADER, without warnings; the executable."""
    directory.mkdir(exist_ok=True)
    suffix = {"c": "c", "c++": "cc"}[language]
    source, target = directory / f"program.{suffix}", directory / "program"
    (directory / HEADER).write_text(header)
    source.write_text(program)
    command = [compiler(language), "-g", "-O1", *STRICT, f"-I{directory}", *flags]
    done = subprocess.run(
        [*command, source, "-o", target], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


class Outcome(NamedTuple):
    """How a program ended and what it said."""

    status: int
    out: str
    err: str


def run(program: Path, *arguments: str | Path, prefix: Sequence[str] = ()) -> Outcome:
    """Run a program that was built."""
    done = subprocess.run(
        [*prefix, str(program), *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


class Members(NamedTuple):
    """What the struct of a light skeleton has; `variables` are "section->name"."""

    maps: list[str]
    progs: list[str]
    sections: list[str]
    variables: list[str]


def members(header: str) -> Members:
    """The members of the struct in bpftool's header."""
    return Members(
        re.findall(r"struct bpf_map_desc (\w+);", header),
        re.findall(r"struct bpf_prog_desc (\w+);", header),
        re.findall(r"^\t} \*(\w+);", header, re.MULTILINE),
        re.findall(r"_Static_assert\(sizeof\(s->(\w+->\w+)\)", header),
    )
