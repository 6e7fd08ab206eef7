"""Attach kinds, one row each: a ``SEC()`` name and its properties.

Source: Documentation/bpf/libbpf/program_types.rst of the kernel, and the names that libbpf accepts
(compared in tests/object/test_sections.py), up to libbpf 1.8.
"""

from __future__ import annotations

from enum import Enum

from lskel.bpf.enums import AttachType, ProgType
from lskel.btf.kinds import Kind
from lskel.light_typing import NamedTuple


class BtfTarget(NamedTuple):
    """How to find a program's target in BTF: a type of `kind` named `prefix` + target.

    The BTF is that of the kernel or a module; for programs of type EXT, that of the BPF program
    whose function is replaced.
    """

    prefix: str
    kind: Kind


class AttachTarget(Enum):
    """Attach targets that are a single name: a description, and a metavar for synopses.

    `in_section`: a section name may have it; else it is the first argument of attach().
    """

    INTERFACE = ("an interface", "INTERFACE", False)
    CGROUP = ("a cgroup", "PATH", False)
    NETNS = ("a network namespace", "PATH", False)
    PROGRAM = ("a program", "PIN[:FUNCTION]", False)
    TRACEPOINT = ("a tracepoint", "TRACEPOINT", True)
    FUNCTION = ("a function", "FUNCTION", True)
    FUNCTIONS = ("functions", "PATTERN", True)
    BINARY_FUNCTION = ("a function", "BINARY:FUNCTION", True)
    BINARY_FUNCTIONS = ("functions", "BINARY:PATTERN", True)
    PROBE = ("a probe", "BINARY:PROVIDER:NAME", True)

    def __init__(self, what: str, metavar: str, in_section: bool) -> None:
        self.what = what
        self.metavar = metavar
        self.in_section = in_section


class AttachCall(Enum):
    """The bpf(2) call that attaches a program, if a single one is enough.

    The first three need nothing from user space; the others need a number, an fd, or BTF ids.
    """

    TRACEPOINT = "BPF_RAW_TRACEPOINT_OPEN with the name of a tracepoint"
    LOADED_FOR = "BPF_RAW_TRACEPOINT_OPEN of a program that was loaded for its target"
    ITERATOR = "BPF_LINK_CREATE of an iterator"
    REPLACE = "BPF_RAW_TRACEPOINT_OPEN of a program that was loaded for its function"
    INTERFACE = "BPF_LINK_CREATE with the index of an interface"
    CGROUP = "BPF_LINK_CREATE with the fd of a cgroup"
    NETNS = "BPF_LINK_CREATE with the fd of a network namespace"
    PERF_EVENT = "BPF_LINK_CREATE with the fd of a perf event"
    FUNCTIONS = "BPF_LINK_CREATE with the BTF ids of functions"


class AttachKindRow(NamedTuple):
    """Properties of an attach kind.

    `name`: that of the section; with `takes_target` the row is for ``name`` and ``name/TARGET``.
    `attach_type`: the expected attach type; None if the name has none (the kernel gets 0).
    `since`: the first Linux release on which lskel can attach it; `config`: kernel options that it
    needs. `network`: whether it needs CAP_NET_ADMIN instead of CAP_PERFMON.
    `python_class`: its class, as "module:Class" in lskel.runtime.attach; empty if programs are only
    loaded. `target`: the attach target in a name. `call`: how C and loaders attach it.
    """

    name: str
    prog_type: ProgType
    attach_type: AttachType | None = None
    since: tuple[int, int] = (4, 1)
    config: str = ""
    python_class: str = ""
    target: AttachTarget | None = None
    call: AttachCall | None = None
    takes_target: bool = False
    sleepable: bool = False
    xdp_frags: bool = False
    network: bool = False
    btf_target: BtfTarget | None = None


_A, _P, _T, _C = AttachType, ProgType, AttachTarget, AttachCall

_FUNCTION = BtfTarget("", Kind.FUNC)
_TRACEPOINT = BtfTarget("btf_trace_", Kind.TYPEDEF)
_LSM_HOOK = BtfTarget("bpf_lsm_", Kind.FUNC)
_ITERATOR = BtfTarget("bpf_iter_", Kind.FUNC)

_TRAMPOLINES = "CONFIG_DEBUG_INFO_BTF, BPF trampolines for this machine, and no lockdown"
_BPF_LSM = "CONFIG_BPF_LSM, CONFIG_DEBUG_INFO_BTF, and no lockdown"
CLSACT = "CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF"
_BTF = "CONFIG_DEBUG_INFO_BTF"
_EVENTS = "CONFIG_BPF_EVENTS"
_UPROBES = "CONFIG_UPROBE_EVENTS"
_SOCKMAPS = "CONFIG_NET and CONFIG_INET"


_KPROBE = AttachKindRow(
    "kprobe",
    _P.KPROBE,
    None,
    (4, 1),
    "CONFIG_KPROBE_EVENTS",
    "probe:KprobeProgram",
    _T.FUNCTION,
    _C.PERF_EVENT,
    takes_target=True,
)
_KPROBE_MULTI = _KPROBE._replace(
    name="kprobe.multi",
    attach_type=_A.TRACE_KPROBE_MULTI,
    since=(5, 18),
    config="CONFIG_FPROBE",
    python_class="probe:KprobeMultiProgram",
    target=_T.FUNCTIONS,
    call=None,
)
_UPROBE = _KPROBE._replace(
    name="uprobe",
    config=_UPROBES,
    python_class="probe:UprobeProgram",
    target=_T.BINARY_FUNCTION,
)
_UPROBE_MULTI = _UPROBE._replace(
    name="uprobe.multi",
    attach_type=_A.TRACE_UPROBE_MULTI,
    since=(6, 6),
    python_class="probe:UprobeMultiProgram",
    target=_T.BINARY_FUNCTIONS,
    call=None,
)
_UPROBE_SESSION = _UPROBE_MULTI._replace(
    name="uprobe.session", attach_type=_A.TRACE_UPROBE_SESSION, since=(6, 13)
)
_USDT = _UPROBE._replace(
    name="usdt", since=(5, 15), python_class="probe:UsdtProgram", target=_T.PROBE
)
_TP = AttachKindRow(
    "tracepoint",
    _P.TRACEPOINT,
    None,
    (4, 7),
    _EVENTS,
    "tracepoint:TracepointProgram",
    _T.TRACEPOINT,
    _C.PERF_EVENT,
    takes_target=True,
)
_RAW_TP = AttachKindRow(
    "raw_tracepoint",
    _P.RAW_TRACEPOINT,
    None,
    (4, 17),
    _EVENTS,
    "raw_tracepoint:RawTracepointProgram",
    _T.TRACEPOINT,
    _C.TRACEPOINT,
    takes_target=True,
)
_RAW_TP_W = _RAW_TP._replace(prog_type=_P.RAW_TRACEPOINT_WRITABLE, since=(5, 2))
_FENTRY = AttachKindRow(
    "fentry",
    _P.TRACING,
    _A.TRACE_FENTRY,
    (5, 5),
    _TRAMPOLINES,
    "tracing:TracingProgram",
    None,
    _C.LOADED_FOR,
    takes_target=True,
    btf_target=_FUNCTION,
)
_FEXIT = _FENTRY._replace(name="fexit", attach_type=_A.TRACE_FEXIT)
_FMOD_RET = _FENTRY._replace(name="fmod_ret", attach_type=_A.MODIFY_RETURN, since=(5, 7))
_FSESSION = _FENTRY._replace(name="fsession", attach_type=_A.TRACE_FSESSION, since=(7, 0))
_FENTRY_MULTI = _FENTRY._replace(
    name="fentry.multi",
    attach_type=_A.TRACE_FENTRY_MULTI,
    since=(7, 2),
    config=f"{_TRAMPOLINES}; CONFIG_HAVE_SINGLE_FTRACE_DIRECT_OPS (x86-64)",
    python_class="tracing_multi:TracingMultiProgram",
    target=_T.FUNCTIONS,
    call=_C.FUNCTIONS,
    btf_target=None,
)
_LSM = _FENTRY._replace(
    name="lsm",
    prog_type=_P.LSM,
    attach_type=_A.LSM_MAC,
    since=(5, 7),
    config=_BPF_LSM,
    btf_target=_LSM_HOOK,
)
_ITER = _FENTRY._replace(
    name="iter",
    attach_type=_A.TRACE_ITER,
    since=(5, 8),
    config=_BTF,
    python_class="iterator:IteratorProgram",
    call=_C.ITERATOR,
    btf_target=_ITERATOR,
)
_STRUCT_OPS = AttachKindRow("struct_ops", _P.STRUCT_OPS, None, (5, 6), _BTF, takes_target=True)
_TC = AttachKindRow(
    "tc",
    _P.SCHED_CLS,
    None,
    (4, 1),
    f"{CLSACT}, or Linux 6.6",
    "tc:TcProgram",
    _T.INTERFACE,
    network=True,
)
_TCX_INGRESS = _TC._replace(
    name="tcx/ingress",
    attach_type=_A.TCX_INGRESS,
    since=(6, 6),
    config="CONFIG_NET_XGRESS",
    call=_C.INTERFACE,
)
_TCX_EGRESS = _TCX_INGRESS._replace(name="tcx/egress", attach_type=_A.TCX_EGRESS)
_NETKIT = _TCX_INGRESS._replace(
    name="netkit/primary",
    attach_type=_A.NETKIT_PRIMARY,
    since=(6, 7),
    config="CONFIG_NETKIT",
    python_class="netkit:NetkitProgram",
)
_XDP = AttachKindRow(
    "xdp",
    _P.XDP,
    _A.XDP,
    (5, 9),
    "",
    "xdp:XdpProgram",
    _T.INTERFACE,
    _C.INTERFACE,
    network=True,
)
_XDP_FRAGS = _XDP._replace(name="xdp.frags", since=(5, 18), xdp_frags=True)
# Attached by map entries.
_XDP_DEVMAP = _XDP._replace(
    name="xdp/devmap",
    attach_type=_A.XDP_DEVMAP,
    since=(5, 8),
    python_class="",
    target=None,
    call=None,
)
_XDP_CPUMAP = _XDP_DEVMAP._replace(name="xdp/cpumap", attach_type=_A.XDP_CPUMAP, since=(5, 9))
_LWT = AttachKindRow("lwt_in", _P.LWT_IN, None, (4, 10), "CONFIG_LWTUNNEL_BPF", network=True)
_SK_SKB = AttachKindRow(
    "sk_skb", _P.SK_SKB, None, (4, 14), _SOCKMAPS, "sockmap:SockmapProgram", network=True
)
_NETNS = AttachKindRow(
    "sk_lookup",
    _P.SK_LOOKUP,
    _A.SK_LOOKUP,
    (5, 9),
    "CONFIG_INET",
    "netns:NetnsProgram",
    _T.NETNS,
    _C.NETNS,
    network=True,
)
_CGROUP = AttachKindRow(
    "cgroup/skb",
    _P.CGROUP_SKB,
    None,
    (4, 10),
    "CONFIG_CGROUP_BPF",
    "cgroup:CgroupProgram",
    _T.CGROUP,
    _C.CGROUP,
    network=True,
)


def _cgroup(
    name: str, prog_type: ProgType, attach_type: AttachType, since: tuple[int, int]
) -> AttachKindRow:
    return _CGROUP._replace(name=name, prog_type=prog_type, attach_type=attach_type, since=since)


def _also(row: AttachKindRow, *names: str) -> tuple[AttachKindRow, ...]:
    """The row under its own name and under aliases."""
    return (row, *(row._replace(name=name) for name in names))


def _or_sleepable(
    row: AttachKindRow, since: tuple[int, int] | None = None
) -> tuple[AttachKindRow, ...]:
    """The row, and that of sleepable programs; `since` if those came later."""
    name = f"{row.name}.s"
    return (row, row._replace(name=name, sleepable=True, since=since or row.since))


def _sleepable_too(
    rows: tuple[AttachKindRow, ...], since: tuple[int, int]
) -> tuple[AttachKindRow, ...]:
    return tuple(one for row in rows for one in _or_sleepable(row, since))


# kernel/bpf/verifier.c, can_be_sleepable().
_SLEEPABLE_TRACEPOINTS = (7, 2)

# No name matches two rows. If only a type is known, the first row of that type counts.
ATTACH_KINDS: tuple[AttachKindRow, ...] = (
    *_also(_KPROBE, "kretprobe"),
    *_also(_KPROBE_MULTI, "kretprobe.multi"),
    _KPROBE_MULTI._replace(
        name="kprobe.session", attach_type=_A.TRACE_KPROBE_SESSION, since=(6, 10)
    ),
    _KPROBE._replace(name="ksyscall"),
    _KPROBE._replace(name="kretsyscall"),
    *_or_sleepable(_UPROBE, (6, 0)),
    *_or_sleepable(_UPROBE._replace(name="uretprobe"), (6, 0)),
    *_or_sleepable(_UPROBE_MULTI),
    *_or_sleepable(_UPROBE_MULTI._replace(name="uretprobe.multi")),
    *_or_sleepable(_UPROBE_SESSION),
    *_or_sleepable(_USDT, (6, 0)),
    *_sleepable_too(_also(_TP, "tp"), _SLEEPABLE_TRACEPOINTS),
    *_sleepable_too(_also(_RAW_TP, "raw_tp"), _SLEEPABLE_TRACEPOINTS),
    *(_RAW_TP_W._replace(name=name) for name in ("raw_tracepoint.w", "raw_tp.w")),
    *_or_sleepable(
        _FENTRY._replace(
            name="tp_btf", attach_type=_A.TRACE_RAW_TP, config=_BTF, btf_target=_TRACEPOINT
        ),
        _SLEEPABLE_TRACEPOINTS,
    ),
    *_or_sleepable(_FENTRY, (5, 10)),
    *_or_sleepable(_FMOD_RET, (5, 10)),
    *_or_sleepable(_FEXIT, (5, 10)),
    *_or_sleepable(_FSESSION),
    *_or_sleepable(_FENTRY_MULTI),
    *_or_sleepable(_FENTRY_MULTI._replace(name="fexit.multi", attach_type=_A.TRACE_FEXIT_MULTI)),
    *_or_sleepable(
        _FENTRY_MULTI._replace(name="fsession.multi", attach_type=_A.TRACE_FSESSION_MULTI)
    ),
    _FENTRY._replace(
        name="freplace",
        prog_type=_P.EXT,
        attach_type=None,
        since=(5, 6),
        python_class="freplace:FreplaceProgram",
        target=_T.PROGRAM,
        call=_C.REPLACE,
    ),
    *_or_sleepable(_LSM, (5, 10)),
    _LSM._replace(
        name="lsm_cgroup",
        attach_type=_A.LSM_CGROUP,
        since=(6, 0),
        python_class="cgroup:CgroupProgram",
        target=_T.CGROUP,
        call=_C.CGROUP,
        network=True,
    ),
    *_or_sleepable(_ITER, (6, 0)),
    AttachKindRow(
        "perf_event",
        _P.PERF_EVENT,
        since=(4, 9),
        config="CONFIG_PERF_EVENTS",
        python_class="perf_event:PerfEventProgram",
        call=_C.PERF_EVENT,
    ),
    AttachKindRow("syscall", _P.SYSCALL, since=(5, 14), sleepable=True),
    *_or_sleepable(_STRUCT_OPS, (6, 0)),
    AttachKindRow(
        "socket",
        _P.SOCKET_FILTER,
        since=(3, 19),
        config="CONFIG_NET",
        python_class="sockets:SocketProgram",
        network=True,
    ),
    *(
        AttachKindRow(
            name,
            _P.SK_REUSEPORT,
            attach_type,
            since=since,
            config="CONFIG_INET",
            python_class="sockets:SkReuseportProgram",
            network=True,
        )
        for name, attach_type, since in (
            ("sk_reuseport", _A.SK_REUSEPORT_SELECT, (4, 19)),
            ("sk_reuseport/migrate", _A.SK_REUSEPORT_SELECT_OR_MIGRATE, (5, 14)),
        )
    ),
    *_also(_TC, "classifier"),
    AttachKindRow("action", _P.SCHED_ACT, network=True),
    _TCX_INGRESS._replace(name="tc/ingress", since=_TC.since, config=_TC.config),
    _TCX_EGRESS._replace(name="tc/egress", since=_TC.since, config=_TC.config),
    _TCX_INGRESS,
    _TCX_EGRESS,
    _NETKIT,
    _NETKIT._replace(name="netkit/peer", attach_type=_A.NETKIT_PEER),
    _XDP,
    _XDP_DEVMAP,
    _XDP_CPUMAP,
    _XDP_FRAGS,
    _XDP_DEVMAP._replace(name="xdp.frags/devmap", since=(5, 18), xdp_frags=True),
    _XDP_CPUMAP._replace(name="xdp.frags/cpumap", since=(5, 18), xdp_frags=True),
    _LWT,
    _LWT._replace(name="lwt_out", prog_type=_P.LWT_OUT),
    _LWT._replace(name="lwt_xmit", prog_type=_P.LWT_XMIT),
    _LWT._replace(name="lwt_seg6local", prog_type=_P.LWT_SEG6LOCAL, since=(4, 18)),
    _cgroup("sockops", _P.SOCK_OPS, _A.CGROUP_SOCK_OPS, (4, 13)),
    _SK_SKB,
    _SK_SKB._replace(name="sk_skb/stream_parser", attach_type=_A.SK_SKB_STREAM_PARSER),
    _SK_SKB._replace(name="sk_skb/stream_verdict", attach_type=_A.SK_SKB_STREAM_VERDICT),
    _SK_SKB._replace(name="sk_skb/verdict", attach_type=_A.SK_SKB_VERDICT, since=(5, 13)),
    _SK_SKB._replace(
        name="sk_msg", prog_type=_P.SK_MSG, attach_type=_A.SK_MSG_VERDICT, since=(4, 17)
    ),
    _NETNS,
    AttachKindRow(
        "lirc_mode2", _P.LIRC_MODE2, _A.LIRC_MODE2, since=(4, 18), config="CONFIG_BPF_LIRC_MODE2"
    ),
    _NETNS._replace(
        name="flow_dissector",
        prog_type=_P.FLOW_DISSECTOR,
        attach_type=_A.FLOW_DISSECTOR,
        since=(5, 8),
        config="",
    ),
    AttachKindRow(
        "netfilter",
        _P.NETFILTER,
        _A.NETFILTER,
        since=(6, 4),
        config="CONFIG_NETFILTER_BPF_LINK",
        python_class="netfilter:NetfilterProgram",
        network=True,
    ),
    _cgroup("cgroup_skb/ingress", _P.CGROUP_SKB, _A.CGROUP_INET_INGRESS, (4, 10)),
    _cgroup("cgroup_skb/egress", _P.CGROUP_SKB, _A.CGROUP_INET_EGRESS, (4, 10)),
    _CGROUP,
    _cgroup("cgroup/sock", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_CREATE, (4, 10)),
    _cgroup("cgroup/sock_create", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_CREATE, (4, 10)),
    _cgroup("cgroup/sock_release", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_RELEASE, (5, 9)),
    _cgroup("cgroup/post_bind4", _P.CGROUP_SOCK, _A.CGROUP_INET4_POST_BIND, (4, 17)),
    _cgroup("cgroup/post_bind6", _P.CGROUP_SOCK, _A.CGROUP_INET6_POST_BIND, (4, 17)),
    _cgroup("cgroup/bind4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_BIND, (4, 17)),
    _cgroup("cgroup/bind6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_BIND, (4, 17)),
    _cgroup("cgroup/connect4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_CONNECT, (4, 17)),
    _cgroup("cgroup/connect6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_CONNECT, (4, 17)),
    _cgroup("cgroup/connect_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_CONNECT, (6, 7)),
    _cgroup("cgroup/sendmsg4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP4_SENDMSG, (4, 18)),
    _cgroup("cgroup/sendmsg6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP6_SENDMSG, (4, 18)),
    _cgroup("cgroup/sendmsg_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_SENDMSG, (6, 7)),
    _cgroup("cgroup/recvmsg4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP4_RECVMSG, (5, 2)),
    _cgroup("cgroup/recvmsg6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP6_RECVMSG, (5, 2)),
    _cgroup("cgroup/recvmsg_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_RECVMSG, (6, 7)),
    _cgroup("cgroup/getpeername4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_GETPEERNAME, (5, 8)),
    _cgroup("cgroup/getpeername6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_GETPEERNAME, (5, 8)),
    _cgroup("cgroup/getpeername_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_GETPEERNAME, (6, 7)),
    _cgroup("cgroup/getsockname4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_GETSOCKNAME, (5, 8)),
    _cgroup("cgroup/getsockname6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_GETSOCKNAME, (5, 8)),
    _cgroup("cgroup/getsockname_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_GETSOCKNAME, (6, 7)),
    _cgroup("cgroup/sysctl", _P.CGROUP_SYSCTL, _A.CGROUP_SYSCTL, (5, 2)),
    _cgroup("cgroup/getsockopt", _P.CGROUP_SOCKOPT, _A.CGROUP_GETSOCKOPT, (5, 3)),
    _cgroup("cgroup/setsockopt", _P.CGROUP_SOCKOPT, _A.CGROUP_SETSOCKOPT, (5, 3)),
    _cgroup("cgroup/dev", _P.CGROUP_DEVICE, _A.CGROUP_DEVICE, (4, 15)),
)

BY_NAME = {row.name: row for row in ATTACH_KINDS}
# Reversed, so that the first of several rows wins.
_BY_TYPES = {(row.prog_type, row.attach_type or 0): row for row in reversed(ATTACH_KINDS)}
_BY_PROG_TYPE = {row.prog_type: row for row in reversed(ATTACH_KINDS)}


def attach_kind_row(name: str, prog_type: int, attach_type: int) -> AttachKindRow | None:
    """The row of a program: by its section, else by both types, else by program type.

    `name` is a row's name, or any other text if the types do not come from a section name. None if
    the program type or attach type is newer than this table.
    """
    row = BY_NAME.get(name)
    # Uprobes and kprobes may have the same types: only names distinguish them.
    by_name = (_T.BINARY_FUNCTION, _T.PROBE)
    if row is not None and (row.prog_type, row.attach_type or 0) == (prog_type, attach_type):
        return row
    if row is not None and row.prog_type == prog_type and row.target in by_name:
        return row
    try:
        exact = (ProgType(prog_type), AttachType(attach_type))
    except ValueError:
        return None
    return _BY_TYPES.get(exact, _BY_PROG_TYPE.get(exact[0]))


def prog_types(*calls: AttachCall) -> frozenset[ProgType]:
    """The program types that these calls attach."""
    return frozenset(row.prog_type for row in ATTACH_KINDS if row.call in calls)


def attach_types(prog_type: ProgType) -> frozenset[AttachType]:
    """The attach types of section names for a program type; 0 if they have none."""
    return frozenset(
        AttachType(row.attach_type or 0) for row in ATTACH_KINDS if row.prog_type == prog_type
    )
