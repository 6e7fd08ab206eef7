"""Driving the tools of tests/tools, as jobs: what each prints, by tool and variant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lskel
from tests.attach.tracefs import mounted_tracefs
from tests.tools import build, drive
from tests.tools.drive import Printed
from tests.vm import alone


def by_libbpf(command: list[str], workload: str) -> Printed:
    """By the programs in C."""
    with mounted_tracefs():
        return build.printed(command, workload)


def by_load(directory: str, workload: str) -> Printed:
    """By `lskel.load` of bundles."""

    def open_tool(name: str) -> Any:
        return lskel.load(Path(directory) / f"{name}.lskel")

    with mounted_tracefs():
        return drive.printed(open_tool, workload)


def by_modules(directory: str, workload: str) -> Printed:
    """By modules, where lskel is not installed."""
    with mounted_tracefs():
        printed: Printed = json.loads(alone.run(drive.__file__, directory, workload))
    return printed
