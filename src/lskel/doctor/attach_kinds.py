"""The ways to attach, as data: a section's name, and how its program attaches in a place of ours.

Each is what a skeleton or `lskel run` would do. The names are those of docs/attach.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from lskel.bpf.enums import AttachType, MapType
from lskel.doctor import tiny
from lskel.doctor.finding import NETWORK_RIGHTS, TRACING_RIGHTS
from lskel.doctor.places import make_pair
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


class Place(NamedTuple):
    """Where a program may attach without doing harm: empty where there is none.

    `file` is one that nobody runs, `cgroup` one without processes.
    """

    file: str = ""
    cgroup: str = ""


class Where(Enum):
    """Which place a kind takes: none but perhaps a file, a network namespace, a cgroup."""

    HERE = "here"
    NETWORK = "network"
    CGROUP = "cgroup"


class AttachKind(NamedTuple):
    """A way to attach a program of `section`, which returns `result`.

    `takes` says what the kernel must have.
    """

    name: str
    group: str
    section: str
    attach: Callable[[Any, Place], Link]
    takes: str
    where: Where = Where.HERE
    result: int = 0
    rights: tuple[Capability, ...] = TRACING_RIGHTS


# What hardly ever happens: the kernel's own tests of BPF programs (net/bpf/test_run.c), and
# changing the root directory.
_TRACEPOINT = "bpf_test_finish"
_EVENT = "bpf_test_run/bpf_test_finish"
_FUNCTION = "bpf_fentry_test1"
_MODIFIED = "security_sb_pivotroot"
_HOOK = "sb_pivotroot"
_SYSCALL = "pivot_root"

_COOKIE = 1
# An event counted so often does not occur.
_NEVER = 1 << 60


def _by_itself(program: Any, _: Place) -> Link:
    link: Link = program.attach()
    return link


def _with_cookie(program: Any, _: Place) -> Link:
    link: Link = program.attach(cookie=_COOKIE)
    return link


def _tracing(
    name: str,
    section: str,
    takes: str,
    attach: Callable[[Any, Place], Link] = _by_itself,
) -> AttachKind:
    return AttachKind(name, "tracing", section, attach, takes)


_TRAMPOLINES = "CONFIG_DEBUG_INFO_BTF, BPF trampolines for this machine, and no lockdown"
_LSM = "CONFIG_BPF_LSM, CONFIG_DEBUG_INFO_BTF, and no lockdown"
_KPROBES = "CONFIG_KPROBE_EVENTS"
_FPROBE = "Linux 5.18 with CONFIG_FPROBE"
_COOKIES = "Linux 6.10"
_PERF = "CONFIG_PERF_EVENTS"

_KERNEL = (
    _tracing("raw_tp", f"raw_tp/{_TRACEPOINT}", "CONFIG_BPF_EVENTS"),
    _tracing("raw_tp.w", f"raw_tp.w/{_TRACEPOINT}", "CONFIG_BPF_EVENTS"),
    _tracing("raw_tp (cookie)", f"raw_tp/{_TRACEPOINT}", _COOKIES, _with_cookie),
    _tracing("tp_btf", f"tp_btf/{_TRACEPOINT}", "CONFIG_DEBUG_INFO_BTF"),
    _tracing("tp_btf (cookie)", f"tp_btf/{_TRACEPOINT}", _COOKIES, _with_cookie),
    _tracing("tp", f"tp/{_EVENT}", "CONFIG_BPF_EVENTS"),
    _tracing("tp (cookie)", f"tp/{_EVENT}", "Linux 5.15", _with_cookie),
    _tracing("fentry", f"fentry/{_FUNCTION}", _TRAMPOLINES),
    _tracing("fentry (cookie)", f"fentry/{_FUNCTION}", f"Linux 5.19, {_TRAMPOLINES}", _with_cookie),
    _tracing("fexit", f"fexit/{_FUNCTION}", _TRAMPOLINES),
    _tracing("fmod_ret", f"fmod_ret/{_MODIFIED}", _TRAMPOLINES),
    _tracing("lsm", f"lsm/{_HOOK}", _LSM),
    _tracing("lsm (cookie)", f"lsm/{_HOOK}", f"Linux 5.19, {_LSM}", _with_cookie),
    _tracing("kprobe", f"kprobe/{_FUNCTION}", _KPROBES),
    _tracing("kprobe (cookie)", f"kprobe/{_FUNCTION}", f"Linux 5.15, {_KPROBES}", _with_cookie),
    _tracing("kretprobe", f"kretprobe/{_FUNCTION}", _KPROBES),
    _tracing("ksyscall", f"ksyscall/{_SYSCALL}", _KPROBES),
    _tracing("kretsyscall", f"kretsyscall/{_SYSCALL}", _KPROBES),
    _tracing("kprobe.multi", f"kprobe.multi/{_FUNCTION}", _FPROBE),
    _tracing(
        "kprobe.multi (cookies)",
        f"kprobe.multi/{_FUNCTION}",
        _FPROBE,
        lambda p, _: p.attach([_FUNCTION], cookies=[_COOKIE]),
    ),
    _tracing("kretprobe.multi", f"kretprobe.multi/{_FUNCTION}", _FPROBE),
    _tracing("kprobe.session", f"kprobe.session/{_FUNCTION}", "Linux 6.10 with CONFIG_FPROBE"),
    _tracing("iter", "iter/task", "Linux 5.8, CONFIG_DEBUG_INFO_BTF"),
)


def _on_faults(**how: int) -> Callable[[Any, Place], Link]:
    def attach(program: Any, _: Place) -> Link:
        link: Link = program.attach(PerfType.SOFTWARE, SoftwareEvent.PAGE_FAULTS_MAJ, pid=0, **how)
        return link

    return attach


_EVENTS = (
    _tracing("perf_event", "perf_event", _PERF, _on_faults(period=_NEVER)),
    _tracing("perf_event (frequency)", "perf_event", _PERF, _on_faults(frequency=1)),
    _tracing(
        "perf_event (cookie)",
        "perf_event",
        f"Linux 5.15, {_PERF}",
        _on_faults(period=_NEVER, cookie=_COOKIE),
    ),
)


def _user(
    name: str,
    section: str,
    takes: str,
    attach: Callable[[Any, Place], Link],
    *,
    by_perf: bool = True,
) -> AttachKind:
    # Perf events that are uprobes take more than others (kernel/events/core.c).
    rights = (*TRACING_RIGHTS, Capability.SYS_ADMIN) if by_perf else TRACING_RIGHTS
    return AttachKind(name, "user space", section, attach, takes, rights=rights)


_UPROBES = "CONFIG_UPROBE_EVENTS"
_MULTI = "Linux 6.6 with CONFIG_UPROBE_EVENTS"


def _at_start(program: Any, place: Place) -> Link:
    link: Link = program.attach(place.file, offset=1)
    return link


def _uprobe_with_cookie(program: Any, place: Place) -> Link:
    link: Link = program.attach(place.file, offset=1, cookie=_COOKIE)
    return link


def _probe_of_user_space(program: Any, place: Place) -> Link:
    """What a probe of SDT with a semaphore takes; the file has none that would be found."""
    # Not where others are, which use another counter.
    link = attach_uprobe(program.fileno(), place.file, offset=8, ref_ctr_offset=2, cookie=_COOKIE)
    stack = ExitStack()
    stack.enter_context(link)
    return UsdtLink(stack)


def _many(program: Any, place: Place) -> Link:
    link: Link = program.attach(place.file, [1])
    return link


def _many_with_cookies(program: Any, place: Place) -> Link:
    link: Link = program.attach(place.file, [1, 2], cookies=[_COOKIE, _COOKIE])
    return link


_USER_SPACE = (
    _user("uprobe", "uprobe", _UPROBES, _at_start),
    _user("uprobe.s", "uprobe.s", f"Linux 6.0, {_UPROBES}", _at_start),
    _user("uprobe (cookie)", "uprobe", f"Linux 5.15, {_UPROBES}", _uprobe_with_cookie),
    _user("uretprobe", "uretprobe", _UPROBES, _at_start),
    _user("uprobe.multi", "uprobe.multi", _MULTI, _many, by_perf=False),
    _user("uprobe.multi (cookies)", "uprobe.multi", _MULTI, _many_with_cookies, by_perf=False),
    _user("uretprobe.multi", "uretprobe.multi", _MULTI, _many, by_perf=False),
    _user(
        "uprobe.session",
        "uprobe.session",
        "Linux 6.13 with CONFIG_UPROBE_EVENTS",
        _many,
        by_perf=False,
    ),
    _user("usdt", "usdt", f"Linux 5.15, {_UPROBES}", _probe_of_user_space),
)


def _network(
    name: str,
    attach: Callable[[Any, Place], Link],
    takes: str,
    where: Where = Where.NETWORK,
    *,
    result: int = 0,
) -> AttachKind:
    section = name.partition(" ")[0]
    return AttachKind(name, "network", section, attach, takes, where, result, NETWORK_RIGHTS)


def _sockets(
    name: str, attach: Callable[[Any, Place], Link], takes: str, *, result: int = 0
) -> AttachKind:
    return _network(name, attach, takes, Where.HERE, result=result)


def _on_lo(**how: Any) -> Callable[[Any, Place], Link]:
    def attach(program: Any, _: Place) -> Link:
        link: Link = program.attach("lo", **how)
        return link

    return attach


# What the program says to packets that will not come: let them go on.
_XDP_PASS, _NEXT, _ACCEPT, _SK_PASS, _DISSECTOR_CONTINUE = 2, -1, 1, 1, 129


def _on_netkit(end: str) -> Callable[[Any, Place], Link]:
    def attach(program: Any, _: Place) -> Link:
        make_pair("netkit", f"lskel-{end}")
        link: Link = program.attach(f"lskel-{end}")
        return link

    return attach


def _on_socket(*, share_port: bool) -> Callable[[Any, Place], Link]:
    def attach(program: Any, _: Place) -> Link:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            if share_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            link: Link = program.attach(sock)
            link.close()
            return link

    return attach


def _on_sockmap(attach_type: AttachType) -> Callable[[Any, Place], Link]:
    def attach(program: Any, _: Place) -> Link:
        with tiny.create_map(MapType.SOCKMAP, 4, 8, 1) as sockmap:
            return attach_sockmap(program.fileno(), sockmap.fileno(), attach_type)

    return attach


_TC = "CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF, or Linux 6.6"
_CLSACT = "CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF"
_TCX = "Linux 6.6 with CONFIG_NET_XGRESS"
_NETKIT_OPTION = "Linux 6.7 with CONFIG_NETKIT"
_SOCKMAP = "CONFIG_NET and CONFIG_INET"
_A = AttachType

_NETWORK = (
    _network("xdp", _on_lo(), "Linux 5.9", result=_XDP_PASS),
    _network("tc", _on_lo(direction=Direction.EGRESS), _TC, result=_NEXT),
    _network("tc/ingress", _on_lo(), _TC, result=_NEXT),
    _network(
        "tc by clsact",
        _on_lo(direction=Direction.INGRESS, by=TcWay.CLSACT),
        _CLSACT,
        result=_NEXT,
    ),
    _network("tcx/ingress", _on_lo(by=TcWay.TCX), _TCX, result=_NEXT),
    _network("tcx/egress", _on_lo(by=TcWay.TCX), _TCX, result=_NEXT),
    _network("netkit/primary", _on_netkit("primary"), _NETKIT_OPTION, result=_NEXT),
    _network("netkit/peer", _on_netkit("peer"), _NETKIT_OPTION, result=_NEXT),
    _network(
        "netfilter",
        lambda p, _: p.attach(NetfilterFamily.IPV4, NetfilterHook.LOCAL_OUT),
        "Linux 6.4 with CONFIG_NETFILTER_BPF_LINK",
        result=_ACCEPT,
    ),
    _sockets("socket", _on_socket(share_port=False), "CONFIG_NET"),
    _sockets("sk_reuseport", _on_socket(share_port=True), "CONFIG_INET", result=_SK_PASS),
    _network("sk_lookup", _by_itself, "Linux 5.9, CONFIG_INET", result=_SK_PASS),
    _network("flow_dissector", _by_itself, "Linux 5.8", result=_DISSECTOR_CONTINUE),
    _sockets("sk_skb/stream_parser", _on_sockmap(_A.SK_SKB_STREAM_PARSER), _SOCKMAP),
    _sockets(
        "sk_skb/stream_verdict", _on_sockmap(_A.SK_SKB_STREAM_VERDICT), _SOCKMAP, result=_SK_PASS
    ),
    _sockets("sk_skb/verdict", _on_sockmap(_A.SK_SKB_VERDICT), _SOCKMAP, result=_SK_PASS),
    _sockets("sk_msg", _on_sockmap(_A.SK_MSG_VERDICT), _SOCKMAP, result=_SK_PASS),
)


def _cgroup(name: str, takes: str = "CONFIG_CGROUP_BPF", section: str = "") -> AttachKind:
    return AttachKind(
        name,
        "cgroup",
        section or name,
        lambda p, place: p.attach(place.cgroup),
        takes,
        Where.CGROUP,
        1,  # allows everything
        NETWORK_RIGHTS,
    )


def _cgroups() -> tuple[AttachKind, ...]:
    of_addresses = ("bind", "connect", "sendmsg", "recvmsg", "getpeername", "getsockname")
    inet = [f"cgroup/{hook}{version}" for hook in ("post_bind", *of_addresses) for version in "46"]
    unix = [f"cgroup/{hook}_unix" for hook in of_addresses if hook != "bind"]
    return (
        _cgroup("cgroup/skb"),
        AttachKind(
            "cgroup/skb (egress)",
            "cgroup",
            "cgroup/skb",
            lambda p, place: p.attach(place.cgroup, AttachType.CGROUP_INET_EGRESS),
            "CONFIG_CGROUP_BPF",
            Where.CGROUP,
            1,
            NETWORK_RIGHTS,
        ),
        *map(_cgroup, ("cgroup_skb/ingress", "cgroup_skb/egress")),
        *map(_cgroup, ("cgroup/sock_create", "cgroup/sock_release")),
        *map(_cgroup, inet),
        *(_cgroup(name, "Linux 6.7, CONFIG_CGROUP_BPF") for name in unix),
        *map(_cgroup, ("cgroup/sysctl", "cgroup/getsockopt", "cgroup/setsockopt", "cgroup/dev")),
        _cgroup("sockops"),
        _cgroup("lsm_cgroup", f"Linux 6.0, {_LSM}", "lsm_cgroup/socket_bind"),
    )


ATTACH_KINDS = (*_KERNEL, *_EVENTS, *_USER_SPACE, *_NETWORK, *_cgroups())
