"""Netfilter: programs that see packets where the rules of nftables do."""

from __future__ import annotations

import errno
from enum import IntEnum

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import NetfilterFlag
from lskel.runtime.attach.given import choice
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.linked import LinkedProgram
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd

_HINTS = {
    errno.EBUSY: "a BPF program has this priority on this hook already",
    errno.ERANGE: "the first and the last priority are taken; defragmented packets are there from "
    "-399 on",
    errno.EINVAL: "before Linux 6.4 there are no such programs, before 6.6 no defragmentation",
    errno.EAFNOSUPPORT: "the kernel lacks defragmentation for this family",
}


class NetfilterFamily(IntEnum):
    """NFPROTO_* of uapi/linux/netfilter.h."""

    IPV4 = 2
    IPV6 = 10


class NetfilterHook(IntEnum):
    """Where in a packet's way: NF_INET_* of uapi/linux/netfilter.h."""

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
) -> Fd:
    """Attach to a hook in the network namespace of the calling thread. Linux 6.4.

    Both may be given by name: "ipv4", "pre_routing". Hooks run by `priority`, the lowest first; 0
    is that of packet filters. With `defrag` (6.6) the program sees no fragments. BpfError where
    the kernel refuses.
    """
    family = choice(NetfilterFamily, family, "protocol family")
    hook = choice(NetfilterHook, hook, "netfilter hook")
    with explained(_HINTS):
        return link_create(
            prog_fd,
            0,
            AttachType.NETFILTER,
            netfilter_pf=family,
            netfilter_hooknum=hook,
            netfilter_priority=priority,
            netfilter_flags=NetfilterFlag.IP_DEFRAG if defrag else 0,
        )


class NetfilterProgram(LinkedProgram):
    """A program of ``SEC("netfilter")``, whose name does not say on which hook."""

    def attach(  # type: ignore[override]
        self,
        family: NetfilterFamily | str,
        hook: NetfilterHook | str,
        *,
        priority: int = 0,
        defrag: bool = False,
    ) -> Fd:
        """Attach to a hook until the link is closed; as `attach_netfilter` does."""
        link = attach_netfilter(self.fileno(), family, hook, priority=priority, defrag=defrag)
        self.attached(link)
        return link
