"""Writes docs/support.md: what works on which kernel, in short.

python -m tests.docs.support > docs/support.md

It sums up docs/kernels.md and docs/attach.md, which are measured; no kernel is asked here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.compilers.cases import sources
from tests.compilers.compilers import COMPILERS
from tests.docs.pages import ROOT

DOCS = ROOT / "docs"
_LOCKED, _SINCE = "locked down", "since "


def rows(path: Path, first: str) -> list[list[str]]:
    """The cells of the table whose first heading is `first`, headings and all."""
    found = []
    is_inside = False
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        is_inside = line.startswith("|") and (is_inside or cells[0] == first)
        if is_inside and not set(line) <= set("|- "):
            found.append(cells)
    return found


def lines() -> Iterator[str]:
    """The lines of docs/support.md."""
    heading, *kinds = rows(DOCS / "attach.md", "kind")
    kernels = heading[1:]
    loads = {_kernel(cells[0]): cells for cells in rows(DOCS / "kernels.md", "kernel")[1:]}
    loaded = [loads[_kernel(kernel)] for kernel in kernels]
    yield "# What works on which kernel"
    yield ""
    yield "Written by `python -m tests.docs.support > docs/support.md`; not edited by hand."
    yield ""
    yield (
        "Tested on Debian's kernels in virtual machines, and on one that is locked down. The "
        "results for each [attach kind](attach.md) and each [object](kernels.md) are on separate "
        "pages; these are the totals."
    )
    yield ""
    yield from _table("", kernels)
    yield _row("of the kernel's selftests, lskel loads", [f"{c[4]} of {c[1]}" for c in loaded])
    yield _row("libbpf, from the object file", [f"{c[2]}" for c in loaded])
    yield _row("loaders of bpftool -L", [f"{c[3]}" for c in loaded])
    columns = [[cells[number] for cells in kinds] for number in range(1, len(heading))]
    for what, is_so in (
        ("attach kinds that work", lambda cell: cell in ("link", "yes")),
        ("of these, by a link that can be pinned", lambda cell: cell == "link"),
    ):
        counts = [sum(map(is_so, column)) for column in columns]
        yield _row(what, [f"{count} of {len(kinds)}" for count in counts])
    yield ""
    yield "## What does not attach, and why"
    yield ""
    for kernel, number in zip(kernels, range(1, len(heading)), strict=True):
        reasons: dict[str, list[str]] = defaultdict(list)
        for cells in kinds:
            if cells[number].startswith("no: "):
                reasons[cells[number].removeprefix("no: ")].append(f"`{cells[0]}`")
        yield f"**{kernel}**"
        yield ""
        for reason, names in reasons.items():
            yield f"- {_words(reason)}: {', '.join(names)}"
        yield ""
    yield from _compilers()
    yield from _NEEDS.splitlines()


def _compilers() -> Iterator[str]:
    yield from _COMPILERS.splitlines()
    yield from _table("compiler", ["of Debian", "instructions", "objects"])
    for compiler in COMPILERS:
        count = len(sources(compiler.language))
        yield _row(compiler.name, [compiler.suite, f"`-mcpu={compiler.cpu}`", f"{count}"])
    yield ""


def _kernel(name: str) -> tuple[str, bool]:
    """A column: the first two numbers of a kernel's name, and whether it is one of Debian's."""
    match = re.match(r"\d+\.\d+", name)
    assert match is not None, name
    return match[0], "(Debian)" in name


def _words(reason: str) -> str:
    if reason.startswith(_SINCE):
        return f"needs Linux {reason.removeprefix(_SINCE)}"
    return "refused under lockdown" if reason == _LOCKED else f"built without `{reason}`"


def _table(first: str, others: list[str]) -> Iterator[str]:
    yield _row(first, others)
    yield _row("---", ["---"] * len(others))


def _row(first: str, others: list[str]) -> str:
    return f"| {first} | {' | '.join(others)} |"


_COMPILERS = """\
## Compilers

The suite in tests/compilers has variables, maps with initial values, CO-RE, functions and
callbacks, kfuncs, ring buffers, struct_ops and arithmetic. What each of these compilers makes of
it loads by loaders of either form, and the programs' results are right:

- gcc (16.2) takes the macros for CO-RE of types and enums from a newer libbpf than 1.1.
- rustc (1.97) leaves bitcode of LLVM for BPF, which clang 23 compiles here, as bpf-linker does;
  it emits no CO-RE relocations.
- clang 20 is in none of Debian's suites any more.

"""
_NEEDS = """\
## What lskel itself needs

| | Linux |
|---|---|
| generating, inspecting, disassembling, tracing, comparing | none |
| loader programs, and so skeletons and `lskel load` | 5.17: the CO-RE fields of attrs |
| `lskel load --replay direct` | what the object needs |
| CAP_BPF and CAP_PERFMON instead of CAP_SYS_ADMIN | 5.8 |
| Python | 3.10 |

[The loader program](loader.md#kernels) has the details.
"""


if __name__ == "__main__":
    print("\n".join(lines()))
