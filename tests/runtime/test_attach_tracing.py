"""Attaching programs to the running kernel; each must run while its link is open, and not after."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lskel.bpf.enums import AttachType, LinkType, MapType, ProgType
from lskel.btf.types import Func, Typedef
from lskel.errors import LskelError, NotFound, NotSupported, UsageError
from lskel.runtime.attach import perf_link
from lskel.runtime.attach import tracefs as tracefs_module
from lskel.runtime.attach.functions import matching_functions, syscall_function
from lskel.runtime.attach.iterator import (
    CgroupOrder,
    IteratorProgram,
    iterator_fd,
    read_iterator,
)
from lskel.runtime.attach.kinds import program_class
from lskel.runtime.attach.kprobe import attach_kprobe, attach_kprobe_multi
from lskel.runtime.attach.link import BpfLink
from lskel.runtime.attach.perf_event import PerfType, SoftwareEvent, attach_perf_events
from lskel.runtime.attach.raw_tracepoint import attach_raw_tracepoint
from lskel.runtime.attach.tracepoint import attach_tracepoint
from lskel.runtime.attach.tracing import attach_tracing
from lskel.runtime.cpus import online_cpus
from lskel.runtime.info import link_info, prog_info
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.objects import Fd
from lskel.runtime.one_element import lookup, update
from lskel.runtime.permissions import why_refused
from lskel.runtime.program import ProgramDefinition
from lskel.runtime.syscall import BpfError, KernelError
from tests.conftest import Run
from tests.runtime.namespaces import cgroup
from tests.runtime.programs import (
    counts_in,
    create_map,
    kernel_btf,
    load_program,
    returns,
    run_program,
    trigger_syscalls,
    writes_to_iterator,
)

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
        link = attach_raw_tracepoint(prog.fileno(), "sys_enter")
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
        attach_raw_tracepoint(prog.fileno(), "sys_entre")


@pytest.mark.kernel
def test_other_refusals_of_raw_tracepoints_are_errors() -> None:
    with (
        load_program(ProgType.SOCKET_FILTER, returns(0)) as prog,
        pytest.raises(BpfError, match=r"RAW_TRACEPOINT_OPEN.*EINVAL"),
    ):
        attach_raw_tracepoint(prog.fileno(), "sys_enter")


@pytest.mark.kernel
def test_tp_btf(counter: Counter) -> None:
    with load_program(
        ProgType.TRACING,
        counts_in(counter.fd.fileno()),
        attach_type=AttachType.TRACE_RAW_TP,
        attach_btf_id=kernel_btf().require("btf_trace_sched_switch", Typedef),
    ) as prog:
        link = attach_tracing(prog.fileno(), AttachType.TRACE_RAW_TP)
        assert link.info().details["tp_name"] == "sched_switch"
        assert_runs_while_open(link, counter, switch_tasks)


@pytest.fixture
def tracefs(mount: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine has its tracefs; one of the test's own if it has none."""
    for root in map(Path, tracefs_module.ROOTS):
        if (root / "events").exists():
            return root
    root = mount("tracefs")
    monkeypatch.setattr(tracefs_module, "ROOTS", (tracefs_module.ROOTS[0], str(root)))
    return root


@pytest.mark.kernel
def test_tracepoint(counter: Counter, tracefs: Path) -> None:
    with load_program(ProgType.TRACEPOINT, counts_in(counter.fd.fileno())) as prog:
        link = attach_tracepoint(prog.fileno(), "syscalls/sys_enter_getppid")
        info = link_info(link.fileno())
        assert info.type == LinkType.PERF_EVENT
        # Since Linux 6.6.
        assert info.details.get("tp_name", "sys_enter_getppid") == "sys_enter_getppid"
        assert_runs_while_open(link, counter, make_syscalls)


@pytest.mark.kernel
def test_tracepoint_before_there_were_links_for_it(
    counter: Counter, tracefs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old_kernel(*_: object, **__: object) -> Fd:
        raise BpfError(28, 22)

    monkeypatch.setattr(perf_link, "link_create", old_kernel)
    with load_program(ProgType.TRACEPOINT, counts_in(counter.fd.fileno())) as prog:
        link = attach_tracepoint(prog.fileno(), "syscalls/sys_enter_getppid")
        for use in (link.info, lambda: link.pin("/none"), lambda: link.update(prog)):
            with pytest.raises(NotSupported, match="not one link of bpf"):
                use()
        assert_runs_while_open(link, counter, make_syscalls)


@pytest.mark.kernel
def test_a_tracepoint_that_the_kernel_refuses(tracefs: Path) -> None:
    """The event is closed again: no fd may be left, even while the error is held."""
    with (
        load_program(ProgType.SOCKET_FILTER, returns(0)) as prog,
        pytest.raises(LskelError, match=r"^tracepoint syscalls/sys_enter_getppid: .*EINVAL"),
    ):
        attach_tracepoint(prog.fileno(), "syscalls/sys_enter_getppid")


@pytest.mark.kernel
def test_a_tracepoint_that_does_not_exist(tracefs: Path) -> None:
    with pytest.raises(NotFound, match=r"^tracepoint sched/sched_swich: the kernel has no such"):
        attach_tracepoint(-1, "sched/sched_swich")


def test_no_tracefs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tracefs_module, "ROOTS", (str(tmp_path / "a"), str(tmp_path / "b")))
    with pytest.raises(LskelError, match=r"not mounted \(mount -t tracefs tracefs .*/a\)"):
        attach_tracepoint(-1, "sched/sched_switch")


def test_a_tracefs_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise KernelError(f"open({path})", errno.EACCES)

    monkeypatch.setattr(tracefs_module, "read_text", refuse)
    with pytest.raises(LskelError, match=r"sched_switch/id\): EACCES: .*only root may"):
        attach_tracepoint(-1, "sched/sched_switch")


@contextlib.contextmanager
def iterator(target: str) -> Iterator[IteratorProgram]:
    """A program that writes an "x" for each object and one at the end."""
    with load_program(
        ProgType.TRACING,
        writes_to_iterator(),
        attach_type=AttachType.TRACE_ITER,
        attach_btf_id=kernel_btf().require(f"bpf_iter_{target}", Func),
    ) as fd:
        program = IteratorProgram(
            ProgramDefinition("walk", "iter", target, ProgType.TRACING, AttachType.TRACE_ITER)
        )
        program.bind(fd, lambda *_: None)
        yield program


@pytest.mark.kernel
def test_iterator() -> None:
    with iterator("bpf_map") as program, create_map(MapType.HASH, 4, 4, 1):
        with program.attach() as link:
            written = read_iterator(link.fileno())
            with iterator_fd(link.fileno()) as walk:
                assert os.read(walk.fileno(), 4096) == written
        assert program.attaches_itself()
        assert program.read() == written
    assert len(written) >= 2  # at least our map, and the end
    assert set(written) == {ord("x")}


@pytest.mark.kernel
def test_iterator_of_a_map() -> None:
    definition = MapDefinition("sizes", MapType.HASH, 4, 4, 8)
    with iterator("bpf_map_elem") as program, create_map(MapType.HASH, 4, 4, 8) as fd:
        for key in range(3):
            update(fd.fileno(), key.to_bytes(4, sys.byteorder), bytes(4))
        sizes = Map(definition)
        sizes.bind(fd)
        assert not program.attaches_itself()
        assert program.read(sizes) == b"xxxx"
        with pytest.raises(BpfError, match=r"EBADF.*this iterator needs a map: attach\(map\)"):
            program.read()


@pytest.mark.kernel
def test_iterator_of_cgroups() -> None:
    with cgroup() as group, iterator("cgroup") as program:
        (group / "inner").mkdir()
        try:
            assert program.read(cgroup=group, order=CgroupOrder.SELF_ONLY) == b"xx"
            assert program.read(cgroup=group) == b"xxx"
            with Fd(os.open(group, os.O_RDONLY)) as fd:
                assert program.read(cgroup=fd.fileno()) == b"xxx"
            levels = len(program.read(cgroup=group, order=CgroupOrder.ANCESTORS_UP))
            assert levels > 2
            assert len(program.read()) >= levels + 1  # from the root on
        finally:
            (group / "inner").rmdir()
        with pytest.raises(NotFound, match="no cgroup"):
            program.read(cgroup=group / "inner")


@pytest.mark.kernel
def test_iterator_of_tasks() -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    with iterator("task") as program:
        other.start()
        try:
            assert program.read(tid=threading.get_native_id()) == b"xx"
            tasks = len(list(Path("/proc/self/task").iterdir()))
            assert program.read(pid=os.getpid()) == b"x" * (tasks + 1)
            assert len(program.read()) > tasks + 1
        finally:
            done.set()
            other.join()
        with pytest.raises(UsageError, match="one of 'map', 'cgroup', 'tid' and 'pid'"):
            program.attach(tid=1, pid=1)


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
            link = attach_tracing(prog.fileno(), attach_type)
            assert_runs_while_open(link, counter, lambda: trigger(prog))
    except BpfError as error:
        if error.errno != errno.EPERM:
            raise
        pytest.skip(f"{error}; {why_refused()}")


@pytest.mark.kernel
def test_a_pinned_link_outlives_its_fd(counter: Counter, bpffs: Path) -> None:
    pin = bpffs / "link"
    with load_program(ProgType.RAW_TRACEPOINT, counts_in(counter.fd.fileno())) as prog:
        with attach_raw_tracepoint(prog.fileno(), "sys_enter") as link:
            link.pin(pin)
        before = counter()
        make_syscalls()
        assert counter() >= before + ENOUGH
        link = BpfLink.open(pin)
        pin.unlink()
        assert_runs_while_open(link, counter, make_syscalls)


def unloaded(kind: str, target: str, prog_type: ProgType, attach_type: int = 0) -> Any:
    definition = ProgramDefinition("p", kind, target, prog_type, attach_type)
    return program_class(kind, prog_type, attach_type)(definition)


MULTI = AttachType.TRACE_KPROBE_MULTI
ITSELF = [
    ("raw_tp", "sched_switch", ProgType.RAW_TRACEPOINT, 0, True),
    ("raw_tp", "", ProgType.RAW_TRACEPOINT, 0, False),
    ("tp", "sched/sched_switch", ProgType.TRACEPOINT, 0, True),
    ("tp", "sched_switch", ProgType.TRACEPOINT, 0, False),
    ("tp", "/sched_switch", ProgType.TRACEPOINT, 0, False),
    ("tp", "sched/", ProgType.TRACEPOINT, 0, False),
    ("fentry", "", ProgType.TRACING, AttachType.TRACE_FENTRY, True),
    ("freplace", "", ProgType.EXT, 0, True),
    ("kprobe", "do_unlinkat", ProgType.KPROBE, 0, True),
    ("kprobe", "", ProgType.KPROBE, 0, False),
    ("kprobe.multi", "tcp_*", ProgType.KPROBE, MULTI, True),
    ("kprobe.multi", "", ProgType.KPROBE, MULTI, False),
    ("iter", "task", ProgType.TRACING, AttachType.TRACE_ITER, True),
    ("iter", "bpf_map_elem", ProgType.TRACING, AttachType.TRACE_ITER, False),
    ("perf_event", "", ProgType.PERF_EVENT, 0, False),
]


@pytest.mark.parametrize(("kind", "target", "prog_type", "attach_type", "expected"), ITSELF)
def test_which_attach_by_themselves(
    kind: str, target: str, prog_type: ProgType, attach_type: int, expected: bool
) -> None:
    assert unloaded(kind, target, prog_type, attach_type).attaches_itself() == expected


@pytest.mark.parametrize(
    ("kind", "prog_type", "attach_type", "said"),
    [
        (
            "raw_tp",
            ProgType.RAW_TRACEPOINT,
            0,
            r"'p' has no attach target: expected a tracepoint .*raw_tp/sched_sw",
        ),
        (
            "tp",
            ProgType.TRACEPOINT,
            0,
            r"'p' has no attach target: expected a tracepoint .*tp/sched/sched_switch",
        ),
        (
            "kprobe",
            ProgType.KPROBE,
            0,
            r"'p' has no attach target: expected a function .*kprobe/do_unlinkat",
        ),
        (
            "kprobe.multi",
            ProgType.KPROBE,
            MULTI,
            r"'p' has no attach target: expected functions .*kprobe.multi/tcp",
        ),
    ],
)
def test_a_target_is_needed(kind: str, prog_type: ProgType, attach_type: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        unloaded(kind, "", prog_type, attach_type).attach()


def test_places_in_functions() -> None:
    with pytest.raises(UsageError, match="'x1' is not an offset in a function"):
        unloaded("kprobe", "do_unlinkat+x1", ProgType.KPROBE).attach()
    with pytest.raises(UsageError, match="return probe takes no offset"):
        attach_kprobe(-1, "do_unlinkat", 4, returns=True)


def test_cookies_are_for_each_function() -> None:
    with pytest.raises(UsageError, match="1 cookies for 2 functions"):
        attach_kprobe_multi(-1, ["a", "b"], cookies=[1])
    with pytest.raises(UsageError, match="not a pattern"):
        attach_kprobe_multi(-1, "a*", cookies=[1])


LISTED = """\
tcp_connect
tcp_close
udp.close
tcp_close
_tcp_x [some_module]
__ftrace_invalid_address___64
"""


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("tcp_*", ["tcp_connect", "tcp_close"]),
        ("*close", ["tcp_close", "udp.close"]),
        ("udp?close", ["udp.close"]),
        ("udp.close", ["udp.close"]),
        ("*_x", ["_tcp_x"]),
    ],
)
def test_patterns(
    pattern: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "available_filter_functions").write_text(LISTED)
    monkeypatch.setattr(tracefs_module, "ROOTS", (str(tmp_path),))
    assert matching_functions(pattern) == expected


def test_a_pattern_that_nothing_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "available_filter_functions").write_text(LISTED)
    monkeypatch.setattr(tracefs_module, "ROOTS", (str(tmp_path),))
    with pytest.raises(NotFound, match=r"no kernel function matches 'tcp\.c\*'"):
        matching_functions("tcp.c*")


@pytest.mark.kernel
def test_functions_without_tracefs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tracefs_module, "ROOTS", (str(tmp_path),))
    assert matching_functions("security_task_getsi?") == ["security_task_getsid"]


@pytest.mark.kernel
def test_functions_of_system_calls() -> None:
    assert syscall_function("getsid").endswith("_sys_getsid")
    with pytest.raises(NotFound, match="no system call 'getsids'"):
        syscall_function("getsids")


def test_perf_events_need_one_of_period_and_frequency() -> None:
    for both in (0, 1):
        with pytest.raises(UsageError, match="either a period or a frequency"):
            attach_perf_events(-1, PerfType.SOFTWARE, 0, period=both, frequency=both)


@pytest.mark.kernel
def test_perf_events_of_cpus(counter: Counter) -> None:
    cpus = online_cpus()
    with load_program(ProgType.PERF_EVENT, counts_in(counter.fd.fileno())) as prog:
        made = unloaded("perf_event", "", ProgType.PERF_EVENT)
        made.bind(prog, lambda *_: None)
        event = (PerfType.SOFTWARE, SoftwareEvent.CONTEXT_SWITCHES)
        with made.attach(*event, period=1) as links:
            assert len(links.links) == len(cpus)
            switch_tasks()
            assert counter() >= ENOUGH
            assert not links.closed
        assert links.closed
        with made.attach(*event, period=1, cpus=cpus[:1]) as links:
            assert len(links.links) == 1
        no_cpu = (*cpus[:1], cpus[-1] + 1000)
        with pytest.raises(KernelError, match=r"perf_event_open: .*no such event or CPU"):
            made.attach(*event, period=1, cpus=no_cpu)
        with pytest.raises(KernelError, match=r"ENOENT.*this machine has no such event"):
            made.attach(1000, 0, period=1)
