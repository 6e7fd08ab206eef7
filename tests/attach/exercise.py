"""Doing the cases, as jobs of a machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import lskel
from lskel.errors import LskelError
from lskel.runtime.attach.link import Link
from lskel.runtime.objects import Fd
from lskel.runtime.one_element import lookup
from lskel.skeleton.dynamic import DynamicCollection
from tests.attach.cases import CASES
from tests.attach.cases.case import Case, version
from tests.build.clang import compile_bpf
from tests.runtime.namespaces import CommandFailed

SOURCES = Path(__file__).parent / "bpf"
_BY_NAME = {case.name: case for case in CASES}


class Runs(NamedTuple):
    """How often the program ran: before it was attached, while it was, afterwards.

    `refused` says why it could not be loaded or attached, empty where it could; `linked` whether a
    link of bpf(2) did it.
    """

    before: int = 0
    during: int = 0
    after: int = 0
    refused: str = ""
    linked: bool = False


@cache
def bundle(name: str, directory: Path) -> str:
    """The path of the bundle of an object."""
    source = (SOURCES / f"{name}.bpf.c").read_text()
    path = directory / f"{name}.lskel"
    lskel.generate(lskel.open_object(compile_bpf(source, "-nohead"), name=name)).save(path)
    return str(path)


def exercise(name: str, bundle: str, seen: Callable[[Link], None] = lambda _: None) -> Runs:
    """Load the case's program alone, attach it, cause its event, detach it, cause it again.

    `seen` gets the link while it is attached.
    """
    case = _BY_NAME[name]
    try:
        with lskel.load(bundle, autoload=dict.fromkeys((case.program, *case.also), True)) as bpf:
            return _counted(case, bpf.load(), seen)
    except (LskelError, CommandFailed) as error:
        return Runs(refused=str(error))


def _counted(case: Case, bpf: DynamicCollection, seen: Callable[[Link], None]) -> Runs:
    program, bss = bpf.progs[case.program], bpf.maps.bss
    assert type(program) is case.kind

    def hits() -> int:
        value = lookup(bss.fileno(), bytes(4), bss.info().value_size)
        assert value is not None
        return int.from_bytes(value, sys.byteorder)

    with case.setting(bpf) as scene:
        scene.event()
        before = hits()
        link = scene.attach(program)
        assert list(bpf.links) == [link]
        try:
            scene.event()
            during = hits() - before
            seen(link)
        finally:
            link.close()
        assert link.closed
        stopped = hits()
        scene.event()
        return Runs(before, during, hits() - stopped, linked=isinstance(link, Fd))


def check(case: Case, runs: Runs, release: str, config: str) -> None:
    """The program ran while it was attached and only then; or the kernel refused as the case says.

    Which it is follows from the kernel's version and configuration.
    """
    if case.lack is not None and case.lack.lacks(release, config):
        assert case.lack.said in runs.refused, runs
        assert runs.during == 0
        return
    assert runs.refused == ""
    assert runs.before == 0
    assert runs.during > 0
    assert runs.after == 0
    assert runs.linked == (case.linked_since is not None and version(release) >= case.linked_since)
