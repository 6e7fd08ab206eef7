"""What machines are, and what is said of jobs that come to grief."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lskel.bpf.enums import Cmd, MapType
from lskel.bpf.layouts import MAP_CREATE
from lskel.runtime.objects import Fd, obj_pin
from lskel.runtime.syscall import bpf, host_attr
from tests.vm import batch, guest
from tests.vm.job import End, Job
from tests.vm.machine import Machine, run_here


def plan(directory: Path) -> Iterator[Job]:
    yield Job("facts", guest.facts)


@pytest.mark.vm(jobs=plan)
def test_facts(machine: Machine) -> None:
    assert machine.value("facts") == {"release": machine.release, "btf": True, "cpus": 1}
    assert machine.release != os.uname().release


def hang() -> None:
    time.sleep(60)


def kill(who: int) -> None:
    os.kill(who or os.getpid(), signal.SIGKILL)


def kill_batch() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def pin() -> list[str]:
    """Pin a map, alone and in a directory; what bpffs holds then."""
    bpffs = Path("/sys/fs/bpf")
    (bpffs / "directory").mkdir()
    attr = host_attr(
        MAP_CREATE, "max_entries", map_type=MapType.ARRAY, key_size=4, value_size=4, max_entries=1
    )
    with Fd(bpf(Cmd.MAP_CREATE, attr)) as fd:
        obj_pin(fd.fileno(), bpffs / "map")
        obj_pin(fd.fileno(), bpffs / "directory" / "map")
    pins = (str(path.relative_to(bpffs)) for path in bpffs.rglob("*"))
    return sorted(pin for pin in pins if not pin.endswith(".debug"))  # the kernel's own


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("job", "end", "detail"),
    [
        (Job("", hang, limit=0.1), End.TIMEOUT, "not done within 0.1 s"),
        (Job("", kill, {"who": 0}), End.KILLED, "SIGKILL"),
        (Job("", kill, {"who": "me"}), End.RAISED, "TypeError"),
    ],
    ids=["hangs", "dies", "raises"],
)
def test_outcomes(job: Job, end: End, detail: str) -> None:
    outcome = batch.run(job)
    assert outcome.end is end
    assert detail in outcome.detail
    assert outcome.seconds < 30


@pytest.mark.kernel
def test_pins_are_the_jobs_own(tmp_path: Path) -> None:
    before = sorted(Path("/sys/fs/bpf").iterdir())
    machine = run_here([Job("one", pin), Job("other", pin)], tmp_path, 60)
    for name in machine.outcomes:
        assert machine.value(name) == ["directory", "directory/map", "map"]
    assert sorted(Path("/sys/fs/bpf").iterdir()) == before


@pytest.mark.kernel
def test_a_machine_that_dies(tmp_path: Path) -> None:
    jobs = [Job("first", guest.facts), Job("fatal", kill_batch), Job("last", guest.facts)]
    machine = run_here(jobs, tmp_path, 60)
    assert machine.value("first")["release"] == machine.release
    assert [o.end for o in machine.outcomes.values()] == [
        End.RETURNED,
        End.UNREACHED,
        End.UNREACHED,
    ]
    with pytest.raises(
        AssertionError, match="last: not reached: it ended with status -9 during 'fatal'"
    ):
        machine.value("last")


@pytest.mark.kernel
def test_a_machine_that_hangs(tmp_path: Path) -> None:
    machine = run_here([Job("endless", hang)], tmp_path, 0.5)
    with pytest.raises(AssertionError, match=r"endless: not reached: it was stopped after 0\.5 s"):
        machine.value("endless")
