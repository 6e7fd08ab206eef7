"""Writes docs/attach.md: what attaches on which kernel.

    python -m tests.attach.table > docs/attach.md

Does every case on the running kernel and in a machine for each other one: some minutes, as root.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.attach.cases import CASES
from tests.attach.cases.case import Case
from tests.attach.exercise import Runs, bundle, exercise
from tests.vm.job import Job
from tests.vm.machine import SERIES, Kernel, Machine, boot, find_kernel, missing, run_here

_TOTAL = 1800  # seconds


class Column(NamedTuple):
    """A kernel, and what became of each case there."""

    kernel: str
    runs: dict[str, Runs]


def columns() -> list[Column]:
    """All kernels, the running one last."""
    for series in SERIES:
        if lacks := missing(series):
            sys.exit(f"a machine with Linux {series} needs {', '.join(lacks)}")
    with TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
        directory = Path(name)
        jobs = [
            Job(case.name, exercise, {"name": case.name, "bundle": bundle(case.object, directory)})
            for case in CASES
        ]

        def run(kernel: Kernel | None) -> Machine:
            shared = directory / (kernel.series if kernel else "here")
            shared.mkdir()
            if kernel is None:
                return run_here(jobs, shared, _TOTAL)
            return boot(kernel, jobs, shared, _TOTAL)

        *others, here = pool.map(run, [*map(find_kernel, SERIES), None])
    names = [*(f"{machine.release.partition('-')[0]} (Debian)" for machine in others)]
    names.append(f"{here.release.partition('-')[0]} (locked down)")
    return [
        Column(name, {case.name: Runs(*machine.value(case.name)) for case in CASES})
        for name, machine in zip(names, [*others, here], strict=True)
    ]


def document(columns: Sequence[Column]) -> Iterator[str]:
    """The lines of docs/attach.md."""
    yield "# What attaches on which kernel"
    yield ""
    yield "Written by `python -m tests.attach.table > docs/attach.md`; not edited by hand."
    yield ""
    yield (
        "Each line was done: the program is loaded and attached, its event is caused, the program "
        "counts it; it is detached, the event is caused again, and nothing is counted. Where a "
        "kernel cannot do it, it says so, and what it lacks stands here. *link*: by a link of "
        "bpf(2), which can be pinned; *yes*: in another way."
    )
    yield ""
    yield f"| kind | {' | '.join(column.kernel for column in columns)} |"
    yield "|---|" + "---|" * len(columns)
    for case in CASES:
        cells = (_cell(case, column.runs[case.name]) for column in columns)
        yield f"| {case.name} | {' | '.join(cells)} |"
    yield ""
    yield (
        "The class of a program follows from its section's name (`lskel.runtime.attach.kinds`); "
        "`attach` of each says in its docstring what it takes. Programs of types that are not here "
        "(lwt, lirc) are loaded, and attached by other tools."
    )


def _cell(case: Case, runs: Runs) -> str:
    if runs.during:
        return "link" if runs.linked else "yes"
    assert runs.refused, case.name
    lack = case.lack
    assert lack is not None, (case.name, runs.refused)
    reasons = [f"since {'.'.join(map(str, lack.since))}"] if lack.since > (0, 0) else []
    reasons += [lack.option] if lack.option else []
    return f"no: {', '.join(reasons) or 'locked down'}"


def main() -> None:
    """Print the document."""
    for line in document(columns()):
        print(line)


if __name__ == "__main__":
    main()
