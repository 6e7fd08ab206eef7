"""Programs of kernel tracing: tracepoints, functions, LSM hooks, perf events, iterators."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lskel.runtime.attach.iterator import IteratorProgram, read_iterator
from lskel.runtime.attach.perf_event import PerfEventProgram, PerfType, SoftwareEvent
from lskel.runtime.attach.probe import KprobeMultiProgram, KprobeProgram
from lskel.runtime.attach.raw_tracepoint import RawTracepointProgram
from lskel.runtime.attach.tracepoint import TracepointProgram
from lskel.runtime.attach.tracing import TracingProgram
from lskel.runtime.attach.tracing_multi import TracingMultiProgram
from lskel.runtime.collection import Collection
from lskel.runtime.program import Program
from tests.attach.cases.case import Case, Lack, Version
from tests.attach.scenes import Scene, Setting
from tests.attach.tracefs import mounted_tracefs

if TYPE_CHECKING:
    from lskel.runtime.attach.link import BpfLink, Link

COOKIE = 0xC00C1E
FUNCTION = "security_task_getsid"

# Kernels that are locked down do not load programs of functions and LSM hooks.
_LOCKED_DOWN = "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY"
_NO_KPROBES = Lack("CONFIG_KPROBE_EVENTS is off", option="CONFIG_KPROBE_EVENTS")
_NO_EVENTS = Lack("the kernel has no kprobe events", option="CONFIG_KPROBE_EVENTS")
_NO_MULTI = Lack("(the kernel lacks CONFIG_FPROBE)", option="CONFIG_FPROBE")
_NO_SESSIONS = Lack("bpf(BPF_LINK_CREATE): E", (6, 10), "CONFIG_FPROBE")


def getsid() -> None:
    """The number is of this process, as the kernel has it: LSM hooks are not called for 0."""
    os.getsid(os.getpid())


def page_faults() -> None:
    with mmap.mmap(-1, 16 * mmap.PAGESIZE) as memory:
        for page in range(16):
            memory[page * mmap.PAGESIZE] = 1


def _attach_itself(program: Program) -> Link:
    assert program.attaches_itself()
    return program.attach()


def _on(event: Callable[[], object], attach: Callable[[Any], Link]) -> Setting:
    @contextlib.contextmanager
    def setting(_: Collection) -> Iterator[Scene]:
        with mounted_tracefs():
            yield Scene(attach, event)

    return setting


@contextlib.contextmanager
def _reading(_: Collection) -> Iterator[Scene]:
    """Someone reads from the link, as long as there is one."""
    links: list[BpfLink] = []

    def attach(program: IteratorProgram) -> BpfLink:
        links.append(program.attach(tid=threading.get_native_id()))
        return links[-1]

    def event() -> None:
        for link in links:
            if not link.closed:
                read_iterator(link.fileno())

    yield Scene(attach, event)


def _case(
    name: str,
    program: str,
    kind: type[Program],
    attach: Callable[[Any], Link] = _attach_itself,
    lack: Lack | None = None,
) -> Case:
    return Case(name, "tracing", program, kind, _on(getsid, attach), lack=lack)


def _cookie_of_tracepoint(name: str, program: str, kind: type[Program]) -> Case:
    lack = Lack(f"BPF_PROG_LOAD of program '{program}': EINVAL", (6, 10))
    return _case(name, program, kind, _with_cookie, lack)


def _by_trampoline(name: str, program: str, attach: Callable[[Any], Link] = _attach_itself) -> Case:
    lack = Lack(f"BPF_PROG_LOAD of program '{program}': EPERM", without=_LOCKED_DOWN)
    return _case(name, program, TracingProgram, attach, lack)


def _by_trampolines(
    name: str, program: str, attach: Callable[[Any], Link] = _attach_itself
) -> Case:
    lack = Lack(f"BPF_PROG_LOAD of program '{program}': E", (7, 2), without=_LOCKED_DOWN)
    return _case(name, program, TracingMultiProgram, attach, lack)


def _in_session(
    name: str, program: str, kind: type[Program] = TracingProgram, since: Version = (7, 0)
) -> Case:
    """Kernels without such programs lack the kfuncs, or have them without arguments."""
    lack = Lack("bpf_session_", since, without=_LOCKED_DOWN)
    return Case(name, "session", program, kind, _on(getsid, _attach_itself), lack=lack)


def _sleepable(
    name: str, program: str, kind: type[Program], unchecked_before: Version = (0, 0)
) -> Case:
    said = f"BPF_PROG_LOAD of program '{program}': EINVAL"
    lack = Lack(said, (7, 2), unchecked_before=unchecked_before)
    return _case(name, program, kind, _attach_itself, lack)


def _kprobe(
    name: str,
    program: str,
    attach: Callable[[Any], Link] = _attach_itself,
    lack: Lack = _NO_KPROBES,
) -> Case:
    return _case(name, program, KprobeProgram, attach, lack)


def _kprobe_in_user_space(name: str, kind: str) -> Case:
    def attach(program: KprobeProgram) -> Link:
        return program.attach_as(f"{kind}/libc.so.6:getloadavg")

    return Case(name, "tracing", "on_kprobe", KprobeProgram, _on(os.getloadavg, attach))


def _multi(
    name: str,
    program: str,
    attach: Callable[[Any], Link] = _attach_itself,
    lack: Lack = _NO_MULTI,
) -> Case:
    return _case(name, program, KprobeMultiProgram, attach, lack)


def _perf(name: str, program: str, *, period: int = 0, frequency: int = 0, cookie: int = 0) -> Case:
    def attach(made: PerfEventProgram) -> Link:
        event = SoftwareEvent.PAGE_FAULTS
        return made.attach(
            PerfType.SOFTWARE, event, period=period, frequency=frequency, pid=0, cookie=cookie
        )

    setting = _on(page_faults, attach)
    return Case(name, "tracing", program, PerfEventProgram, setting, linked_since=None)


def _with_cookie(program: Any) -> Link:
    link: Link = program.attach(cookie=COOKIE)
    return link


CASES: tuple[Case, ...] = (
    _case("raw_tp", "on_raw_tp", RawTracepointProgram),
    _case("raw_tp (given)", "on_any_raw_tp", RawTracepointProgram, lambda p: p.attach("sys_enter")),
    _case("raw_tp.w", "on_writable", RawTracepointProgram),
    _cookie_of_tracepoint("raw_tp (cookie)", "raw_tp_cookie", RawTracepointProgram),
    _case("tp_btf", "on_tp_btf", TracingProgram),
    _cookie_of_tracepoint("tp_btf (cookie)", "tp_btf_cookie", TracingProgram),
    _case("tp", "on_tp", TracepointProgram),
    _case("tp (cookie)", "tp_cookie", TracepointProgram, _with_cookie),
    _sleepable("raw_tp.s", "on_raw_tp_s", RawTracepointProgram),
    # 6.1 takes any sleepable tracing program; 6.12 looks at its attach type (can_be_sleepable).
    _sleepable("tp_btf.s", "on_tp_btf_s", TracingProgram, unchecked_before=(6, 12)),
    _sleepable("tp.s", "on_tp_s", TracepointProgram),
    _by_trampoline("fentry", "on_fentry"),
    _by_trampoline("fentry (cookie)", "fentry_cookie", _with_cookie),
    _by_trampoline("fexit", "on_fexit"),
    _by_trampoline("fmod_ret", "on_fmod_ret"),
    _in_session("fsession", "on_fsession"),
    _in_session("fsession.s", "on_fsession_s"),
    _by_trampolines("fentry.multi", "on_fentry_multi"),
    _by_trampolines("fentry.multi.s", "on_fentry_multi_s"),
    _by_trampolines(
        "fentry.multi (given)",
        "on_fentry_multi_given",
        lambda p: p.attach(["security_task_getpgid", FUNCTION]),
    ),
    _by_trampolines(
        "fentry.multi (cookies)",
        "fentry_multi_cookie",
        lambda p: p.attach([FUNCTION, "security_task_getpgid"], cookies=[COOKIE, 1]),
    ),
    _by_trampolines("fexit.multi", "on_fexit_multi"),
    _by_trampolines("fexit.multi.s", "on_fexit_multi_s"),
    _in_session("fsession.multi", "on_fsession_multi", TracingMultiProgram, (7, 2)),
    _in_session("fsession.multi.s", "on_fsession_multi_s", TracingMultiProgram, (7, 2)),
    _by_trampoline("lsm", "on_lsm"),
    _by_trampoline("lsm (cookie)", "lsm_cookie", _with_cookie),
    _kprobe("kprobe", "on_kprobe"),
    _kprobe("kprobe (cookie)", "kprobe_cookie", lambda p: p.attach(FUNCTION, cookie=COOKIE)),
    _kprobe("kprobe as kretprobe", "on_kprobe", lambda p: p.attach_kprobe(FUNCTION, returns=True)),
    _kprobe("kprobe as ksyscall", "on_kprobe", lambda p: p.attach_as("ksyscall/getsid")),
    _kprobe_in_user_space("kprobe as uprobe", "uprobe"),
    _kprobe_in_user_space("kprobe as uretprobe", "uretprobe"),
    _kprobe("kretprobe", "on_kretprobe"),
    _kprobe("kretprobe (maxactive)", "on_kretprobe", lambda p: p.attach(maxactive=100), _NO_EVENTS),
    _kprobe("ksyscall", "on_ksyscall"),
    _kprobe("kretsyscall", "on_kretsyscall"),
    _multi("kprobe.multi", "on_kprobe_multi"),
    _multi(
        "kprobe.multi (cookies)",
        "kprobe_multi_cookie",
        lambda p: p.attach([FUNCTION, "security_task_getpgid"], cookies=[COOKIE, 1]),
    ),
    _multi("kretprobe.multi", "on_kretprobe_multi"),
    _multi("kprobe.session", "on_session", lack=_NO_SESSIONS),
    _perf("perf_event", "on_perf_event", period=1),
    _perf("perf_event (frequency)", "on_perf_event", frequency=1000),
    _perf("perf_event (cookie)", "perf_event_cookie", period=1, cookie=COOKIE),
    Case("iter", "tracing", "on_task", IteratorProgram, _reading),
)
