"""The kernel module of docs/c-skeleton.md, built with a kernel's headers and loaded there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.skeleton.c import generate_c
from tests.build.clang import compile_bpf
from tests.conftest import lacking
from tests.docs.pages import ROOT, blocks
from tests.vm import headers, module
from tests.vm.job import Job
from tests.vm.machine import Machine

_NAME = "a kernel module"


def sources(directory: Path) -> Path:
    """The files that the page shows, and those that its Makefile makes of them first."""
    page = blocks(ROOT / "docs/c-skeleton.md")
    texts = {block.title: block.text for block in page if block.title}
    for name in ("execs.bpf.c", "execs.c", "Makefile"):
        (directory / name).write_text(texts[name])
    obj = directory / "execs.bpf.o"
    obj.write_bytes(compile_bpf(texts["execs.bpf.c"], "-nohead"))
    header = generate_c(lskel.generate(lskel.open_object(obj)), "execs")
    (directory / "execs.lskel.h").write_text(header)
    return directory


def plan(directory: Path) -> Iterator[Job]:
    paths = {}
    for series in headers.SERIES:
        if not headers.missing(series):
            place = directory / f"module-{series}"
            place.mkdir()
            sources(place)
            headers.make(series, place)
            paths[series] = str(place / "execs.ko")
    yield Job(_NAME, module.count_execs, {"paths": paths}, 60)


@pytest.mark.vm(jobs=plan)
def test_module(machine: Machine) -> None:
    series = next((name for name in headers.SERIES if machine.release.startswith(f"{name}.")), None)
    if series is None:
        assert "no module for" in machine.outcomes[_NAME].detail
        return
    if why := headers.missing(series):
        lacking(f"no kernel module: {why}")
    report = machine.value(_NAME)
    assert report["added"] == ["execs.bss", "execs.rodata", "on_exec"]
    first, last = report["counted"]
    assert last - first == 10 * module.PROGRAMS
    assert re.search(r"execs: (\d+)$", report["said"])
    assert report["left"] == []
