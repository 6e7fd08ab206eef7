"""Fault injection into the loaders of both generators: what stays open, what is closed twice.

python -m tests.selftests.faults > docs/faults.md
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lskel
from lskel.loader.header import LightSkeleton, parse_header
from lskel.loader.model import Loader
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import AnyName
from lskel.replay.simulator.record import CallRecord, FdRef, RecordedHelper
from lskel.replay.simulator.run import run
from lskel.replay.simulator.simulate import Replay, simulate
from lskel.runtime.cpus import possible_cpus
from tests.selftests.reference import generated_by_bpftool, tool

ERRNO = 5

Run = Callable[[SimulatedKernel], Replay]


class Outcome(NamedTuple):
    """What failures did to a loader: how many there were, and what went wrong, by kind."""

    failures: int
    leaks: Counter[str]
    stale: Counter[str]


def kernel(externs: frozenset[str], faults: Faults) -> SimulatedKernel:
    """A kernel that finds all names, those of `externs` in a module."""
    names = AnyName(modules={"module": externs})
    return SimulatedKernel("little", names=names, faults=faults, cpus=len(possible_cpus()))


def externs_of(path: Path) -> frozenset[str]:
    """Extern symbols of an object."""
    return frozenset(re.findall(r"NOTYPE\s+\w+\s+\w+\s+UND (\S+)", tool("readelf", "-sW", path)))


def inject(start: Run, externs: frozenset[str]) -> Outcome | None:
    """Make each call fail in turn; None where the loader fails by itself."""
    whole = start(kernel(externs, Faults()))
    if whole.value != 0:
        return None
    leaks: Counter[str] = Counter()
    stale: Counter[str] = Counter()
    failures = 0
    for record in whole.records:
        if record.cmd is RecordedHelper.CLOSE:
            continue
        failures += 1
        replay = start(kernel(externs, Faults(calls={record.n: ERRNO})))
        if replay.value < 0:
            leaks.update(ref.kind or "?" for ref in replay.open_fds.values())
        stale.update("close of a closed fd" for r in replay.records if is_stale(r))
    return Outcome(failures, leaks, stale)


def is_stale(record: CallRecord) -> bool:
    """Whether a close names an fd that is not open."""
    fd = record.attr.get("fd")
    return record.cmd is RecordedHelper.CLOSE and not (isinstance(fd, FdRef) and fd.kind)


def bpftools(skeleton: LightSkeleton) -> Run:
    """Starts a loader of bpftool."""
    context = bytes(skeleton.context_size)
    insns, blob = skeleton.insns, skeleton.blob
    return lambda kernel: simulate(insns, blob, context, "little", kernel=kernel)


def lskels(loader: Loader) -> Run:
    """Starts a loader of lskel."""
    return lambda kernel: run(loader, kernel=kernel)


def main() -> None:
    """Print the report."""
    totals: dict[str, list[tuple[str, Outcome]]] = {"bpftool": [], "lskel": []}
    for path, header in sorted(generated_by_bpftool().items()):
        outcome = inject(bpftools(parse_header(header)), externs_of(path))
        if outcome:
            totals["bpftool"].append((path.stem, outcome))
        try:
            loader = lskel.generate(lskel.open_object(path))
        except lskel.LskelError:
            continue
        outcome = inject(lskels(loader), externs_of(path))
        if outcome:
            totals["lskel"].append((path.stem, outcome))
    print(HEAD)
    print("| generator | objects | failures injected | leave fds open | close a closed fd |")
    print("|---|---|---|---|---|")
    for name, outcomes in totals.items():
        print(
            f"| {name} | {len(outcomes)} | {sum(o.failures for _, o in outcomes)} "
            f"| {sum(bool(o.leaks) for _, o in outcomes)} objects "
            f"| {sum(bool(o.stale) for _, o in outcomes)} objects |"
        )
    for name, outcomes in totals.items():
        for what, field in (("leave fds open", "leaks"), ("close a closed fd", "stale")):
            hit = [(stem, getattr(o, field)) for stem, o in outcomes if getattr(o, field)]
            if hit:
                print(f"\nLoaders by {name} that {what} after some failure:\n")
                for stem, counts in hit:
                    print(f"- {stem}: " + ", ".join(f"{n} x {k}" for k, n in counts.items()))


HEAD = """# What loaders do when a call fails

For each of the kernel's selftests (see [selftests.md](selftests.md)), the simulator makes the calls
of its loader fail, one after the other: the loader must return that error, and no file descriptor
may stay open. Closing an fd that is already closed is counted too: in a process with threads, the
number may belong to another file by then. Names of externs are found in a module here, since only
module BTFs have fds. Written by `python -m tests.selftests.faults`.
"""

if __name__ == "__main__":
    main()
