"""What stays attached when the process is killed is what docs/attach.md says."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lskel.bpf.enums import ProgType
from lskel.runtime import holders
from lskel.runtime.attach.clsact import ClsactFilter, Direction, Filter, attach_clsact, filters
from lskel.runtime.attach.netlink import Rtnetlink
from lskel.runtime.attach.xdp import attach_xdp
from lskel.runtime.info import prog_info
from lskel.runtime.objects import ObjectKind, ids, obj_get, obj_pin
from tests.attach.table import KILLED
from tests.runtime.namespaces import command, network_namespace
from tests.runtime.programs import load_program, returns

pytestmark = pytest.mark.kernel

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "attach.md"


def test_documented() -> None:
    text = DOCUMENT.read_text()
    assert all(f"| {attached} | {what} |" in text for attached, what in KILLED)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with network_namespace():
        yield


def killed_after(attach: Callable[[int], object], prog_type: ProgType) -> int:
    """Have a process attach a program, and kill it; the program's id."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            program = load_program(prog_type, returns(0))
            held = attach(program.fileno())
            os.write(write, str(prog_info(program.fileno()).id).encode())
            signal.pause()
            del held
        finally:
            os._exit(1)
    os.close(write)
    number = os.read(read, 16)
    os.close(read)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return int(number)


def goes(program: int) -> bool:
    """Whether the kernel frees a program; it takes its time."""
    deadline = time.monotonic() + 60
    while program in ids(ObjectKind.PROG):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_link_is_detached() -> None:
    def attach(program: int) -> object:
        return attach_xdp(program, "lo")

    program = killed_after(attach, ProgType.XDP)
    assert goes(program)
    assert "xdp" not in command("ip", "link", "show", "lo")


def test_a_pinned_link_stays(bpffs: Path) -> None:
    def attach(program: int) -> None:
        with attach_xdp(program, "lo") as link:
            obj_pin(link.fileno(), bpffs / "link")

    program = killed_after(attach, ProgType.XDP)
    assert f"id {program}" in command("ip", "link", "show", "lo")
    obj_get(bpffs / "link").close()
    (bpffs / "link").unlink()
    assert goes(program)


def test_a_filter_of_clsact_stays_until_the_qdisc_goes() -> None:
    def attach(program: int) -> object:
        return attach_clsact(program, "lo", Direction.INGRESS)

    program = killed_after(attach, ProgType.SCHED_CLS)
    assert f"id {program}" in command("tc", "filter", "show", "dev", "lo", "ingress")
    command("tc", "qdisc", "del", "dev", "lo", "clsact")
    assert goes(program)


def ingress() -> list[Filter]:
    with Rtnetlink() as netlink:
        index = socket.if_nametoindex("lo")
        return [one for one in filters(netlink, index, Direction.INGRESS) if one.program]


def attach_named(program: int, priority: int = 0, name: str = "mine") -> ClsactFilter:
    return attach_clsact(program, "lo", Direction.INGRESS, priority=priority, name=name)


@pytest.mark.parametrize("priority", [0, 7])
def test_a_filter_of_clsact_is_replaced_on_the_next_start(priority: int) -> None:
    old = killed_after(lambda program: attach_named(program, 7), ProgType.SCHED_CLS)
    (left,) = ingress()
    assert (left.program, left.priority, left.name) == (old, 7, "mine")
    with load_program(ProgType.SCHED_CLS, returns(0)) as program:
        new = prog_info(program.fileno()).id
        with attach_named(program.fileno(), priority) as link:
            assert ingress() == [left._replace(program=new)]
            assert (link.priority, link.handle) == (left.priority, left.handle)
            assert goes(old)
        assert ingress() == []


def test_all_filters_that_were_left_are_replaced() -> None:
    def attach(program: int) -> object:
        return attach_named(program, 5), attach_named(program, 3), attach_named(program, 4, "other")

    killed_after(attach, ProgType.SCHED_CLS)
    first, other, last = ingress()
    assert [one.priority for one in (first, other, last)] == [3, 4, 5]
    with load_program(ProgType.SCHED_CLS, returns(0)) as program:
        new = prog_info(program.fileno()).id
        with attach_named(program.fileno()):
            assert ingress() == [first._replace(program=new), other]


def test_filters_of_others_are_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another name or priority, of a process that runs, or if that is not known."""
    killed_after(lambda program: attach_named(program, 5), ProgType.SCHED_CLS)
    left = ingress()
    with (
        load_program(ProgType.SCHED_CLS, returns(0)) as program,
        load_program(ProgType.SCHED_CLS, returns(0)) as closed,
    ):
        for arguments in ((0, "other"), (6, "mine")):
            with attach_named(program.fileno(), *arguments):
                assert [one for one in ingress() if one in left] == left
                assert len(ingress()) == 2
        with attach_named(closed.fileno(), 4, "running"):
            closed.close()  # the filter is not abandoned for that
            with attach_named(program.fileno(), 0, "running"):
                assert len(ingress()) == 3
        monkeypatch.setattr(holders, "held_programs", lambda: None)
        with attach_named(program.fileno()):
            assert len(ingress()) == 2


def test_filters_that_another_process_removes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that start at once find the same ones: the second removes what is not there any more."""

    def attach(program: int) -> object:
        return attach_named(program, 3), attach_named(program, 5)

    killed_after(attach, ProgType.SCHED_CLS)
    held = holders.held_programs()

    def removed() -> frozenset[int] | None:
        command("tc", "filter", "del", "dev", "lo", "ingress", "prio", "5")
        return held

    monkeypatch.setattr(holders, "held_programs", removed)
    with load_program(ProgType.SCHED_CLS, returns(0)) as program:
        with attach_named(program.fileno()) as link:
            assert [one.priority for one in ingress()] == [link.priority] == [3]
        assert ingress() == []


def test_a_number_that_another_file_has_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process closes a program and opens a file, while its fds are read."""
    with load_program(ProgType.SCHED_CLS, returns(0)) as program:
        number = prog_info(program.fileno()).id
        monkeypatch.setattr(holders, "_fields", lambda path: {"pos": "0", "flags": "02"})
        assert holders._held("/proc/self") == set()
        monkeypatch.undo()
        assert number in holders._held("/proc/self")


def test_processes_that_cannot_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of which this may be another instance count."""

    def refused(directory: str) -> set[int]:
        raise PermissionError(errno.EACCES, directory)

    monkeypatch.setattr(holders, "_held", refused)
    assert holders.held_programs() is None  # it is among them
    mine = holders._capabilities("/proc/self")
    monkeypatch.setattr(holders, "_capabilities", lambda d: mine if d == "/proc/self" else 0)
    assert holders.held_programs() == frozenset()
    monkeypatch.setattr(
        holders, "_capabilities", lambda d: 3 << 12 if d != "/proc/self" else 1 << 12
    )
    assert holders.held_programs() == frozenset()


def test_programs_of_a_process_that_runs() -> None:
    read, write = os.pipe()
    with load_program(ProgType.SCHED_CLS, returns(0)) as program:
        number = prog_info(program.fileno()).id
        child = os.fork()
        if child == 0:
            os.read(read, 1)
            os._exit(0)
    try:
        held = holders.held_programs()
        assert held is not None
        assert number in held
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)
    held = holders.held_programs()
    assert held is not None
    assert number not in held
