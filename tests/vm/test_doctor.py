"""lskel doctor in machines with other kernels: what it says there, attaching and loading does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import corpus
from tests.attach.cases.case import Case
from tests.attach.exercise import Runs
from tests.attach.freplace import Results
from tests.conftest import lacking
from tests.doctor.exercise import Outcome, check, whole_report, would_load_all
from tests.doctor.test_object import MUCH_WRONG, loader
from tests.doctor.test_report import SHOWN, answers, by_link, kinds
from tests.verifier.broken import version_of
from tests.vm.job import Job
from tests.vm.kernels import SERIES, find_kernel
from tests.vm.machine import Machine, boot, missing
from tests.vm.test_attach import plan as attaching

pytestmark = pytest.mark.usefixtures("corpus_tools")

# Of the corpus: what loads everywhere, what needs a newer kernel, fentry, struct_ops, ksyms.
OBJECTS = (
    "bpf_cubic",
    "fentry_test",
    "loop6",
    "test_global_func1",
    "test_ksyms_weak",
    "test_ringbuf",
    "test_sk_lookup",
    "test_vmlinux",
    "user_ringbuf_success",
    "kprobe_multi",
)


def objects() -> list[str]:
    return [str(path) for path in corpus.objects() if path.stem in OBJECTS]


def plan(files: Path) -> Iterator[Job]:
    yield Job("doctor", whole_report, {}, 120)
    wrong = files / "wrong.lskel"
    loader(MUCH_WRONG, "wrong").save(wrong)
    yield Job("doctor: objects", would_load_all, {"paths": [*objects(), str(wrong)]}, 200)


on_machines = pytest.mark.vm(jobs=plan)
also_attaching = pytest.mark.vm(jobs=attaching)


@pytest.fixture
def report(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = machine.value("doctor")
    return found


@on_machines
@also_attaching
@pytest.mark.parametrize("case", SHOWN, ids=[case.name for case in SHOWN])
def test_as_attaching_does(case: Case, machine: Machine, report: dict[str, Any]) -> None:
    runs = Runs(*machine.value(f"attach: {case.name}"))
    assert (runs.during > 0) == (kinds(report)[case.name] == "yes"), runs
    assert runs.linked == (case.name in by_link(report))


@on_machines
@also_attaching
def test_freplace_as_attaching_does(machine: Machine, report: dict[str, Any]) -> None:
    refused = Results(*machine.value("attach: freplace")).refused
    assert (refused == "") == (kinds(report)["freplace"] == "yes")


@on_machines
def test_loaders(machine: Machine, report: dict[str, Any]) -> None:
    """That they run there, other tests of these machines show."""
    version = version_of(machine.release)
    assert report["runs"] is True
    assert report["form"] == "table"
    found = answers(report)
    loaders = {name: found[name] for name in found if name.startswith("loader.")}
    assert loaders.pop("loader.form") is None  # a fact
    assert set(loaders.values()) == {"yes"}
    # By a link only, which Linux 6.4 has first.
    assert kinds(report)["struct_ops"] == ("yes" if version >= (6, 4) else "unknown")
    assert kinds(report)["fentry"] == "yes"  # which the host may refuse
    assert found["maps.cgrp_storage"] == ("yes" if version >= (6, 2) else "no")
    assert found["maps.arena"] == ("yes" if version >= (6, 9) else "no")
    assert found["btf.split"] == "yes"


@pytest.mark.vm(jobs=lambda _: ())
def test_hooks_that_call_no_programs(tmp_path: Path) -> None:
    """Where bpf is no active LSM, programs attach and are not run."""
    series = SERIES[-1]
    kernel = find_kernel(series)
    if kernel is None or missing(series):
        lacking(missing(series))
    job = Job("doctor", whole_report, {}, 120)
    (shared := tmp_path / "shared").mkdir()
    machine = boot(kernel, [job], shared, 600, options="lsm=yama")
    found = {line["kind"]: line for line in machine.value("doctor")["attach"]}
    for name in ("lsm", "lsm (cookie)", "lsm_cgroup"):
        assert found[name]["answer"] == "no"
        assert found[name]["said"] == "LSM hooks do not call BPF programs"
        assert found[name]["remedy"].startswith("boot with lsm=")
    assert found["fentry"]["answer"] == "yes"


@on_machines
def test_objects_as_loading_does(machine: Machine) -> None:
    outcomes = machine.value("doctor: objects")
    assert len(outcomes) == len(objects()) + 1
    for outcome in outcomes.values():
        check(Outcome(*outcome))
    said = [outcome[0] for outcome in outcomes.values()]
    assert "" in said  # some load
    assert any("program 'wrong', program 'wrong_too'" in text for text in said)
