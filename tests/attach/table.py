"""Writes docs/attach.md: what attaches on which kernel.

    python -m tests.attach.table > docs/attach.md

Does every case on the running kernel and in a machine for each other one: some minutes, as root.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import lskel
from tests import corpus
from tests.attach.cases import CASES
from tests.attach.cases.case import Case, version
from tests.attach.exercise import Runs, bundle, exercise
from tests.attach.freplace import replace_functions
from tests.replay import tcp_congestion
from tests.vm.job import Job
from tests.vm.kernels import SERIES, find_kernel
from tests.vm.machine import missing, run_all
from tests.vm.test_features import CONGESTION_CONTROL

_TOTAL = 1800  # seconds


# What outlives a process that is killed.
KILLED = (
    ("*link*: by a bpf(2) link", "is detached, unless the link is pinned"),
    ("perf_event, usdt; probes before Linux 5.15", "is detached"),
    (
        "kretprobe with `maxactive`",
        "is detached; its event stays in `kprobe_events` until the next such program is attached",
    ),
    (
        "tc by clsact, also `tc` and `tc/*` before Linux 6.6",
        "stays, with the qdisc, until a program of this name is attached there again, which "
        "replaces it; `tc qdisc del dev DEV clsact` removes the qdisc and all its filters",
    ),
    ("socket, sk_reuseport", "stays as long as another process has the socket"),
    (
        r"sk_skb/\*, sk_msg, without a link",
        "stays as long as the sockmap, which may be pinned",
    ),
    ("struct_ops of `.struct_ops.link`", "are unregistered, unless the link is pinned"),
    (
        "struct_ops of `.struct_ops`",
        "stay registered: `bpftool struct_ops unregister id ID`",
    ),
    ("pinned maps, programs and links", "stay, attached, until the pins are removed"),
)


class Column(NamedTuple):
    """A kernel, and what became of each case there."""

    kernel: str
    release: str
    runs: dict[str, Runs]
    others: dict[str, bool]


class Other(NamedTuple):
    """A way to attach that is no single case: its job, and whether what came of it is success."""

    name: str
    job: Job
    worked: Callable[[Any], bool]


def others(directory: Path) -> list[Other]:
    """Functions of programs that are replaced, and struct_ops."""
    functions = {
        "target": bundle("freplace_target", directory),
        "source": bundle("freplace", directory),
    }
    path = next(path for path in corpus.objects() if path.stem == CONGESTION_CONTROL)
    control = directory / "control.lskel"
    lskel.generate(lskel.open_object(path)).save(control)
    congestion = {"bundle": str(control), "name": CONGESTION_CONTROL}
    return [
        Other("freplace", Job("freplace", replace_functions, functions), lambda r: not r[-1]),
        Other(
            "struct_ops",
            Job("struct_ops", tcp_congestion.exercise, congestion, 60),
            lambda r: bool(r["used"] == CONGESTION_CONTROL and not r["still_there"]),
        ),
    ]


def columns() -> list[Column]:
    """All kernels, the running one last."""
    if lacks := [why for series in SERIES if (why := missing(series))]:
        sys.exit("\n".join(lacks))
    with TemporaryDirectory() as name:
        directory = Path(name)
        jobs = [
            Job(case.name, exercise, {"name": case.name, "bundle": bundle(case.object, directory)})
            for case in CASES
        ]

        extra = others(directory)
        jobs += [other.job for other in extra]
        machines = run_all([*map(find_kernel, SERIES), None], jobs, directory, _TOTAL)
    where = [*["Debian"] * len(SERIES), "locked down"]
    return [
        Column(
            f"{'.'.join(map(str, version(machine.release)))} ({what})",
            machine.release,
            {case.name: Runs(*machine.value(case.name)) for case in CASES},
            {other.name: other.worked(machine.value(other.name)) for other in extra},
        )
        for machine, what in zip(machines, where, strict=True)
    ]


def document(columns: Sequence[Column]) -> Iterator[str]:
    """The lines of docs/attach.md."""
    yield "# What attaches on which kernel"
    yield ""
    yield "Written by `python -m tests.attach.table > docs/attach.md`; not edited by hand."
    yield ""
    yield (
        "Each case was tested: the program is loaded and attached, its event is triggered, and the "
        "program counts it; it is detached, the event is triggered again, and nothing is counted. "
        "If the kernel refuses, the table shows what it lacks. *link*: by a bpf(2) link, which can "
        "be pinned; *yes*: in another way."
    )
    yield ""
    yield f"| kind | {' | '.join(column.kernel for column in columns)} |"
    yield "|---|" + "---|" * len(columns)
    for case in CASES:
        cells = (_cell(case, column) for column in columns)
        yield f"| {case.name} | {' | '.join(cells)} |"
    for name in columns[0].others:
        worked = ("link" if column.others[name] else "no: locked down" for column in columns)
        yield f"| {name} | {' | '.join(worked)} |"
    yield ""
    yield "What stays attached when the process is killed:"
    yield ""
    yield "| attached | when the process is killed |"
    yield "|---|---|"
    for attached, what in KILLED:
        yield f"| {attached} | {what} |"
    yield ""
    yield (
        "The section name determines the class of a program (`lskel.runtime.attach.kinds`); the "
        "docstring of its `attach` describes the arguments. lskel loads programs of other types "
        "(lwt, lirc), but does not attach them."
    )


def _cell(case: Case, column: Column) -> str:
    runs, lack = column.runs[case.name], case.lack
    if runs.during:
        return "link" if runs.linked else "yes"
    assert runs.refused and lack is not None, (case.name, runs.refused)
    if version(column.release) < lack.since:
        return f"no: since {'.'.join(map(str, lack.since))}"
    return f"no: {lack.option}" if lack.option and not lack.without else "no: locked down"


def main() -> None:
    """Print the document."""
    for line in document(columns()):
        print(line)


if __name__ == "__main__":
    main()
