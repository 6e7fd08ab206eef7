"""The example that schedules all tasks of a machine, by both forms of its loader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.loader.model import Form
from lskel.skeleton.python import generate_python
from tests.build.clang import EXAMPLES, example
from tests.vm import alone, scheduler
from tests.vm.job import Job
from tests.vm.machine import Machine

# Seconds under load, by the form of the loader.
SECONDS = {Form.UNROLLED: 10, Form.TABLE: 2}
_UNREGISTERED = 64  # SCX_EXIT_UNREG of enum scx_exit_kind
_WITHOUT = ("6.1", "6.12")  # Debian builds them without CONFIG_SCHED_CLASS_EXT
TOOL = "the scheduler's tool"
SCRIPT = """
import runpy, sys
sys.path.insert(0, {directory!r})
sys.argv = [{path!r}, "2"]
runpy.run_path({path!r}, run_name="__main__")
"""


def plan(directory: Path) -> Iterator[Job]:
    obj = lskel.open_object(example("fifosched"))
    for form, seconds in SECONDS.items():
        bundle = directory / f"fifosched-{form.value}.lskel"
        lskel.generate(obj, form).save(bundle)
        arguments = {"bundle": str(bundle), "seconds": seconds}
        yield Job(f"schedule, {form.value}", scheduler.schedule, arguments, 300)
    skeleton = generate_python(lskel.generate(obj, "auto"))
    (directory / "fifosched_lskel.py").write_text(skeleton)
    tool = directory / "fifosched_tool.py"
    tool.write_text(SCRIPT.format(directory=str(directory), path=str(EXAMPLES / "fifosched.py")))
    yield Job(TOOL, alone.run, {"path": str(tool)}, 120)


on_machines = pytest.mark.vm(jobs=plan)


def has_sched_ext(machine: Machine) -> bool:
    has = re.search("^CONFIG_SCHED_CLASS_EXT=y", machine.config, re.MULTILINE) is not None
    assert has is not machine.release.startswith(tuple(f"{series}." for series in _WITHOUT))
    return has


@on_machines
@pytest.mark.parametrize("form", SECONDS)
def test_schedules(machine: Machine, form: Form) -> None:
    report = machine.value(f"schedule, {form.value}")
    if not has_sched_ext(machine):
        assert report is None
        return
    assert report["states"] == ["disabled", "disabled", "enabled", "disabled"]
    assert report["name"] == "fifosched"
    # Nobody starves, and those that always compute wait for each other.
    assert min(report["ran"]) > 0
    counted = report["counted"]
    queued, taken = (sum(cpu[what] for cpu in counted) for what in ("queued", "taken"))
    assert queued > 5 * SECONDS[form]
    assert 0 < taken <= queued
    kind, reason = report["ended"]
    assert kind == _UNREGISTERED
    assert reason.startswith("unregistered from user space")
    told = report["messages"]
    assert any('"fifosched" enabled' in line for line in told), told
    bad = re.compile(r"BUG|WARNING|Oops|runtime error|stall|Call Trace")
    assert [line for line in told if bad.search(line)] == []


@on_machines
def test_the_tool(machine: Machine) -> None:
    if not has_sched_ext(machine):
        why = "this kernel has no struct bpf_struct_ops_sched_ext_ops"
        assert why in machine.outcomes[TOOL].detail
        return
    head, *lines, end = machine.value(TOOL).splitlines()
    assert head.split() == ["CPU", "IDLE", "QUEUED", "TAKEN"]
    assert lines
    assert [line for line in lines if not re.fullmatch(r" +\d+ +\d+ +\d+ +\d+", line)] == []
    assert end.startswith("ended: unregistered from user space")
