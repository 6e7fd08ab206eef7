"""On other kernels, too, lskel's loaders load what libbpf loads, and what bpftool's loaders do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import corpus
from tests.vm import selftests
from tests.vm.job import Job
from tests.vm.machine import Machine
from tests.vm.selftests import Result, Way

# One object in so many, and those below; docs/kernels.md has all.
STEP = 4
ALWAYS: frozenset[str] = frozenset()
# The verifier takes more than a few seconds for these.
SLOW = frozenset({"loop3", "strobemeta_bpf_loop"})
LIMIT = 30

# What libbpf loads and lskel does not, and why it is right.
DEVIATIONS: dict[str, str] = {}


@cache
def sample() -> list[Path]:
    paths = corpus.objects()
    wanted = {path.stem for path in paths[::STEP]} - SLOW | ALWAYS | DEVIATIONS.keys()
    return [path for path in paths if path.stem in wanted]


def plan(directory: Path) -> Iterator[Job]:
    if not corpus.missing():
        yield from selftests.jobs(sample(), directory, LIMIT)


pytestmark = [
    pytest.mark.vm(jobs=plan),
    pytest.mark.corpus,
    pytest.mark.usefixtures("corpus_tools"),
]


def test_the_sample() -> None:
    names = {path.stem for path in sample()}
    assert len(names) >= 100
    assert names >= ALWAYS | DEVIATIONS.keys()
    assert {path.stem for path in corpus.objects()} >= SLOW


def test_as_libbpf(machine: Machine) -> None:
    verdicts = selftests.verdicts(sample(), machine.outcomes)
    loaded = [v for v in verdicts[Way.LIBBPF].values() if v.result is Result.LOADED]
    print(f"libbpf loads {len(loaded)} of {len(sample())} objects")
    assert len(loaded) >= 50
    differ = selftests.only(verdicts, Way.LIBBPF, Way.LSKEL)
    assert {name: why for name, why in differ.items() if name not in DEVIATIONS} == {}
    assert differ.keys() >= DEVIATIONS.keys(), "some deviations are none any more"


def test_as_bpftool(machine: Machine) -> None:
    verdicts = selftests.verdicts(sample(), machine.outcomes)
    assert selftests.only(verdicts, Way.BPFTOOL, Way.LSKEL) == {}


def test_every_load_ends(machine: Machine) -> None:
    verdicts = selftests.verdicts(sample(), machine.outcomes)
    bad = (Result.SLOW, Result.BROKEN)
    assert {
        f"{name} by {way.value}": verdict
        for way in Way
        for name, verdict in verdicts[way].items()
        if verdict.result in bad
    } == {}
