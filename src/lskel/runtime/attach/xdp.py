"""XDP: programs for packets of a network interface, before the network stack."""

from __future__ import annotations

import errno
from enum import IntEnum

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import XdpFlag
from lskel.errors import at
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.interface import interface_index
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.target import choice
from lskel.runtime.program import Program

_HINTS = {
    errno.EBUSY: "the interface has an XDP program, see 'ip link show'",
    errno.EEXIST: "a program is attached in another mode, or to an upper interface",
    errno.EOPNOTSUPP: 'the driver lacks this mode; "generic" needs no driver support',
    errno.EINVAL: "XDP links need Linux 5.9; or the driver refuses, e.g. for a large MTU",
}


class XdpMode(IntEnum):
    """XDP modes: XDP_FLAGS_* of uapi/linux/if_link.h."""

    #: In the driver if supported, else as GENERIC.
    AUTO = 0
    #: In the network stack, after the skb is allocated: any interface, slower.
    GENERIC = XdpFlag.SKB_MODE
    #: In the driver.
    NATIVE = XdpFlag.DRV_MODE
    #: Offloaded to the network card; the program must have been loaded for it.
    OFFLOAD = XdpFlag.HW_MODE


def attach_xdp(prog_fd: int, interface: str | int, mode: XdpMode | str = XdpMode.AUTO) -> BpfLink:
    """Attach to an interface, by name or index. Linux 5.9.

    `mode` may be given by name: "generic", "native", "offload". UnknownName lists them.
    NotFound if the interface does not exist, BpfError if the kernel refuses: EBUSY if it already
    has a program in this mode.
    """
    mode = choice(XdpMode, mode, "XDP mode")
    index = interface_index(interface)
    with at(f"interface {interface}"), with_hints(_HINTS):
        return link_create(prog_fd, index, AttachType.XDP, mode)


class XdpProgram(Program):
    """A program of ``SEC("xdp")``, which has no interface in its name."""

    def attach(  # type: ignore[override]
        self, interface: str | int, mode: XdpMode | str = XdpMode.AUTO
    ) -> BpfLink:
        """Attach to an interface, by name or index, until the link is closed.

        Raises the errors of `attach_xdp`.
        """
        link = attach_xdp(self.fileno(), interface, mode)
        self.attached(link)
        return link
