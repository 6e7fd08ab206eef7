"""netkit: programs of a virtual pair of interfaces, for the packets that its ends send."""

from __future__ import annotations

import errno
from enum import IntEnum

from lskel.bpf.enums import AttachType
from lskel.errors import UsageError, at
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.interface import interface_index
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.order import order
from lskel.runtime.attach.target import choice
from lskel.runtime.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.order import Neighbour

_HINTS = {
    errno.EINVAL: "netkit needs Linux 6.7 and CONFIG_NETKIT",
    errno.ENXIO: "not a netkit interface",
    errno.EACCES: "use the pair's primary interface, also for programs of its peer",
    errno.ENOENT: "the neighbour is not attached to it",
    errno.EEXIST: "the program is already attached to it",
}


class NetkitEnd(IntEnum):
    """The end whose outgoing packets the program sees."""

    PRIMARY = AttachType.NETKIT_PRIMARY
    PEER = AttachType.NETKIT_PEER


def attach_netkit(
    prog_fd: int,
    interface: str | int,
    end: NetkitEnd | str,
    *,
    before: Neighbour | None = None,
    after: Neighbour | None = None,
) -> BpfLink:
    """Attach to a pair by its primary interface, by name or index. Linux 6.7.

    `end` may be given by name: "primary", "peer". At the end of the list, or next to a neighbour
    (see `order`). NotFound if the interface does not exist, BpfError if the kernel refuses: ENXIO
    if it is not netkit.
    """
    end = choice(NetkitEnd, end, "end of a netkit pair")
    flags, relative = order(before, after)
    index = interface_index(interface)
    with at(f"interface {interface}"), with_hints(_HINTS):
        return link_create(prog_fd, index, AttachType(end), flags, netkit_relative_fd=relative)


class NetkitProgram(Program):
    """A program of ``SEC("netkit/primary")`` or ``SEC("netkit/peer")``."""

    def attach(  # type: ignore[override]
        self,
        interface: str | int,
        end: NetkitEnd | str | None = None,
        *,
        before: Neighbour | None = None,
        after: Neighbour | None = None,
    ) -> BpfLink:
        """Attach to a pair by its primary interface, by name or index, until the link is closed.

        `end` defaults to that of the section name. Raises the errors of `attach_netkit`.
        """
        if end is None:
            if self.definition.attach_type not in NetkitEnd._value2member_map_:
                raise UsageError(
                    f"program '{self.name}' has no end: expected primary or peer",
                    hint='use attach(interface, "primary"), or SEC("netkit/primary")',
                )
            end = NetkitEnd(self.definition.attach_type)
        link = attach_netkit(self.fileno(), interface, end, before=before, after=after)
        self.attached(link)
        return link
