"""Programs of the network: interfaces, sockets, network namespaces, cgroups."""

from __future__ import annotations

from functools import partial

from lskel.bpf.enums import AttachType
from lskel.runtime.attach.cgroup import CgroupProgram
from lskel.runtime.attach.clsact import Direction
from lskel.runtime.attach.netfilter import NetfilterFamily, NetfilterHook, NetfilterProgram
from lskel.runtime.attach.netkit import NetkitProgram
from lskel.runtime.attach.netns import NetnsProgram
from lskel.runtime.attach.sockets import SkReuseportProgram, SocketProgram
from lskel.runtime.attach.sockmap import SockmapProgram
from lskel.runtime.attach.tc import TcProgram, TcWay
from lskel.runtime.attach.xdp import XdpMode, XdpProgram
from lskel.runtime.program import Program
from tests.attach import scenes
from tests.attach.cases.case import Case, Lack, Version
from tests.attach.scenes import V4, V6, Setting, in_cgroup, on_lo

NO_TCX = Lack("EINVAL: Invalid argument (tcx needs Linux 6.6", (6, 6))
NO_NETKIT = Lack("Unknown device type", (6, 7), "CONFIG_NETKIT")
NO_NETFILTER = Lack(
    "BPF_PROG_LOAD of program 'on_netfilter': EINVAL", (6, 4), "CONFIG_NETFILTER_BPF_LINK"
)
NO_UNIX = Lack("_unix': EINVAL", (6, 7))
NO_LSM = Lack(
    "BPF_PROG_LOAD of program 'lsm_bind': EPERM",
    option="CONFIG_BPF_LSM",
    without="CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY",
)
TCX: Version = (6, 6)
SOCKMAP_LINKS: Version = (6, 10)


def _net(
    name: str,
    program: str,
    kind: type[Program],
    setting: Setting,
    lack: Lack | None = None,
    *,
    linked_since: Version | None = (0, 0),
) -> Case:
    return Case(name, "net", program, kind, setting, lack=lack, linked_since=linked_since)


def _sockmap(name: str, program: str, setting: Setting, *also: str) -> Case:
    return Case(
        name, "net_sockmap", program, SockmapProgram, setting, also, linked_since=SOCKMAP_LINKS
    )


def _cgroup(name: str, program: str, setting: Setting, lack: Lack | None = None) -> Case:
    return Case(name, "net_cgroup", program, CgroupProgram, setting, lack=lack)


def _cgroups() -> tuple[Case, ...]:
    both = (("4", V4), ("6", V6))
    cases = [
        _cgroup("cgroup/skb", "skb", in_cgroup(scenes.datagram)),
        _cgroup(
            "cgroup/skb (egress)",
            "skb",
            in_cgroup(scenes.datagram, AttachType.CGROUP_INET_EGRESS),
        ),
    ]
    for section, program in (
        ("cgroup_skb/ingress", "skb_ingress"),
        ("cgroup_skb/egress", "skb_egress"),
        ("cgroup/sock_create", "sock_create"),
        ("cgroup/sock_release", "sock_release"),
    ):
        cases.append(_cgroup(section, program, in_cgroup(scenes.datagram)))
    for program, event in (
        ("post_bind", scenes.datagram),
        ("bind", scenes.datagram),
        ("connect", scenes.connection),
        ("sendmsg", scenes.datagram),
        ("recvmsg", scenes.datagram),
        ("getpeername", scenes.names),
        ("getsockname", scenes.names),
    ):
        for version, family in both:
            name = f"{program}{version}"
            cases.append(_cgroup(f"cgroup/{name}", name, in_cgroup(partial(event, family))))
    for program in ("connect", "sendmsg", "recvmsg", "getpeername", "getsockname"):
        name = f"{program}_unix"
        cases.append(_cgroup(f"cgroup/{name}", name, in_cgroup(scenes.unix_datagram), NO_UNIX))
    return (
        *cases,
        _cgroup("cgroup/sysctl", "sysctl", in_cgroup(scenes.sysctl)),
        _cgroup("cgroup/getsockopt", "getsockopt", in_cgroup(scenes.options)),
        _cgroup("cgroup/setsockopt", "setsockopt", in_cgroup(scenes.options)),
        _cgroup("cgroup/dev", "device", in_cgroup(scenes.device)),
        _cgroup("sockops", "sock_ops", in_cgroup(scenes.connection)),
        _cgroup("lsm_cgroup", "lsm_bind", in_cgroup(scenes.datagram), NO_LSM),
    )


CASES: tuple[Case, ...] = (
    _net("xdp", "on_xdp", XdpProgram, on_lo(lambda p: p.attach("lo"), scenes.datagram)),
    _net("xdp (generic)", "on_xdp", XdpProgram, scenes.on_veth(XdpMode.GENERIC)),
    _net("xdp (native)", "on_xdp", XdpProgram, scenes.on_veth(XdpMode.NATIVE)),
    _net(
        "tc",
        "on_tc",
        TcProgram,
        on_lo(lambda p: p.attach("lo", Direction.EGRESS), scenes.datagram),
        linked_since=TCX,
    ),
    _net(
        "tc/ingress",
        "on_tc_ingress",
        TcProgram,
        on_lo(lambda p: p.attach("lo"), scenes.datagram),
        linked_since=TCX,
    ),
    _net(
        "tc by clsact",
        "on_tc",
        TcProgram,
        on_lo(
            lambda p: p.attach("lo", Direction.INGRESS, by=TcWay.CLSACT, priority=1),
            scenes.datagram,
        ),
        linked_since=None,
    ),
    *(
        _net(
            f"tcx/{direction}",
            f"on_tcx_{direction}",
            TcProgram,
            on_lo(lambda p: p.attach("lo", by=TcWay.TCX), scenes.datagram),
            NO_TCX,
        )
        for direction in ("ingress", "egress")
    ),
    *(
        _net(f"netkit/{end}", f"on_netkit_{end}", NetkitProgram, scenes.on_netkit(end), NO_NETKIT)
        for end in ("primary", "peer")
    ),
    _net(
        "netfilter",
        "on_netfilter",
        NetfilterProgram,
        on_lo(lambda p: p.attach(NetfilterFamily.IPV4, NetfilterHook.LOCAL_OUT), scenes.datagram),
        NO_NETFILTER,
    ),
    _net(
        "socket", "on_socket", SocketProgram, scenes.on_socket(share_port=False), linked_since=None
    ),
    _net(
        "sk_reuseport",
        "on_reuseport",
        SkReuseportProgram,
        scenes.on_socket(share_port=True),
        linked_since=None,
    ),
    _net("sk_lookup", "on_lookup", NetnsProgram, on_lo(lambda p: p.attach(), scenes.datagram)),
    _net(
        "flow_dissector",
        "on_dissect",
        NetnsProgram,
        on_lo(lambda p: p.attach("/proc/self/ns/net"), scenes.ethernet_packet),
    ),
    _sockmap(
        "sk_skb/stream_parser",
        "on_parse",
        scenes.in_sockmap(sender=False, partner=("passes", AttachType.SK_SKB_STREAM_VERDICT)),
        "passes",
    ),
    _sockmap("sk_skb/stream_verdict", "on_stream_verdict", scenes.in_sockmap(sender=False)),
    _sockmap("sk_skb/verdict", "on_verdict", scenes.in_sockmap(sender=False)),
    _sockmap("sk_msg", "on_msg", scenes.in_sockmap(sender=True)),
    *_cgroups(),
)
