"""XDP: programs that see a network interface's packets before anything else does."""

from __future__ import annotations

import errno
from enum import IntEnum

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import XdpFlag
from lskel.errors import at
from lskel.runtime.attach.given import choice
from lskel.runtime.attach.interface import interface_index
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.linked import LinkedProgram
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd

_HINTS = {
    errno.EBUSY: "the interface has an XDP program: 'ip link show' says which",
    errno.EEXIST: "a program runs there in another mode, or on an interface above this one",
    errno.EOPNOTSUPP: 'the driver lacks this mode; "generic" needs no driver',
    errno.EINVAL: "before Linux 5.9 XDP had no links; drivers refuse so, too, as for a large MTU",
}


class XdpMode(IntEnum):
    """Where the program runs: XDP_FLAGS_* of uapi/linux/if_link.h."""

    #: In the driver where that can, else as GENERIC.
    AUTO = 0
    #: In the network stack, which has made an skb of the packet: any interface, slower.
    GENERIC = XdpFlag.SKB_MODE
    #: In the interface's driver.
    NATIVE = XdpFlag.DRV_MODE
    #: On the network card; the program must have been loaded for it.
    OFFLOAD = XdpFlag.HW_MODE


def attach_xdp(prog_fd: int, interface: str | int, mode: XdpMode | str = XdpMode.AUTO) -> Fd:
    """Attach to an interface, by name or number. Linux 5.9.

    `mode` may be given by name: "generic", "native", "offload". UnknownName lists them.
    NotFound where there is no such interface, BpfError where the kernel refuses: EBUSY if it has
    a program in this mode already.
    """
    mode = choice(XdpMode, mode, "XDP mode")
    index = interface_index(interface)
    with at(f"interface {interface}"), explained(_HINTS):
        return link_create(prog_fd, index, AttachType.XDP, mode)


class XdpProgram(LinkedProgram):
    """A program of ``SEC("xdp")``, whose name does not say on which interface."""

    def attach(  # type: ignore[override]
        self, interface: str | int, mode: XdpMode | str = XdpMode.AUTO
    ) -> Fd:
        """Attach to an interface, by name or number, until the link is closed.

        Raises what `attach_xdp` does.
        """
        link = attach_xdp(self.fileno(), interface, mode)
        self.attached(link)
        return link
