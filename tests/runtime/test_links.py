"""Attaching programs to the running kernel; each must run while its link is open, and not after."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lskel.bpf.enums import AttachType, LinkType, MapType, ProgType
from lskel.btf.types import Func, Typedef
from lskel.errors import LskelError, NotFound, UsageError
from lskel.runtime import links
from lskel.runtime.elements import lookup
from lskel.runtime.links import attach, attach_xdp, can_attach
from lskel.runtime.objects import Fd, link_info, obj_get, obj_pin, prog_info
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError
from tests.conftest import Run
from tests.runtime.programs import (
    counts_in,
    create_iterator,
    create_map,
    kernel_btf,
    load_program,
    returns,
    run_program,
    trigger_syscalls,
    writes_to_iterator,
)

XDP_FLAGS_SKB_MODE = 2
XDP_PASS = 2
ENOUGH = 50


class Counter:
    """An array map of one u64, for programs that count."""

    def __init__(self, fd: Fd) -> None:
        self.fd = fd

    def __call__(self) -> int:
        value = lookup(self.fd.fileno(), bytes(4), 8)
        assert value is not None
        return int.from_bytes(value, sys.byteorder)


@pytest.fixture
def counter() -> Iterator[Counter]:
    with create_map(MapType.ARRAY, 4, 8, 1) as fd:
        yield Counter(fd)


def assert_runs_while_open(link: Fd, counter: Counter, trigger: Callable[[], object]) -> None:
    """Closes the link."""
    before = counter()
    trigger()
    assert counter() >= before + ENOUGH
    link.close()
    after = counter()
    trigger()
    assert counter() == after


def make_syscalls() -> None:
    trigger_syscalls(ENOUGH)


def switch_tasks() -> None:
    """Another process must answer each byte, so this one sleeps."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            while data := theirs.recv(1):
                if data == b"." or theirs.send(data) != 1:
                    os._exit(0)
            os._exit(1)
        for _ in range(2 * ENOUGH):
            ours.send(b"x")
            ours.recv(1)
        ours.send(b".")
        os.waitpid(child, 0)


@pytest.mark.kernel
@pytest.mark.parametrize("kind", [ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE])
def test_raw_tracepoint(kind: ProgType, counter: Counter, run: Run) -> None:
    with load_program(kind, counts_in(counter.fd.fileno())) as prog:
        link = attach(prog.fileno(), kind, 0, "sys_enter")
        info = link_info(link.fileno())
        shown = json.loads(run("bpftool", "-j", "link", "show", "id", info.id))
        assert (shown["type"], shown["tp_name"]) == ("raw_tracepoint", "sys_enter")
        assert shown["prog_id"] == prog_info(prog.fileno()).id
        assert_runs_while_open(link, counter, make_syscalls)


@pytest.mark.kernel
def test_a_raw_tracepoint_that_does_not_exist() -> None:
    with (
        load_program(ProgType.RAW_TRACEPOINT, returns(0)) as prog,
        pytest.raises(NotFound, match="no raw tracepoint sys_entre"),
    ):
        attach(prog.fileno(), ProgType.RAW_TRACEPOINT, 0, "sys_entre")


@pytest.mark.kernel
def test_other_refusals_of_raw_tracepoints_are_errors() -> None:
    with (
        load_program(ProgType.SOCKET_FILTER, returns(0)) as prog,
        pytest.raises(BpfError, match=r"RAW_TRACEPOINT_OPEN.*EINVAL"),
    ):
        attach(prog.fileno(), ProgType.RAW_TRACEPOINT, 0, "sys_enter")


@pytest.mark.kernel
def test_tp_btf(counter: Counter) -> None:
    with load_program(
        ProgType.TRACING,
        counts_in(counter.fd.fileno()),
        attach_type=AttachType.TRACE_RAW_TP,
        attach_btf_id=kernel_btf().require("btf_trace_sched_switch", Typedef),
    ) as prog:
        link = attach(prog.fileno(), ProgType.TRACING, AttachType.TRACE_RAW_TP, "sched_switch")
        assert link_info(link.fileno()).name == "sched_switch"
        assert_runs_while_open(link, counter, switch_tasks)


@pytest.fixture
def tracefs(mount: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine has its tracefs; one of the test's own if it has none."""
    for root in map(Path, links.TRACEFS):
        if (root / "events").exists():
            return root
    root = mount("tracefs")
    monkeypatch.setattr(links, "TRACEFS", (links.TRACEFS[0], str(root)))
    return root


@pytest.mark.kernel
def test_tracepoint(counter: Counter, tracefs: Path) -> None:
    with load_program(ProgType.TRACEPOINT, counts_in(counter.fd.fileno())) as prog:
        link = attach(prog.fileno(), ProgType.TRACEPOINT, 0, "syscalls/sys_enter_getppid")
        info = link_info(link.fileno())
        assert info.type == LinkType.PERF_EVENT
        assert info.name in ("sys_enter_getppid", "")  # told from 6.6
        assert_runs_while_open(link, counter, make_syscalls)


@pytest.mark.kernel
def test_tracepoint_before_there_were_links_for_it(
    counter: Counter, tracefs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old_kernel(*_: object) -> Fd:
        raise BpfError(28, 22)

    monkeypatch.setattr(links, "_create", old_kernel)
    with load_program(ProgType.TRACEPOINT, counts_in(counter.fd.fileno())) as prog:
        link = attach(prog.fileno(), ProgType.TRACEPOINT, 0, "syscalls/sys_enter_getppid")
        with pytest.raises(BpfError):
            link_info(link.fileno())
        assert_runs_while_open(link, counter, make_syscalls)


@pytest.mark.kernel
def test_a_tracepoint_that_the_kernel_refuses(tracefs: Path) -> None:
    """The event is closed again: no fd may be left, even while the error is held."""
    with (
        load_program(ProgType.SOCKET_FILTER, returns(0)) as prog,
        pytest.raises(LskelError, match=r"^tracepoint syscalls/sys_enter_getppid: .*EINVAL"),
    ):
        attach(prog.fileno(), ProgType.TRACEPOINT, 0, "syscalls/sys_enter_getppid")


@pytest.mark.kernel
def test_a_tracepoint_that_does_not_exist(tracefs: Path) -> None:
    with pytest.raises(NotFound, match=r"^tracepoint sched/sched_swich: the kernel has no such"):
        attach(-1, ProgType.TRACEPOINT, 0, "sched/sched_swich")


def test_no_tracefs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(links, "TRACEFS", (str(tmp_path / "a"), str(tmp_path / "b")))
    with pytest.raises(LskelError, match=r"not mounted \(mount -t tracefs tracefs .*/a\)"):
        attach(-1, ProgType.TRACEPOINT, 0, "sched/sched_switch")


def test_a_tracefs_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(links, "read_text", refuse)
    with pytest.raises(LskelError, match=r"events/sched/sched_switch/id may not be read"):
        attach(-1, ProgType.TRACEPOINT, 0, "sched/sched_switch")


@pytest.mark.kernel
def test_iterator() -> None:
    with (
        load_program(
            ProgType.TRACING,
            writes_to_iterator(),
            attach_type=AttachType.TRACE_ITER,
            attach_btf_id=kernel_btf().require("bpf_iter_bpf_map", Func),
        ) as prog,
        create_map(MapType.HASH, 4, 4, 1),
        attach(prog.fileno(), ProgType.TRACING, AttachType.TRACE_ITER, "bpf_map") as link,
        create_iterator(link) as iterator,
    ):
        written = os.read(iterator.fileno(), 4096)
    assert len(written) >= 2  # at least our map, and the end
    assert set(written) == {ord("x")}


def run_often(prog: Fd) -> None:
    """BPF_PROG_RUN of an fentry or fexit program calls bpf_fentry_test1 (net/bpf/test_run.c)."""
    for _ in range(ENOUGH):
        run_program(prog)


def send_messages(_prog: Fd) -> None:
    switch_tasks()


TRAMPOLINES = [
    (ProgType.TRACING, AttachType.TRACE_FENTRY, "bpf_fentry_test1", run_often),
    (ProgType.TRACING, AttachType.TRACE_FEXIT, "bpf_fentry_test1", run_often),
    (ProgType.TRACING, AttachType.MODIFY_RETURN, "security_socket_sendmsg", send_messages),
    (ProgType.LSM, AttachType.LSM_MAC, "bpf_lsm_socket_sendmsg", send_messages),
]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("prog_type", "attach_type", "function", "trigger"),
    TRAMPOLINES,
    ids=[row[1].name for row in TRAMPOLINES],
)
def test_trampolines(
    prog_type: ProgType,
    attach_type: AttachType,
    function: str,
    trigger: Callable[[Fd], None],
    counter: Counter,
) -> None:
    target = kernel_btf().find(function, Func)
    if target is None:
        pytest.skip(f"this kernel has no function {function}")
    code = counts_in(counter.fd.fileno())
    try:
        with load_program(prog_type, code, attach_type=attach_type, attach_btf_id=target) as prog:
            link = attach(prog.fileno(), prog_type, attach_type, function)
            assert_runs_while_open(link, counter, lambda: trigger(prog))
    except BpfError as error:
        if error.errno != errno.EPERM:
            raise
        pytest.skip(f"{error}; {why_refused()}")


@pytest.fixture
def interface(run: Run) -> Iterator[str]:
    """A network interface for this test alone."""
    name = f"lskel{os.getpid() % 1000000}"
    run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    yield name
    run("ip", "link", "del", name)


@pytest.mark.kernel
def test_xdp(interface: str, run: Run) -> None:
    index = socket.if_nametoindex(interface)
    with load_program(ProgType.XDP, returns(XDP_PASS)) as prog:
        number = prog_info(prog.fileno()).id
        with attach_xdp(prog.fileno(), index, XDP_FLAGS_SKB_MODE) as link:
            info = link_info(link.fileno())
            assert (info.type, info.prog_id, info.ifindex) == (LinkType.XDP, number, index)
            assert f"id {number} " in run("ip", "link", "show", "dev", interface)
            with pytest.raises(BpfError, match="EBUSY"):
                attach_xdp(prog.fileno(), index, XDP_FLAGS_SKB_MODE)
        assert "xdp" not in run("ip", "link", "show", "dev", interface)


@pytest.mark.kernel
def test_a_pinned_link_outlives_its_fd(counter: Counter, bpffs: Path) -> None:
    pin = bpffs / "link"
    with load_program(ProgType.RAW_TRACEPOINT, counts_in(counter.fd.fileno())) as prog:
        with attach(prog.fileno(), ProgType.RAW_TRACEPOINT, 0, "sys_enter") as link:
            obj_pin(link.fileno(), pin)
        before = counter()
        make_syscalls()
        assert counter() >= before + ENOUGH
        link = obj_get(pin)
        pin.unlink()
        assert_runs_while_open(link, counter, make_syscalls)


YES = [
    (ProgType.RAW_TRACEPOINT, 0, "sched_switch"),
    (ProgType.RAW_TRACEPOINT_WRITABLE, 0, "nbd_send_request"),
    (ProgType.TRACEPOINT, 0, "sched/sched_switch"),
    (ProgType.TRACING, AttachType.TRACE_RAW_TP, "sched_switch"),
    (ProgType.TRACING, AttachType.TRACE_FENTRY, "do_unlinkat"),
    (ProgType.TRACING, AttachType.TRACE_FEXIT, "do_unlinkat"),
    (ProgType.TRACING, AttachType.MODIFY_RETURN, "security_file_open"),
    (ProgType.TRACING, AttachType.TRACE_ITER, "task"),
    (ProgType.LSM, AttachType.LSM_MAC, "file_open"),
]
NO = [
    *((prog_type, attach_type, "") for prog_type, attach_type, _ in YES),
    (ProgType.TRACEPOINT, 0, "sched_switch"),
    (ProgType.TRACEPOINT, 0, "/sched_switch"),
    (ProgType.TRACEPOINT, 0, "sched/"),
    (ProgType.XDP, AttachType.XDP, "eth0"),
    (ProgType.KPROBE, 0, "do_unlinkat"),
    (ProgType.LSM, AttachType.LSM_CGROUP, "socket_post_create"),
    (ProgType.SYSCALL, 0, "x"),
]


@pytest.mark.parametrize(("prog_type", "attach_type", "target"), YES)
def test_kinds_that_attach_by_themselves(prog_type: int, attach_type: int, target: str) -> None:
    assert can_attach(prog_type, attach_type, target)


@pytest.mark.parametrize(("prog_type", "attach_type", "target"), NO)
def test_kinds_that_do_not(prog_type: int, attach_type: int, target: str) -> None:
    assert not can_attach(prog_type, attach_type, target)
    with pytest.raises(UsageError, match="does not attach by itself"):
        attach(-1, prog_type, attach_type, target)
