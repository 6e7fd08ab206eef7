"""Return probes of functions that sleep, functions that take no program, CPUs that come and go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from tests.attach.cases.case import version
from tests.build.clang import compile_bpf
from tests.vm import probes
from tests.vm.job import Job
from tests.vm.machine import Machine

SOURCE = """
unsigned wanted;
__u64 hits;
SEC("kretprobe") int on_return(void *ctx)
{
    if (bpf_get_current_pid_tgid() >> 32 == wanted)
        __sync_fetch_and_add(&hits, 1);
    return 0;
}
"""
BUSY = 'SEC("fentry") int on_any(void *ctx) { return 0; }'


def plan(directory: Path) -> Iterator[Job]:
    paths = {}
    for name, source in (("returns", SOURCE), ("busy", BUSY)):
        paths[name] = str(directory / f"probes-{name}.lskel")
        lskel.generate(lskel.open_object(compile_bpf(source), name)).save(paths[name])
    yield Job("return probes", probes.return_probes, {"bundle": paths["returns"]}, 60)
    yield Job("abandoned events", probes.abandoned_events, {"bundle": paths["returns"]})
    yield Job("busy functions", probes.busy, {"bundle": paths["busy"]}, 120)
    yield Job("CPUs that come", probes.cpus_that_come, {"times": 2}, 60)


on_machines = pytest.mark.vm(jobs=plan)


@on_machines
def test_maxactive(machine: Machine) -> None:
    """A return is missed if more calls run than there are instances; the kernel counts them."""
    found = machine.value("return probes")
    counts = version(machine.release) >= (6, 7)
    hits, missed = found["maxactive"]
    assert hits == probes.SLEEPERS
    assert missed == (0 if counts else None)
    for name, instances in (("default", 10), ("few", 5)):
        hits, missed = found[name]
        assert hits == instances
        assert missed == (probes.SLEEPERS - instances if counts else None)


@on_machines
def test_abandoned_events(machine: Machine) -> None:
    assert machine.value("abandoned events") == [1, 2, 1, 1, 0]


@on_machines
def test_why_a_function_is_busy(machine: Machine) -> None:
    said = machine.value("busy functions")
    assert re.search(r"EBUSY: .*\(it is already attached, by link \d+: close that", said["twice"])
    name = said["function"]
    hint = (
        f"('{name}' is not traceable: it is not in /sys/kernel/tracing/available_filter_functions)"
    )
    assert hint in said["not traceable"]


@on_machines
def test_cpus_that_come_and_go(machine: Machine) -> None:
    """No sample is lost that was written before a CPU went, or after it was noticed again."""
    found = machine.value("CPUs that come")
    assert sorted(found["came"]) == [[0, 2], [1, 1]]
    assert found["came back"] == [[1, 3], [1, 4]]
    assert found["waited"] == [True, [[1, 5]]]
    assert found["fds are closed"]
