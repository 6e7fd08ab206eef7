"""Machines for tests: each kernel is booted once, for the jobs of all tests that are to run."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import lacking
from tests.vm.machine import SERIES, Kernel, Machine, boot, find_kernel, missing

# Both kernels took a quarter of this (in seconds), side by side on two CPUs.
_LIMIT = 1200


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `vm` run where -m names them: `pytest -m vm`."""
    if "vm" in re.findall(r"\w+", config.option.markexpr):
        return
    left_out = [item for item in items if item.get_closest_marker("vm")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def machines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Machine]:
    """What became of all jobs, by the kernel's series."""
    marks = [mark for item in request.session.items for mark in item.iter_markers("vm")]
    plans = dict.fromkeys(mark.kwargs["jobs"] for mark in marks)
    files = tmp_path_factory.mktemp("files")
    jobs = [job for plan in plans for job in plan(files)]
    assert len({job.name for job in jobs}) == len(jobs), "two jobs have one name"

    def booted(kernel: Kernel) -> tuple[str, Machine]:
        return kernel.series, boot(kernel, jobs, tmp_path_factory.mktemp("shared"), _LIMIT)

    kernels = [kernel for series in SERIES if (kernel := find_kernel(series))]
    with ThreadPoolExecutor() as pool:
        return dict(pool.map(booted, kernels))


@pytest.fixture(params=SERIES)
def machine(request: pytest.FixtureRequest) -> Machine:
    """A machine that has run the jobs of this test.

    They come from its mark: `vm(jobs=plan)`, where `plan` takes a directory for their files and
    gives the jobs.
    """
    if lacks := missing(request.param):
        lacking(f"a machine with Linux {request.param} needs {', '.join(lacks)}")
    machines: dict[str, Machine] = request.getfixturevalue("machines")
    return machines[request.param]
