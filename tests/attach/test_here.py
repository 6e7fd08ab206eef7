"""Each way to attach, on this kernel."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.attach.cases import CASES
from tests.attach.cases.case import Case
from tests.attach.exercise import Runs, bundle, check, exercise
from tests.attach.freplace import check_results, replace_functions
from tests.conftest import lacking

by_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def kernel_config() -> str:
    path = Path("/proc/config.gz")
    if not path.exists():
        lacking("the kernel does not tell its configuration (CONFIG_IKCONFIG_PROC)")
    return gzip.decompress(path.read_bytes()).decode()


@pytest.mark.kernel
@by_case
def test_here(case: Case, tmp_path: Path) -> None:
    runs = exercise(case.name, bundle(case.object, tmp_path))
    check(case, Runs(*runs), os.uname().release, kernel_config())


@pytest.mark.kernel
def test_freplace(tmp_path: Path) -> None:
    target, source = bundle("freplace_target", tmp_path), bundle("freplace", tmp_path)
    check_results(replace_functions(target, source), kernel_config())
