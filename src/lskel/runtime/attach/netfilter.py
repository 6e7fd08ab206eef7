"""Netfilter: programs at the hooks of nftables rules."""

from __future__ import annotations

import errno
from enum import IntEnum

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import NetfilterFlag
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.target import choice
from lskel.runtime.program import Program

_HINTS = {
    errno.EBUSY: "a BPF program with this priority exists on this hook",
    errno.ERANGE: "the minimum and maximum priorities are reserved; 'defrag' needs a priority "
    "above -400",
    errno.EINVAL: "such programs need Linux 6.4, 'defrag' 6.6",
    errno.EAFNOSUPPORT: "the kernel lacks defragmentation for this protocol family",
}


class NetfilterFamily(IntEnum):
    """NFPROTO_* of uapi/linux/netfilter.h."""

    IPV4 = 2
    IPV6 = 10


class NetfilterHook(IntEnum):
    """The hook in the packet path: NF_INET_* of uapi/linux/netfilter.h."""

    PRE_ROUTING = 0
    LOCAL_IN = 1
    FORWARD = 2
    LOCAL_OUT = 3
    POST_ROUTING = 4


def attach_netfilter(
    prog_fd: int,
    family: NetfilterFamily | str,
    hook: NetfilterHook | str,
    *,
    priority: int = 0,
    defrag: bool = False,
) -> BpfLink:
    """Attach to a hook in the network namespace of the calling thread. Linux 6.4.

    Both may be given by name: "ipv4", "pre_routing". Programs run by `priority`, the lowest first;
    0 is that of packet filters. With `defrag` (6.6) packets are defragmented first. BpfError if the
    kernel refuses.
    """
    family = choice(NetfilterFamily, family, "protocol family")
    hook = choice(NetfilterHook, hook, "netfilter hook")
    with with_hints(_HINTS):
        return link_create(
            prog_fd,
            0,
            AttachType.NETFILTER,
            netfilter_pf=family,
            netfilter_hooknum=hook,
            netfilter_priority=priority,
            netfilter_flags=NetfilterFlag.IP_DEFRAG if defrag else 0,
        )


class NetfilterProgram(Program):
    """A program of ``SEC("netfilter")``, which has no hook in its name."""

    def attach(  # type: ignore[override]
        self,
        family: NetfilterFamily | str,
        hook: NetfilterHook | str,
        *,
        priority: int = 0,
        defrag: bool = False,
    ) -> BpfLink:
        """Attach to a hook until the link is closed, as `attach_netfilter`."""
        link = attach_netfilter(self.fileno(), family, hook, priority=priority, defrag=defrag)
        self.attached(link)
        return link
