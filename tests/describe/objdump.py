"""What llvm-objdump says about the functions of an object: its own reading of BTF and BTF.ext."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Run

_SECTION = re.compile(r"Disassembly of section (.*):")
_FUNCTION = re.compile(r"[0-9a-f]{16} <(.*)>:")
_LINE = re.compile(r"; (.*):(\d+)")
_INSN = re.compile(r" *(\d+):\t((?:[0-9a-f]{2}[ \t])+)")
_CORE = re.compile(r"\t\t[0-9a-f]+:  CO-RE <(\w+)> \[\d+\] (.*?)(?: = -?\d+)?(?: \([0-9:]+\))?")
_RELOCATION = re.compile(r"\t\t[0-9a-f]+:  R_BPF_64_\w+\t(.*)")


@dataclass(slots=True)
class Function:
    """By instruction, counted from the function's start; `insns` is their width in slots."""

    insns: dict[int, int] = field(default_factory=dict)
    lines: dict[int, tuple[str, int]] = field(default_factory=dict)
    core: dict[int, tuple[str, str]] = field(default_factory=dict)
    relocations: dict[int, str] = field(default_factory=dict)


def functions(run: Run, path: Path, scratch: Path) -> dict[tuple[str, str], Function]:
    """The functions by section and name. A line is where it is not that of the slot before."""
    # With DWARF in the file that is where lines would come from.
    run("llvm-strip-19", "-g", path, "-o", scratch)
    found: dict[tuple[str, str], Function] = {}
    section, function, start, insn = "", Function(), 0, 0
    line: tuple[str, int] | None = None
    for text in run("llvm-objdump-19", "-d", "-r", "-l", scratch).splitlines():
        if match := _SECTION.fullmatch(text):
            section = match[1].removeprefix("?")
        elif match := _FUNCTION.fullmatch(text):
            function = found[section, match[1]] = Function()
        elif match := _LINE.fullmatch(text):
            line = match[1], int(match[2])
        elif match := _INSN.match(text):
            if not function.insns:
                start = int(match[1])
            insn = int(match[1]) - start
            function.insns[insn] = len(match[2].split()) // 8
            if line is not None:
                function.lines[insn] = line
            line = None
        elif match := _CORE.fullmatch(text):
            function.core[insn] = match[1], _as_c(match[2])
        elif match := _RELOCATION.fullmatch(text):
            function.relocations[insn] = match[1]
    return found


def _as_c(target: str) -> str:
    """``struct s::<anon 0>.a`` is what C calls ``struct s.a``."""
    target = re.sub(r"<anon \d+>\.", "", target.removeprefix("typedef ").replace("::", "."))
    return target.replace(".[", "[")
