"""Each case of the network in machines with other kernels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attach.cases.network import CASES, Case
from tests.attach.network import Runs, bundle, check, exercise
from tests.vm.job import Job
from tests.vm.machine import Machine


def plan(directory: Path) -> Iterator[Job]:
    for case in CASES:
        arguments = {"name": case.name, "bundle": bundle(case.object, directory)}
        yield Job(f"network: {case.name}", exercise, arguments)


@pytest.mark.vm(jobs=plan)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_attached(case: Case, machine: Machine) -> None:
    config = Path(f"/boot/config-{machine.release}").read_text()
    check(case, Runs(*machine.value(f"network: {case.name}")), machine.release, config)
