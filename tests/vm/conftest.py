"""Machines for tests: each kernel is booted once, for the jobs of all tests that are to run."""

from __future__ import annotations

import re

import pytest

from tests.conftest import lacking
from tests.vm.kernels import SERIES, find_kernel, is_gone
from tests.vm.machine import Machine, missing, run_all

# Seconds, of each machine.
_LIMIT = 3600


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
    items = request.session.items
    marks = [mark for item in items for mark in item.iter_markers("vm")]
    plans = dict.fromkeys(mark.kwargs["jobs"] for mark in marks)
    files = tmp_path_factory.mktemp("files")
    jobs = [job for plan in plans for job in plan(files)]
    assert len({job.name for job in jobs}) == len(jobs), "two jobs have one name"

    params = {item.callspec.params.get("machine") for item in items if hasattr(item, "callspec")}
    found = [kernel for series in SERIES if series in params and (kernel := find_kernel(series))]
    booted = run_all(found, jobs, tmp_path_factory.mktemp("shared"), _LIMIT)
    return dict(zip((kernel.series for kernel in found), booted, strict=True))


@pytest.fixture(params=SERIES)
def machine(request: pytest.FixtureRequest) -> Machine:
    """A machine that has run the jobs of this test.

    They come from its mark: `vm(jobs=plan)`, where `plan` takes a directory for their files and
    gives the jobs.
    """
    if why := missing(request.param):
        (pytest.skip if is_gone(request.param) else lacking)(why)
    machines: dict[str, Machine] = request.getfixturevalue("machines")
    return machines[request.param]
