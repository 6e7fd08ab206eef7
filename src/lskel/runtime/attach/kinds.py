"""Which class is for which program: by how it is loaded, by its section where that says too little.

As paths, ``module:Class``, so that nothing is imported until it is needed.
"""

from __future__ import annotations

from lskel.bpf.enums import AttachType, ProgType
from lskel.runtime.program import Program

_ROOM = "lskel.runtime.attach."

# For the kernel, probes of functions of user space are programs of type KPROBE.
_BY_SECTION = {
    "uprobe": "uprobe:UprobeProgram",
    "uprobe.s": "uprobe:UprobeProgram",
    "uretprobe": "uprobe:UprobeProgram",
    "uretprobe.s": "uprobe:UprobeProgram",
    "usdt": "usdt:UsdtProgram",
    "usdt.s": "usdt:UsdtProgram",
}

# Types that have one class, but for the attach types of the next table.
_BY_TYPE = {
    ProgType.KPROBE: "kprobe:KprobeProgram",
    ProgType.TRACEPOINT: "tracepoint:TracepointProgram",
    ProgType.RAW_TRACEPOINT: "raw_tracepoint:RawTracepointProgram",
    ProgType.RAW_TRACEPOINT_WRITABLE: "raw_tracepoint:RawTracepointProgram",
    ProgType.TRACING: "tracing:TracingProgram",
    ProgType.LSM: "tracing:TracingProgram",
    ProgType.EXT: "freplace:FreplaceProgram",
    ProgType.PERF_EVENT: "perf_event:PerfEventProgram",
    ProgType.XDP: "xdp:XdpProgram",
    ProgType.SCHED_CLS: "tc:TcProgram",
    ProgType.NETFILTER: "netfilter:NetfilterProgram",
    ProgType.SK_LOOKUP: "netns:NetnsProgram",
    ProgType.FLOW_DISSECTOR: "netns:NetnsProgram",
    ProgType.SK_SKB: "sockmap:SockmapProgram",
    ProgType.SK_MSG: "sockmap:SockmapProgram",
    ProgType.SOCKET_FILTER: "sockets:SocketProgram",
    ProgType.SK_REUSEPORT: "sockets:SkReuseportProgram",
    ProgType.SOCK_OPS: "cgroup:CgroupProgram",
    ProgType.CGROUP_SKB: "cgroup:CgroupProgram",
    ProgType.CGROUP_SOCK: "cgroup:CgroupProgram",
    ProgType.CGROUP_SOCK_ADDR: "cgroup:CgroupProgram",
    ProgType.CGROUP_SOCKOPT: "cgroup:CgroupProgram",
    ProgType.CGROUP_SYSCTL: "cgroup:CgroupProgram",
    ProgType.CGROUP_DEVICE: "cgroup:CgroupProgram",
}
_BY_ATTACH_TYPE = {
    (ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI): "kprobe:KprobeMultiProgram",
    (ProgType.KPROBE, AttachType.TRACE_KPROBE_SESSION): "kprobe:KprobeMultiProgram",
    (ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI): "uprobe:UprobeMultiProgram",
    (ProgType.KPROBE, AttachType.TRACE_UPROBE_SESSION): "uprobe:UprobeMultiProgram",
    (ProgType.TRACING, AttachType.TRACE_ITER): "iterator:IteratorProgram",
    (ProgType.LSM, AttachType.LSM_CGROUP): "cgroup:CgroupProgram",
    (ProgType.SCHED_CLS, AttachType.NETKIT_PRIMARY): "netkit:NetkitProgram",
    (ProgType.SCHED_CLS, AttachType.NETKIT_PEER): "netkit:NetkitProgram",
    # Entries of a map refer to these.
    (ProgType.XDP, AttachType.XDP_DEVMAP): "",
    (ProgType.XDP, AttachType.XDP_CPUMAP): "",
}


def class_path(kind: str, prog_type: int, attach_type: int) -> str:
    """``module:Class`` for such a program; "" for `Program`, which does not attach.

    `kind` is the first part of its section's name, as in `ProgramDefinition`; any other text where
    the object was given the types in another way.
    """
    try:
        exact = (ProgType(prog_type), AttachType(attach_type))
    except ValueError:
        return ""
    name = _BY_SECTION.get(kind) or _BY_ATTACH_TYPE.get(exact, _BY_TYPE.get(exact[0], ""))
    return name and _ROOM + name


def program_class(kind: str, prog_type: int, attach_type: int) -> type[Program]:
    """The class that `class_path` names."""
    path = class_path(kind, prog_type, attach_type)
    if not path:
        return Program
    from importlib import import_module

    module, _, name = path.partition(":")
    found: type[Program] = getattr(import_module(module), name)
    return found
