"""What the name of a program's ELF section says: the ``SEC()`` names.

The name is read once, here; everything later looks at the fields of `SectionSpec`.

Source: Documentation/bpf/libbpf/program_types.rst of the kernel, and the names that libbpf accepts
(tests/object/test_sections.py asks it). Left out: names whose attach type Linux 6.18 lacks
(``fsession``).
"""

from __future__ import annotations

from typing import NamedTuple

from lskel.bpf.enums import AttachType, ProgType
from lskel.btf.types import Kind


class BtfTarget(NamedTuple):
    """How a program's target is found in BTF: by the name `prefix` + target, among types of `kind`.

    The BTF is the kernel's or a module's; for programs of type EXT it is that of the BPF program
    whose function is replaced.
    """

    prefix: str
    kind: Kind


class SectionKind(NamedTuple):
    """One row of the table: a name that libbpf knows and what it stands for.

    With `takes_target` the row stands for ``name`` and for ``name/TARGET``, else for `name` only.
    The other fields are those of `SectionSpec`.
    """

    name: str
    prog_type: ProgType
    attach_type: AttachType | None = None
    takes_target: bool = False
    sleepable: bool = False
    xdp_frags: bool = False
    btf_target: BtfTarget | None = None


class SectionSpec(NamedTuple):
    """What a section name says of the programs in the section.

    `name`: the section's name without a leading ``?``.
    `autoload`: False where the name starts with ``?``.
    `kind`: the name of the matching row of `SECTION_KINDS`; empty where none matches.
    `prog_type`: UNSPEC where no row matches.
    `attach_type`: the expected attach type; None where the name gives none (the kernel gets 0). For
    ``usdt`` libbpf makes it TRACE_UPROBE_MULTI where the kernel has such links (6.6).
    `sleepable`, `xdp_frags`: whether BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS go to the kernel.
    `target`: what follows ``kind/``, such as ``sched/sched_switch``; empty where there is nothing.
    `btf_target`: how to find `target` in BTF; None where the kernel needs no BTF id to load it.
    """

    name: str
    autoload: bool
    kind: str
    prog_type: ProgType
    attach_type: AttachType | None
    sleepable: bool
    xdp_frags: bool
    target: str
    btf_target: BtfTarget | None


# Short names keep one row on one line.
_A = AttachType
_P = ProgType

_FUNCTION = BtfTarget("", Kind.FUNC)
_TRACEPOINT = BtfTarget("btf_trace_", Kind.TYPEDEF)
_LSM_HOOK = BtfTarget("bpf_lsm_", Kind.FUNC)
_ITERATOR = BtfTarget("bpf_iter_", Kind.FUNC)


def _probe(
    name: str, attach_type: AttachType | None = None, *, sleepable: bool = False
) -> SectionKind:
    return SectionKind(name, _P.KPROBE, attach_type, takes_target=True, sleepable=sleepable)


def _btf(
    name: str,
    prog_type: ProgType,
    attach_type: AttachType | None,
    target: BtfTarget,
    *,
    sleepable: bool = False,
) -> SectionKind:
    return SectionKind(
        name, prog_type, attach_type, takes_target=True, sleepable=sleepable, btf_target=target
    )


# No name matches two rows, so their order is only for people: kernel tracing, then networking.
SECTION_KINDS: tuple[SectionKind, ...] = (
    _probe("kprobe"),
    _probe("kretprobe"),
    _probe("kprobe.multi", _A.TRACE_KPROBE_MULTI),
    _probe("kretprobe.multi", _A.TRACE_KPROBE_MULTI),
    _probe("kprobe.session", _A.TRACE_KPROBE_SESSION),
    _probe("ksyscall"),
    _probe("kretsyscall"),
    _probe("uprobe"),
    _probe("uprobe.s", sleepable=True),
    _probe("uretprobe"),
    _probe("uretprobe.s", sleepable=True),
    _probe("uprobe.multi", _A.TRACE_UPROBE_MULTI),
    _probe("uprobe.multi.s", _A.TRACE_UPROBE_MULTI, sleepable=True),
    _probe("uretprobe.multi", _A.TRACE_UPROBE_MULTI),
    _probe("uretprobe.multi.s", _A.TRACE_UPROBE_MULTI, sleepable=True),
    _probe("uprobe.session", _A.TRACE_UPROBE_SESSION),
    _probe("uprobe.session.s", _A.TRACE_UPROBE_SESSION, sleepable=True),
    _probe("usdt"),
    _probe("usdt.s", sleepable=True),
    SectionKind("tracepoint", _P.TRACEPOINT, takes_target=True),
    SectionKind("tp", _P.TRACEPOINT, takes_target=True),
    SectionKind("raw_tracepoint", _P.RAW_TRACEPOINT, takes_target=True),
    SectionKind("raw_tp", _P.RAW_TRACEPOINT, takes_target=True),
    SectionKind("raw_tracepoint.w", _P.RAW_TRACEPOINT_WRITABLE, takes_target=True),
    SectionKind("raw_tp.w", _P.RAW_TRACEPOINT_WRITABLE, takes_target=True),
    _btf("tp_btf", _P.TRACING, _A.TRACE_RAW_TP, _TRACEPOINT),
    _btf("fentry", _P.TRACING, _A.TRACE_FENTRY, _FUNCTION),
    _btf("fentry.s", _P.TRACING, _A.TRACE_FENTRY, _FUNCTION, sleepable=True),
    _btf("fmod_ret", _P.TRACING, _A.MODIFY_RETURN, _FUNCTION),
    _btf("fmod_ret.s", _P.TRACING, _A.MODIFY_RETURN, _FUNCTION, sleepable=True),
    _btf("fexit", _P.TRACING, _A.TRACE_FEXIT, _FUNCTION),
    _btf("fexit.s", _P.TRACING, _A.TRACE_FEXIT, _FUNCTION, sleepable=True),
    _btf("freplace", _P.EXT, None, _FUNCTION),
    _btf("lsm", _P.LSM, _A.LSM_MAC, _LSM_HOOK),
    _btf("lsm.s", _P.LSM, _A.LSM_MAC, _LSM_HOOK, sleepable=True),
    _btf("lsm_cgroup", _P.LSM, _A.LSM_CGROUP, _LSM_HOOK),
    _btf("iter", _P.TRACING, _A.TRACE_ITER, _ITERATOR),
    _btf("iter.s", _P.TRACING, _A.TRACE_ITER, _ITERATOR, sleepable=True),
    SectionKind("perf_event", _P.PERF_EVENT),
    SectionKind("syscall", _P.SYSCALL, sleepable=True),
    SectionKind("struct_ops", _P.STRUCT_OPS, takes_target=True),
    SectionKind("struct_ops.s", _P.STRUCT_OPS, takes_target=True, sleepable=True),
    SectionKind("socket", _P.SOCKET_FILTER),
    SectionKind("sk_reuseport", _P.SK_REUSEPORT, _A.SK_REUSEPORT_SELECT),
    SectionKind("sk_reuseport/migrate", _P.SK_REUSEPORT, _A.SK_REUSEPORT_SELECT_OR_MIGRATE),
    SectionKind("tc", _P.SCHED_CLS),
    SectionKind("classifier", _P.SCHED_CLS),
    SectionKind("action", _P.SCHED_ACT),
    SectionKind("tc/ingress", _P.SCHED_CLS, _A.TCX_INGRESS),
    SectionKind("tc/egress", _P.SCHED_CLS, _A.TCX_EGRESS),
    SectionKind("tcx/ingress", _P.SCHED_CLS, _A.TCX_INGRESS),
    SectionKind("tcx/egress", _P.SCHED_CLS, _A.TCX_EGRESS),
    SectionKind("netkit/primary", _P.SCHED_CLS, _A.NETKIT_PRIMARY),
    SectionKind("netkit/peer", _P.SCHED_CLS, _A.NETKIT_PEER),
    SectionKind("xdp", _P.XDP, _A.XDP),
    SectionKind("xdp/devmap", _P.XDP, _A.XDP_DEVMAP),
    SectionKind("xdp/cpumap", _P.XDP, _A.XDP_CPUMAP),
    SectionKind("xdp.frags", _P.XDP, _A.XDP, xdp_frags=True),
    SectionKind("xdp.frags/devmap", _P.XDP, _A.XDP_DEVMAP, xdp_frags=True),
    SectionKind("xdp.frags/cpumap", _P.XDP, _A.XDP_CPUMAP, xdp_frags=True),
    SectionKind("lwt_in", _P.LWT_IN),
    SectionKind("lwt_out", _P.LWT_OUT),
    SectionKind("lwt_xmit", _P.LWT_XMIT),
    SectionKind("lwt_seg6local", _P.LWT_SEG6LOCAL),
    SectionKind("sockops", _P.SOCK_OPS, _A.CGROUP_SOCK_OPS),
    SectionKind("sk_skb", _P.SK_SKB),
    SectionKind("sk_skb/stream_parser", _P.SK_SKB, _A.SK_SKB_STREAM_PARSER),
    SectionKind("sk_skb/stream_verdict", _P.SK_SKB, _A.SK_SKB_STREAM_VERDICT),
    SectionKind("sk_skb/verdict", _P.SK_SKB, _A.SK_SKB_VERDICT),
    SectionKind("sk_msg", _P.SK_MSG, _A.SK_MSG_VERDICT),
    SectionKind("sk_lookup", _P.SK_LOOKUP, _A.SK_LOOKUP),
    SectionKind("lirc_mode2", _P.LIRC_MODE2, _A.LIRC_MODE2),
    SectionKind("flow_dissector", _P.FLOW_DISSECTOR, _A.FLOW_DISSECTOR),
    SectionKind("netfilter", _P.NETFILTER, _A.NETFILTER),
    SectionKind("cgroup_skb/ingress", _P.CGROUP_SKB, _A.CGROUP_INET_INGRESS),
    SectionKind("cgroup_skb/egress", _P.CGROUP_SKB, _A.CGROUP_INET_EGRESS),
    SectionKind("cgroup/skb", _P.CGROUP_SKB),
    SectionKind("cgroup/sock", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_CREATE),
    SectionKind("cgroup/sock_create", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_CREATE),
    SectionKind("cgroup/sock_release", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_RELEASE),
    SectionKind("cgroup/post_bind4", _P.CGROUP_SOCK, _A.CGROUP_INET4_POST_BIND),
    SectionKind("cgroup/post_bind6", _P.CGROUP_SOCK, _A.CGROUP_INET6_POST_BIND),
    SectionKind("cgroup/bind4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_BIND),
    SectionKind("cgroup/bind6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_BIND),
    SectionKind("cgroup/connect4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_CONNECT),
    SectionKind("cgroup/connect6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_CONNECT),
    SectionKind("cgroup/connect_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_CONNECT),
    SectionKind("cgroup/sendmsg4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP4_SENDMSG),
    SectionKind("cgroup/sendmsg6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP6_SENDMSG),
    SectionKind("cgroup/sendmsg_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_SENDMSG),
    SectionKind("cgroup/recvmsg4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP4_RECVMSG),
    SectionKind("cgroup/recvmsg6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP6_RECVMSG),
    SectionKind("cgroup/recvmsg_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_RECVMSG),
    SectionKind("cgroup/getpeername4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_GETPEERNAME),
    SectionKind("cgroup/getpeername6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_GETPEERNAME),
    SectionKind("cgroup/getpeername_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_GETPEERNAME),
    SectionKind("cgroup/getsockname4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_GETSOCKNAME),
    SectionKind("cgroup/getsockname6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_GETSOCKNAME),
    SectionKind("cgroup/getsockname_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_GETSOCKNAME),
    SectionKind("cgroup/sysctl", _P.CGROUP_SYSCTL, _A.CGROUP_SYSCTL),
    SectionKind("cgroup/getsockopt", _P.CGROUP_SOCKOPT, _A.CGROUP_GETSOCKOPT),
    SectionKind("cgroup/setsockopt", _P.CGROUP_SOCKOPT, _A.CGROUP_SETSOCKOPT),
    SectionKind("cgroup/dev", _P.CGROUP_DEVICE, _A.CGROUP_DEVICE),
)

_BY_NAME = {kind.name: kind for kind in SECTION_KINDS}
_UNKNOWN = SectionKind("", _P.UNSPEC)


def _match(name: str) -> tuple[SectionKind, str]:
    """The row for a section name without ``?``, and the target in it."""
    if (exact := _BY_NAME.get(name)) is not None:
        return exact, ""
    prefix, _, target = name.partition("/")
    kind = _BY_NAME.get(prefix, _UNKNOWN)
    return (kind, target) if kind.takes_target else (_UNKNOWN, "")


def parse_section(name: str) -> SectionSpec:
    """Read the name of a section that holds programs, such as ``?tp/sched/sched_switch``.

    Never fails: an unknown name gives a spec of type UNSPEC and leaves the type to the caller.
    """
    bare = name.removeprefix("?")
    kind, target = _match(bare)
    return SectionSpec(
        name=bare,
        autoload=bare == name,
        kind=kind.name,
        prog_type=kind.prog_type,
        attach_type=kind.attach_type,
        sleepable=kind.sleepable,
        xdp_frags=kind.xdp_frags,
        target=target,
        btf_target=kind.btf_target,
    )
