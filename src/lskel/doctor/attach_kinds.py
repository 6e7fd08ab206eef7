"""The attach kinds to test: a section name, and how its program attaches to a sandbox target.

Each attaches as a skeleton or `lskel run` does. The names are those of docs/attach.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lskel.bpf.enums import AttachType, MapType
from lskel.catalog.attach_kinds import BY_NAME, CLSACT
from lskel.doctor import bpf_objects
from lskel.doctor.finding import NETWORK_RIGHTS, TRACING_RIGHTS, kernel_with
from lskel.doctor.sandbox import make_pair
from lskel.object.sections import parse_section
from lskel.runtime.attach.clsact import Direction
from lskel.runtime.attach.netfilter import NetfilterFamily, NetfilterHook
from lskel.runtime.attach.perf_event import PerfType, SoftwareEvent
from lskel.runtime.attach.sockmap import attach_sockmap
from lskel.runtime.attach.tc import TcWay
from lskel.runtime.attach.uprobe import attach_uprobe
from lskel.runtime.attach.usdt import UsdtLink
from lskel.runtime.permissions import Capability

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link


class Sandbox(NamedTuple):
    """Harmless attach targets; empty if none.

    `file` is a file that no process runs, `cgroup` a cgroup without processes.
    """

    file: str = ""
    cgroup: str = ""


class SandboxKind(Enum):
    """The sandbox that a kind needs: none (or a file), a network namespace, a cgroup."""

    HERE = "here"
    NETWORK = "network"
    CGROUP = "cgroup"


class AttachKind(NamedTuple):
    """How to attach a program of `section`, which returns `result`.

    `since`: the first Linux release with it, if later than the kind itself; `config`: the kernel
    config it needs, if different from the kind's row.
    """

    name: str
    group: str
    section: str
    attach: Callable[[Any, Sandbox], Link]
    since: tuple[int, int] = (0, 0)
    config: str = ""
    where: SandboxKind = SandboxKind.HERE
    result: int = 0
    rights: tuple[Capability, ...] = TRACING_RIGHTS

    @property
    def takes(self) -> str:
        """The kernel release and config it needs."""
        row = BY_NAME[parse_section(self.section).kind]
        return kernel_with(max(row.since, self.since), self.config or row.config)


# Rare events: the kernel's own tests of BPF programs (net/bpf/test_run.c), and changing the root
# directory.
_TRACEPOINT = "bpf_test_finish"
_EVENT = "bpf_test_run/bpf_test_finish"
_FUNCTION = "bpf_fentry_test1"
_MODIFIED = "security_sb_pivotroot"
_HOOK = "sb_pivotroot"
_SYSCALL = "pivot_root"

_COOKIE = 1
# A sample period that is never reached.
_NEVER = 1 << 60


def _by_itself(program: Any, _: Sandbox) -> Link:
    link: Link = program.attach()
    return link


def _with_cookie(program: Any, _: Sandbox) -> Link:
    link: Link = program.attach(cookie=_COOKIE)
    return link


def _functions_with_cookies(program: Any, _: Sandbox) -> Link:
    link: Link = program.attach([_FUNCTION], cookies=[_COOKIE])
    return link


def _tracing(
    name: str,
    section: str,
    attach: Callable[[Any, Sandbox], Link] = _by_itself,
    since: tuple[int, int] = (0, 0),
) -> AttachKind:
    return AttachKind(name, "tracing", section, attach, since)


# The first releases with cookies: perf events, trampolines, raw tracepoints.
_PERF_COOKIES, _TRAMPOLINE_COOKIES, _RAW_COOKIES = (5, 15), (5, 19), (6, 10)

_KERNEL = (
    _tracing("raw_tp", f"raw_tp/{_TRACEPOINT}"),
    _tracing("raw_tp.w", f"raw_tp.w/{_TRACEPOINT}"),
    _tracing("raw_tp (cookie)", f"raw_tp/{_TRACEPOINT}", _with_cookie, _RAW_COOKIES),
    _tracing("tp_btf", f"tp_btf/{_TRACEPOINT}"),
    _tracing("tp_btf (cookie)", f"tp_btf/{_TRACEPOINT}", _with_cookie, _RAW_COOKIES),
    # Sleepable programs attach to tracepoints of system calls only.
    _tracing("raw_tp.s", "raw_tp.s/sys_enter"),
    _tracing("tp_btf.s", "tp_btf.s/sys_enter"),
    _tracing("tp.s", f"tp.s/syscalls/sys_enter_{_SYSCALL}"),
    _tracing("tp", f"tp/{_EVENT}"),
    _tracing("tp (cookie)", f"tp/{_EVENT}", _with_cookie, _PERF_COOKIES),
    _tracing("fentry", f"fentry/{_FUNCTION}"),
    _tracing("fentry (cookie)", f"fentry/{_FUNCTION}", _with_cookie, _TRAMPOLINE_COOKIES),
    _tracing("fexit", f"fexit/{_FUNCTION}"),
    # Sleepable programs may attach to this function (net/bpf/test_run.c).
    *(
        _tracing(f"{kind}{sleepable}", f"{kind}{sleepable}/{_FUNCTION}")
        for kind in ("fsession", "fentry.multi", "fexit.multi", "fsession.multi")
        for sleepable in ("", ".s")
    ),
    _tracing("fentry.multi (cookies)", "fentry.multi", _functions_with_cookies),
    _tracing("fmod_ret", f"fmod_ret/{_MODIFIED}"),
    _tracing("lsm", f"lsm/{_HOOK}"),
    _tracing("lsm (cookie)", f"lsm/{_HOOK}", _with_cookie, _TRAMPOLINE_COOKIES),
    _tracing("kprobe", f"kprobe/{_FUNCTION}"),
    _tracing("kprobe (cookie)", f"kprobe/{_FUNCTION}", _with_cookie, _PERF_COOKIES),
    _tracing("kretprobe", f"kretprobe/{_FUNCTION}"),
    _tracing("ksyscall", f"ksyscall/{_SYSCALL}"),
    _tracing("kretsyscall", f"kretsyscall/{_SYSCALL}"),
    _tracing("kprobe.multi", f"kprobe.multi/{_FUNCTION}"),
    _tracing(
        "kprobe.multi (cookies)",
        "kprobe.multi",
        _functions_with_cookies,
    ),
    _tracing("kretprobe.multi", f"kretprobe.multi/{_FUNCTION}"),
    _tracing("kprobe.session", f"kprobe.session/{_FUNCTION}"),
    _tracing("iter", "iter/task"),
)


def _on_faults(**how: int) -> Callable[[Any, Sandbox], Link]:
    def attach(program: Any, _: Sandbox) -> Link:
        link: Link = program.attach(PerfType.SOFTWARE, SoftwareEvent.PAGE_FAULTS_MAJ, pid=0, **how)
        return link

    return attach


_EVENTS = (
    _tracing("perf_event", "perf_event", _on_faults(period=_NEVER)),
    _tracing("perf_event (frequency)", "perf_event", _on_faults(frequency=1)),
    _tracing(
        "perf_event (cookie)",
        "perf_event",
        _on_faults(period=_NEVER, cookie=_COOKIE),
        _PERF_COOKIES,
    ),
)


def _user(
    name: str,
    section: str,
    attach: Callable[[Any, Sandbox], Link],
    since: tuple[int, int] = (0, 0),
    *,
    by_perf: bool = True,
) -> AttachKind:
    # Uprobe perf events need more capabilities than others (kernel/events/core.c).
    rights = (*TRACING_RIGHTS, Capability.SYS_ADMIN) if by_perf else TRACING_RIGHTS
    return AttachKind(name, "user space", section, attach, since, rights=rights)


def _at_start(program: Any, place: Sandbox) -> Link:
    link: Link = program.attach(place.file, offset=1)
    return link


def _uprobe_with_cookie(program: Any, place: Sandbox) -> Link:
    link: Link = program.attach(place.file, offset=1, cookie=_COOKIE)
    return link


def _probe_of_user_space(program: Any, place: Sandbox) -> Link:
    """Attach as a USDT probe with a semaphore does; the file has no probe to find."""
    # At another offset than the others, which use another counter.
    link = attach_uprobe(program.fileno(), place.file, offset=8, ref_ctr_offset=2, cookie=_COOKIE)
    stack = ExitStack()
    stack.enter_context(link)
    return UsdtLink(stack)


def _many(program: Any, place: Sandbox) -> Link:
    link: Link = program.attach(place.file, [1])
    return link


def _many_with_cookies(program: Any, place: Sandbox) -> Link:
    link: Link = program.attach(place.file, [1, 2], cookies=[_COOKIE, _COOKIE])
    return link


def _by_fd(program: Any, place: Sandbox) -> Link:
    with Path(place.file).open("rb") as file:
        link: Link = program.attach(file.fileno(), [1])
        return link


_USER_SPACE = (
    _user("uprobe", "uprobe", _at_start),
    _user("uprobe.s", "uprobe.s", _at_start),
    _user("uprobe (cookie)", "uprobe", _uprobe_with_cookie, _PERF_COOKIES),
    _user("uretprobe", "uretprobe", _at_start),
    _user("uprobe.multi", "uprobe.multi", _many, by_perf=False),
    _user("uprobe.multi (fd)", "uprobe.multi", _by_fd, (7, 2), by_perf=False),
    _user("uprobe.multi (cookies)", "uprobe.multi", _many_with_cookies, by_perf=False),
    _user("uretprobe.multi", "uretprobe.multi", _many, by_perf=False),
    _user(
        "uprobe.session",
        "uprobe.session",
        _many,
        by_perf=False,
    ),
    _user("usdt", "usdt", _probe_of_user_space),
)


def _network(
    name: str,
    attach: Callable[[Any, Sandbox], Link],
    where: SandboxKind = SandboxKind.NETWORK,
    *,
    result: int = 0,
    config: str = "",
) -> AttachKind:
    section = name.partition(" ")[0]
    return AttachKind(
        name, "network", section, attach, (0, 0), config, where, result, NETWORK_RIGHTS
    )


def _sockets(name: str, attach: Callable[[Any, Sandbox], Link], *, result: int = 0) -> AttachKind:
    return _network(name, attach, SandboxKind.HERE, result=result)


def _on_lo(**how: Any) -> Callable[[Any, Sandbox], Link]:
    def attach(program: Any, _: Sandbox) -> Link:
        link: Link = program.attach("lo", **how)
        return link

    return attach


# The verdict if a packet arrives, which is not expected: pass.
_XDP_PASS, _NEXT, _ACCEPT, _SK_PASS, _DISSECTOR_CONTINUE = 2, -1, 1, 1, 129


def _on_netkit(end: str) -> Callable[[Any, Sandbox], Link]:
    def attach(program: Any, _: Sandbox) -> Link:
        make_pair("netkit", f"lskel-{end}")
        link: Link = program.attach(f"lskel-{end}")
        return link

    return attach


def _on_socket(*, share_port: bool) -> Callable[[Any, Sandbox], Link]:
    def attach(program: Any, _: Sandbox) -> Link:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            if share_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            link: Link = program.attach(sock)
            link.close()
            return link

    return attach


def _on_sockmap(attach_type: AttachType) -> Callable[[Any, Sandbox], Link]:
    def attach(program: Any, _: Sandbox) -> Link:
        with bpf_objects.create_map(MapType.SOCKMAP, 4, 8, 1) as sockmap:
            return attach_sockmap(program.fileno(), sockmap.fileno(), attach_type)

    return attach


_A = AttachType

_NETWORK = (
    _network("xdp", _on_lo(), result=_XDP_PASS),
    _network("tc", _on_lo(direction=Direction.EGRESS), result=_NEXT),
    _network("tc/ingress", _on_lo(), result=_NEXT),
    _network(
        "tc by clsact",
        _on_lo(direction=Direction.INGRESS, by=TcWay.CLSACT),
        result=_NEXT,
        config=CLSACT,
    ),
    _network("tcx/ingress", _on_lo(by=TcWay.TCX), result=_NEXT),
    _network("tcx/egress", _on_lo(by=TcWay.TCX), result=_NEXT),
    _network("netkit/primary", _on_netkit("primary"), result=_NEXT),
    _network("netkit/peer", _on_netkit("peer"), result=_NEXT),
    _network(
        "netfilter",
        lambda p, _: p.attach(NetfilterFamily.IPV4, NetfilterHook.LOCAL_OUT),
        result=_ACCEPT,
    ),
    _sockets("socket", _on_socket(share_port=False)),
    _sockets("sk_reuseport", _on_socket(share_port=True), result=_SK_PASS),
    _network("sk_lookup", _by_itself, result=_SK_PASS),
    _network("flow_dissector", _by_itself, result=_DISSECTOR_CONTINUE),
    _sockets("sk_skb/stream_parser", _on_sockmap(_A.SK_SKB_STREAM_PARSER)),
    _sockets("sk_skb/stream_verdict", _on_sockmap(_A.SK_SKB_STREAM_VERDICT), result=_SK_PASS),
    _sockets("sk_skb/verdict", _on_sockmap(_A.SK_SKB_VERDICT), result=_SK_PASS),
    _sockets("sk_msg", _on_sockmap(_A.SK_MSG_VERDICT), result=_SK_PASS),
)


def _cgroup(name: str, section: str = "", attach_type: AttachType | None = None) -> AttachKind:
    return AttachKind(
        name,
        "cgroup",
        section or name,
        lambda p, place: p.attach(place.cgroup, attach_type),
        where=SandboxKind.CGROUP,
        result=1,  # allow
        rights=NETWORK_RIGHTS,
    )


def _cgroups() -> tuple[AttachKind, ...]:
    of_addresses = ("bind", "connect", "sendmsg", "recvmsg", "getpeername", "getsockname")
    inet = [f"cgroup/{hook}{version}" for hook in ("post_bind", *of_addresses) for version in "46"]
    unix = [f"cgroup/{hook}_unix" for hook in of_addresses if hook != "bind"]
    return (
        _cgroup("cgroup/skb"),
        _cgroup("cgroup/skb (egress)", "cgroup/skb", AttachType.CGROUP_INET_EGRESS),
        *map(_cgroup, ("cgroup_skb/ingress", "cgroup_skb/egress")),
        *map(_cgroup, ("cgroup/sock_create", "cgroup/sock_release")),
        *map(_cgroup, inet),
        *map(_cgroup, unix),
        *map(_cgroup, ("cgroup/sysctl", "cgroup/getsockopt", "cgroup/setsockopt", "cgroup/dev")),
        _cgroup("sockops"),
        _cgroup("lsm_cgroup", "lsm_cgroup/socket_bind"),
    )


ATTACH_KINDS = (*_KERNEL, *_EVENTS, *_USER_SPACE, *_NETWORK, *_cgroups())
