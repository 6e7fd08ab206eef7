"""Each way to attach, in machines with other kernels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attach.cases import CASES
from tests.attach.cases.case import Case
from tests.attach.exercise import Runs, bundle, check, exercise
from tests.attach.freplace import Results, check_results, replace_functions
from tests.vm.job import Job
from tests.vm.machine import Machine


def plan(files: Path) -> Iterator[Job]:
    directory = files / "attach"  # others have bundles of the same names
    directory.mkdir()
    for case in CASES:
        arguments = {"name": case.name, "bundle": bundle(case.object, directory)}
        yield Job(f"attach: {case.name}", exercise, arguments)
    arguments = {
        "target": bundle("freplace_target", directory),
        "source": bundle("freplace", directory),
    }
    yield Job("attach: freplace", replace_functions, arguments)


@pytest.mark.vm(jobs=plan)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_attached(case: Case, machine: Machine) -> None:
    check(case, Runs(*machine.value(f"attach: {case.name}")), machine.release, machine.config)


@pytest.mark.vm(jobs=plan)
def test_freplace(machine: Machine) -> None:
    check_results(Results(*machine.value("attach: freplace")), machine.config)
