"""Replacing functions of a program that runs, as a job of a machine."""

from __future__ import annotations

from typing import NamedTuple

import lskel
from lskel.errors import LskelError
from lskel.runtime.attach.freplace import FreplaceProgram
from lskel.runtime.program import Program


class Results(NamedTuple):
    """What the target returns: as it is, with each of its functions replaced, and after each.

    `again` is what is said where the program is attached twice, `nowhere` where the target has no
    such function; `refused` why it could not be loaded.
    """

    first: int = 0
    verdict: int = 0
    after_verdict: int = 0
    other: int = 0
    after_other: int = 0
    again: str = ""
    nowhere: str = ""
    refused: str = ""


def replace_functions(target: str, source: str) -> Results:
    """Load the bundle of the target, then that of its replacement, and attach it."""
    with lskel.load(target) as bpf:
        calls = bpf.progs.calls
        name = f"id:{calls.info().id}"
        with lskel.load(source, targets={"replacement": name}) as replacing:
            try:
                replacing.load()
            except LskelError as error:
                return Results(refused=str(error))
            program = replacing.progs.replacement
            first = _run(calls)
            with program.attach():
                verdict = _run(calls)
                again = _error(program, None)
            after_verdict = _run(calls)
            with program.attach(f"{name}:other"):
                other = _run(calls)
            nowhere = _error(program, f"{name}:another")
            return Results(first, verdict, after_verdict, other, _run(calls), again, nowhere)


def _run(calls: Program) -> int:
    return calls.run(bytes(64)).value


def _error(program: FreplaceProgram, target: str | None) -> str:
    try:
        program.attach(target).close()
    except LskelError as error:
        return str(error)
    return ""


def check_results(results: Results, config: str) -> None:
    """Kernels that are locked down do not load such programs."""
    if "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y" in config:
        assert "BPF_PROG_LOAD of program 'replacement': EPERM" in results.refused
        return
    assert results.refused == ""
    assert results[:5] == (12, 112, 12, 111, 12)
    assert "EINVAL: Invalid argument (it attaches once" in results.again
    assert "has no function 'another'" in results.nowhere
