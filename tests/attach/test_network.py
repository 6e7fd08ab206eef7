"""Each case of the network, on this kernel."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.attach.cases.network import CASES, Case
from tests.attach.network import Runs, bundle, check, exercise
from tests.conftest import lacking

by_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.mark.kernel
@by_case
def test_here(case: Case, tmp_path: Path) -> None:
    path = Path("/proc/config.gz")
    if not path.exists():
        lacking("the kernel does not tell its configuration (CONFIG_IKCONFIG_PROC)")
    config = gzip.decompress(path.read_bytes()).decode()
    runs = exercise(case.name, bundle(case.object, tmp_path))
    check(case, Runs(*runs), os.uname().release, config)
