"""lskel doctor: what it says of this machine is so, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lskel.cli import main
from lskel.doctor import files, report
from lskel.doctor.attach_kinds import ATTACH_KINDS
from lskel.doctor.finding import Answer, ask
from lskel.runtime.permissions import Capability
from tests.attach.cases import CASES
from tests.attach.cases.case import Case
from tests.attach.exercise import bundle, exercise
from tests.attach.freplace import replace_functions
from tests.doctor.confined import (
    Action,
    as_nobody,
    in_user_namespace,
    with_capabilities,
    without_bpf,
)
from tests.doctor.exercise import mounted, whole_report
from tests.doctor.left import nothing_left

pytestmark = pytest.mark.kernel

Report = dict[str, Any]

# Ways to attach that are one for doctor, or say nothing of the kernel: whether an interface has XDP
# in its driver is that one's affair.
LEFT_OUT = {
    *(f"kprobe as {kind}" for kind in ("kretprobe", "ksyscall", "uprobe", "uretprobe", "usdt")),
    "kretprobe (maxactive)",
    "uprobe as uretprobe",
    "raw_tp (given)",
    "fentry.multi (given)",
    "uprobe (given)",
    "uprobe (offset)",
    "uprobe.multi (given)",
    "usdt (cookie)",
    "xdp (generic)",
    "xdp (native)",
}
COMMAND = (sys.executable, "-m", "lskel", "doctor")
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "doctor.md"
SHOWN = [case for case in CASES if case.name not in LEFT_OUT]


@pytest.fixture(scope="module")
def here() -> Report:
    with mounted():
        return whole_report()


def answers(found: Report) -> dict[str, str]:
    """The answers by the ids of lines."""
    return {line["id"]: line["answer"] for lines in found["sections"].values() for line in lines}


def kinds(found: Report) -> dict[str, str]:
    """The answers by ways to attach."""
    return {line["kind"]: line["answer"] for line in found["attach"]}


def by_link(found: Report) -> set[str]:
    """The ways to attach that work by links of bpf(2)."""
    return {line["kind"] for line in found["attach"] if line["said"] == "by link"}


def confined() -> Report:
    return report.as_json(report.examine())


def test_every_way_to_attach_is_there(here: Report) -> None:
    assert set(kinds(here)) == {case.name for case in SHOWN} | {"freplace", "struct_ops"}
    assert len(kinds(here)) == len(ATTACH_KINDS) + 2


@pytest.mark.parametrize("case", SHOWN, ids=[case.name for case in SHOWN])
def test_as_attaching_does(case: Case, here: Report, tmp_path: Path) -> None:
    """A program is attached, runs, and is detached; where doctor says no, it is refused."""
    runs = exercise(case.name, bundle(case.object, tmp_path))
    assert (runs.during > 0) == (kinds(here)[case.name] == "yes"), runs
    assert runs.linked == (case.name in by_link(here))


def test_freplace_as_attaching_does(here: Report, tmp_path: Path) -> None:
    refused = replace_functions(
        bundle("freplace_target", tmp_path), bundle("freplace", tmp_path)
    ).refused
    assert (refused == "") == (kinds(here)["freplace"] == "yes")


def test_what_is_not_well_has_a_remedy(here: Report) -> None:
    lines = [line for lines in here["sections"].values() for line in lines] + here["attach"]
    assert all(line["remedy"] for line in lines if line["answer"] in ("no", "unknown"))
    assert not any(line["remedy"] for line in lines if line["answer"] in ("yes", None))


def test_loaders_run_where_tests_of_loaders_run(here: Report) -> None:
    assert here["runs"] is True
    assert here["form"] == "table"
    found = answers(here)
    assert {found[f"loader.{form}"] for form in ("table", "unrolled")} == {"yes"}


def test_facts(here: Report) -> None:
    said = {line["id"]: line["said"] for lines in here["sections"].values() for line in lines}
    assert said["kernel.release"] == os.uname().release
    assert said["kernel.page_size"] == f"{os.sysconf('SC_PAGE_SIZE')} bytes"
    assert said["kernel.byte_order"] == sys.byteorder


def test_every_line_is_documented(here: Report) -> None:
    documented = DOCUMENT.read_text()
    ids = [id_ for id_ in answers(here) if not id_.startswith("maps.")]
    assert [id_ for id_ in ids if f"`{id_}`" not in documented] == []


def test_nothing_is_left() -> None:
    with mounted(), nothing_left():
        whole_report()


def test_what_is_not_mounted_is_said() -> None:
    """With an empty /sys."""

    code = (
        "import ctypes, json, subprocess;"
        "ctypes.CDLL(None).unshare(0x20000);"  # CLONE_NEWNS
        "subprocess.run(['mount', '--make-rprivate', '/'], check=True);"
        "subprocess.run(['mount', '-t', 'tmpfs', 'none', '/sys'], check=True);"
        "from lskel.doctor import report;"
        "print(json.dumps(report.as_json(report.examine())))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    found: Report = json.loads(done.stdout)
    assert answers(found)["files.bpffs"] == "no"
    assert answers(found)["files.tracefs"] == "no"
    assert answers(found)["btf.vmlinux"] == "no"
    assert kinds(found)["tp"] == "no"
    assert kinds(found)["raw_tp"] == "yes"
    assert found["runs"] is True


def of_pins(root: Path) -> tuple[Answer | None, Answer | None]:
    """Whether a place for pins is on a bpffs, and whether pins can be created there."""
    found = {line.id: line.finding.answer for line in ask(files.probes(str(root)), {})}
    return found["files.bpffs"], found["files.pins"]


def test_pins(bpffs: Path, tmp_path: Path) -> None:
    assert of_pins(bpffs) == (Answer.YES, Answer.YES)
    assert not list(bpffs.glob("lskel*"))
    assert of_pins(tmp_path) == (Answer.NO, Answer.UNKNOWN)


def test_no_pins_where_others_write(bpffs: Path) -> None:
    (bpffs / "open").mkdir()
    (bpffs / "open").chmod(0o777)
    assert of_pins(bpffs / "open") == (Answer.YES, Answer.NO)


# -- who may do less -------------------------------------------------------------------------------


def everything_else_is_unknown(found: Report) -> None:
    """Nobody may ask: that is not the same as no."""
    assert found["runs"] is False
    assert answers(found)["permission.maps"] == "no"
    assert answers(found)["loader.table"] == "unknown"
    assert set(kinds(found).values()) == {"unknown"}


def test_as_nobody(here: Report) -> None:
    with nothing_left():
        found = as_nobody(confined)
    everything_else_is_unknown(found)
    (line,) = (x for x in found["sections"]["permission"] if x["id"] == "permission.capabilities")
    assert line["said"] == "has none"
    assert "CAP_BPF" in line["remedy"]


def test_in_a_user_namespace(here: Report) -> None:
    found = in_user_namespace(confined)
    everything_else_is_unknown(found)
    assert answers(found)["permission.user_namespace"] == "no"


def test_without_child_processes(here: Report) -> None:
    """Whether maps can be made is not known then, and nothing is said of seccomp."""

    def alone() -> Report:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        return confined()

    found = as_nobody(alone)
    assert set(kinds(found).values()) == {"unknown"}
    (line,) = (x for x in found["sections"]["permission"] if x["id"] == "permission.maps")
    assert line["answer"] == "unknown"
    assert "cannot create a child process" in line["said"]
    assert "ulimit -u" in line["remedy"]


@pytest.mark.parametrize("action", Action)
def test_under_a_seccomp_filter(action: Action, here: Report) -> None:
    found = without_bpf(action, confined)
    everything_else_is_unknown(found)
    (line,) = (x for x in found["sections"]["permission"] if x["id"] == "permission.maps")
    assert "seccomp" in line["remedy"]


def test_with_the_capabilities_of_a_container(here: Report) -> None:
    """Loaders run; what there is of the network cannot be told."""
    with nothing_left():
        found = with_capabilities((Capability.BPF, Capability.PERFMON), confined)
    assert found["runs"] is True
    assert kinds(found)["raw_tp"] == "yes"
    assert answers(found)["permission.network"] == "unknown"
    assert kinds(found)["xdp"] == "unknown"
    assert kinds(found)["fentry"] == kinds(here)["fentry"]
    assert kinds(found)["uprobe"] == "unknown"  # a perf event of this kind takes CAP_SYS_ADMIN
    assert kinds(found)["uprobe.multi"] == kinds(here)["uprobe.multi"]


def test_with_cap_bpf_alone(here: Report) -> None:
    """The verifier does not know helpers that a process may not use, and so says EINVAL."""
    found = with_capabilities((Capability.BPF,), confined)
    assert found["runs"] is False
    assert answers(found)["permission.maps"] == "yes"
    assert answers(found)["loader.table"] == "unknown"
    (line,) = (x for x in found["sections"]["loader"] if x["id"] == "loader.table")
    assert "CAP_PERFMON" in line["remedy"]
    assert kinds(found)["raw_tp"] == "unknown"


# -- the command -----------------------------------------------------------------------------------


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Permission"
    assert lines[-1].startswith("loaders run here in the table form; ")
    assert any(line.startswith("  ok  bpf_loop") for line in lines)


def test_exit_status_without_permission(here: Report, capfd: pytest.CaptureFixture[str]) -> None:
    assert as_nobody(lambda: main(["doctor"])) == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--kconfig", "CONFIG_HZ=1"],
        ["--pin-root", "/x"],
        ["--replay", "direct"],
        ["-v"],
        ["--log-file", "log"],
    ],
)
def test_options_without_an_object(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *options]) == 2
    assert "these options need an object" in capsys.readouterr().err


def on_terminal(**environment: str) -> str:
    """What is shown on a terminal."""
    ours, theirs = os.openpty()
    env = {**os.environ, "TERM": "xterm", **environment}
    process = subprocess.Popen(COMMAND, stdout=theirs, env=env)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 1 << 16):
            shown += part
    except OSError:
        pass  # so a terminal ends
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_colours() -> None:
    assert "\x1b[32m" in on_terminal()
    assert "\x1b[3" not in on_terminal(NO_COLOR="1")


@pytest.fixture(scope="module")
def duration() -> float:
    """Seconds from the start of the command to its end."""
    begin = time.monotonic()
    subprocess.run(COMMAND, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


@pytest.mark.parametrize("moment", [number / 10 for number in range(2, 10)])
def test_interrupted(moment: float, duration: float) -> None:
    with nothing_left():
        interrupt(COMMAND, moment * duration)


def interrupt(command: Sequence[str], seconds: float) -> None:
    """Ctrl-C, which goes to all processes of the terminal, so long after the start."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    time.sleep(seconds)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    if process.returncode == -signal.SIGINT:
        return  # Python itself was still about to begin
    assert process.returncode in (0, 1, 130)
    assert b"Traceback" not in errors
