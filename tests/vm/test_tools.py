"""Tools of the kinds that projects have: by libbpf in C, and by lskel, with the same results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.build import build
from tests.tools.drive import USES
from tests.vm import tools
from tests.vm.job import Job
from tests.vm.machine import Machine

CASES = [f"{name}, {variant}" for name, use in USES.items() for variant in use.variants]
STACKS = ("stacks, 127", "stacks, 2")

# What tests/tools/c/workload.c causes: calls with the arguments 1 to 5, as often as these say.
_CALLS = [f"{n}: {n}" for n in range(1, 6)]
_ELEMENTS = sorted([*_CALLS, "0: 0", "6: 0", "7: 0"])
_FILES = ["7 7 127", "0: 0", *(f"{slot}: 1" for slot in range(1, 8))]
_EVENTS = [argument for argument in range(1, 6) for _ in range(argument)]
_PAGES = [0, *range(1, 64, 2)]

# By tool, or by tool and variant.
KNOWN = {
    "functions": _FILES,
    "uprobes": ["0 -10 -10: 3", "1 -10 -9: 3", "2 -10 -8: 3"],
    "events": [f"{number} {argument} workload" for number, argument in enumerate(_EVENTS)],
    "usdt, indexed": ["4 c00c1e 3", "0: -691 of 2", "1: 6 of 8", "2: -12 of 1"],
    "usdt, guarded": ["7 c00c1e 2", f"0: {7 * 0x8FD44} of 4", "1: 21 of 8", "2: 0 of -2"],
    "counts": _CALLS,
    "counts, array": _ELEMENTS,
    "counts, percpu_array": _ELEMENTS,
    "nested, array": [
        f"{key} {index}: {key if key == index else 0}" for key in range(1, 6) for index in range(8)
    ],
    "nested, hash": [f"{n} {n}: {n}" for n in range(1, 6)],
    "parameters": ["0: 40", "1: 50", "2: 20", "3: 30"],
    "returns, default": ["10 50"],
    "returns, maxactive": ["60 0"],
    "profile": [f"{page}: 1" for page in _PAGES],
    "fallback, tracepoints": ["0 55 0"],
    "fallback, probes": ["0 0 55"],
    "many": ["1000: 15", "2000: 4", f"{1 << 40}: 3"],
}


def plan(directory: Path) -> Iterator[Job]:
    built = build(directory)
    c = {"command": built.command, "workload": built.workload}
    python = {"directory": built.directory, "workload": built.workload}
    yield Job("tools by libbpf", tools.by_libbpf, c, 600)
    yield Job("tools by lskel.load", tools.by_load, python, 600)
    yield Job("tools by modules", tools.by_modules, python, 600)


pytestmark = [
    pytest.mark.vm(jobs=plan),
    pytest.mark.parametrize("machine", ["6.12"], indirect=True),
]


@pytest.mark.parametrize("case", [case for case in CASES if case not in STACKS])
def test_libbpf_sees_what_was_caused(case: str, machine: Machine) -> None:
    known = KNOWN.get(case) or KNOWN[case.partition(",")[0]]
    assert machine.value("tools by libbpf")[case] == sorted(known)


@pytest.mark.parametrize("case", STACKS)
def test_libbpf_sees_the_callers(case: str, machine: Machine) -> None:
    """A function calls once, and another, from two places, three times; deep traces have it."""
    traces = [line.split() for line in machine.value("tools by libbpf")[case]]
    assert [count for count, _, _ in traces] == ["1", "3", "3"]
    assert len({in_kernel for _, in_kernel, _ in traces}) == 1
    assert len({in_user for _, _, in_user in traces}) == 3
    once, *others = (len(in_user.split(",")) for _, _, in_user in traces)
    if case == "stacks, 2":
        assert (once, others) == (2, [2, 2])
    else:
        assert once > 2
        assert others == [once + 1, once + 1]


@pytest.mark.parametrize("door", ["lskel.load", "modules"])
@pytest.mark.parametrize("case", CASES)
def test_as_by_libbpf(case: str, door: str, machine: Machine) -> None:
    assert machine.value(f"tools by {door}")[case] == machine.value("tools by libbpf")[case]
