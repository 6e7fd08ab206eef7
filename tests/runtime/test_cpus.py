"""Lists of CPUs."""

from __future__ import annotations

import os
import sys

import pytest

from lskel.runtime.cpus import online_cpus, parse_cpu_list, possible_cpus


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0", (0,)),
        ("0-3", (0, 1, 2, 3)),
        ("0-1,4,6-7", (0, 1, 4, 6, 7)),
        ("", ()),
    ],
)
def test_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such lists")
def test_this_machine() -> None:
    assert len(online_cpus()) == os.sysconf("SC_NPROCESSORS_ONLN")
    assert set(online_cpus()) <= set(possible_cpus())
