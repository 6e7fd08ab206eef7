"""Maps of the newest kernels in a machine, as jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.errors import LskelError, UsageError
from lskel.loader.model import Form
from lskel.runtime.info import prog_info
from lskel.runtime.maps.insns import InsnArray
from lskel.runtime.objects import Fd, obj_get
from tests.attach.cases.case import version
from tests.build.jump_tables import END, PROGRAMS
from tests.runtime.programs import run_program
from tests.vm.batch import BPFFS

# Elements of the hash, which has room for some more.
ENTRIES = 500
RUNS = 5
# The results of a program, and the instructions that its jump tables list: (orig, xlated).
Ran = dict[str, tuple[list[int], list[list[tuple[int, int]]]]]


def jump_tables(path: str, bundles: list[str], bpftool: list[str]) -> dict[str, Any]:
    """Load and run the programs in each way; results by program, or why it does not load."""
    ways: dict[str, Callable[[], Ran]] = {
        "libbpf": partial(_by_libbpf, path, bpftool),
        "direct": partial(_run_all, path, direct=True),
        **{bundle: partial(_run_all, bundle) for bundle in bundles},
    }
    found: dict[str, Any] = {}
    for name, run in ways.items():
        try:
            found[Path(name).stem] = run()
        except (LskelError, subprocess.CalledProcessError) as error:
            found[Path(name).stem] = str(getattr(error, "stderr", error))
    return found


def _by_libbpf(path: str, bpftool: list[str]) -> Ran:
    pins = BPFFS / "tables"
    subprocess.run(
        [*bpftool, "prog", "loadall", path, str(pins)], check=True, capture_output=True, text=True
    )
    return {name: _run(obj_get(pins / name)) for name in PROGRAMS}


def _run(program: Fd) -> tuple[list[int], list[list[tuple[int, int]]]]:
    numbers = (number.to_bytes(4, sys.byteorder) for number in range(END))
    results = [run_program(program, number) for number in numbers]
    tables = []
    for number in prog_info(program.fileno()).map_ids:
        try:
            with closing(InsnArray.open(number)) as table:
                tables.append([(entry.orig, entry.xlated) for entry in table.values()])
        except UsageError:
            continue  # of another type
    return results, sorted(tables)


def _run_all(path: str, *, direct: bool = False) -> Ran:
    with lskel.load(path, direct=direct) as bpf:
        return {name: _run(bpf.progs[name]) for name in PROGRAMS}


# -- arenas --------------------------------------------------------------------------------------


def arena(path: str, bpftool: list[str]) -> dict[str, list[int]]:
    """What a program returns that works on variables of an arena; by way of loading."""
    pins = BPFFS / "arena"
    command = [*bpftool, "prog", "loadall", path, str(pins)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    program = obj_get(pins / "work")
    found = {"libbpf": [run_program(program) for _ in range(RUNS)]}
    for form in Form:
        with lskel.load(path, form=form) as bpf:
            found[form.value] = [run_program(bpf.progs.work) for _ in range(RUNS)]
    with lskel.load(path, direct=True) as bpf:
        found["direct"] = [run_program(bpf.progs.work) for _ in range(RUNS)]
    return found


# -- tests that compare with the running kernel --------------------------------------------------


class _Outcomes:
    """A plugin of pytest that counts, and keeps what failed."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext[-2000:]
        elif report.skipped:
            self.skipped[report.nodeid] = report.longreprtext
        elif report.when == "call":
            self.passed += 1


def compared(since: tuple[int, int], arguments: list[str]) -> dict[str, Any] | None:
    """Run tests in this kernel; None if it is older than `since`."""
    if version(os.uname().release) < tuple(since):
        return None
    outcomes = _Outcomes()
    status = pytest.main(["-q", "-p", "no:cacheprovider", *arguments], [outcomes])
    return {"status": int(status), **vars(outcomes)}


# -- maps of the newest types --------------------------------------------------------------------


def growing_hash(bundle: str) -> dict[str, Any]:
    """Use a RHASH from a program and from Python; what is seen in it, or why it does not load."""
    try:
        bpf = lskel.load(bundle).load()
    except LskelError as error:
        return {"error": str(error)}
    with bpf:
        hash_ = bpf.maps.counts
        hash_.update({number: number * number for number in range(ENTRIES)})
        run_program(bpf.progs.use)
        found: dict[str, Any] = {
            "listed": sorted(hash_.items()),
            "length": len(hash_),
            "popped": hash_.pop(7),
            "deleted": hash_.delete_batch([1, 2, 1 << 30]),
        }
        try:
            hash_.update({ENTRIES + number: 0 for number in range(ENTRIES)})
        except LskelError as error:
            found["full"] = str(error)
        found["taken"] = len(list(hash_.take()))
        return found | {"left": len(hash_)}
