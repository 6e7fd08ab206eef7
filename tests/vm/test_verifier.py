"""The logs of other kernels, which write them differently, are explained as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verifier.broken import broken
from tests.verifier.expected import check
from tests.verifier.refusals import Refusal, collect
from tests.vm.job import Job
from tests.vm.machine import Machine


def plan(directory: Path) -> Iterator[Job]:
    bundles = {}
    for program in broken():
        path = directory / f"broken-{program.name}.lskel"
        program.loader().save(path)
        bundles[program.name] = str(path)
    yield Job("refusals", collect, {"bundles": bundles}, 120)


@pytest.mark.vm(jobs=plan)
def test_broken_programs(machine: Machine) -> None:
    found = machine.value("refusals")
    refusals = {
        name: Refusal(error, tuple(log)) for name, (error, log) in found["refusals"].items()
    }
    assert found["release"] == machine.release
    refused = [program for program in broken() if program.is_refused_by(machine.release)]
    assert len(refused) >= 50
    wrong = []
    for program in refused:
        wrong += check(program, refusals[program.name], machine.release)
    assert wrong == []
