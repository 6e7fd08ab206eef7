"""netkit: programs that are part of a virtual pair of interfaces, and see what its ends send."""

from __future__ import annotations

import errno
from enum import IntEnum

from lskel.bpf.enums import AttachType
from lskel.errors import UsageError, at
from lskel.runtime.attach.given import choice
from lskel.runtime.attach.interface import interface_index
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.linked import LinkedProgram
from lskel.runtime.attach.order import order
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.order import Neighbour

_HINTS = {
    errno.EINVAL: "the kernel has no netkit: Linux 6.7, CONFIG_NETKIT",
    errno.ENXIO: "that is no netkit interface",
    errno.EACCES: "programs are attached by the pair's primary interface, for its peer, too",
    errno.ENOENT: "the neighbour is not attached there",
    errno.EEXIST: "the program is attached there already",
}


class NetkitEnd(IntEnum):
    """Which end's packets the program sees: those that it sends to the other end."""

    PRIMARY = AttachType.NETKIT_PRIMARY
    PEER = AttachType.NETKIT_PEER


def attach_netkit(
    prog_fd: int,
    interface: str | int,
    end: NetkitEnd | str,
    *,
    before: Neighbour | None = None,
    after: Neighbour | None = None,
) -> Fd:
    """Attach to a pair by its primary interface, by name or number. Linux 6.7.

    `end` may be given by name: "primary", "peer". The program comes last, or next to the neighbour
    given (see `order`). NotFound where there is no such interface, BpfError where the kernel
    refuses: ENXIO if it is not of that kind.
    """
    end = choice(NetkitEnd, end, "end of a netkit pair")
    flags, relative = order(before, after)
    index = interface_index(interface)
    with at(f"interface {interface}"), explained(_HINTS):
        return link_create(prog_fd, index, AttachType(end), flags, netkit_relative_fd=relative)


class NetkitProgram(LinkedProgram):
    """A program of ``SEC("netkit/primary")`` or ``SEC("netkit/peer")``."""

    def attach(  # type: ignore[override]
        self,
        interface: str | int,
        end: NetkitEnd | str | None = None,
        *,
        before: Neighbour | None = None,
        after: Neighbour | None = None,
    ) -> Fd:
        """Attach to a pair by its primary interface, by name or number, until the link is closed.

        `end` may be left out where the section's name says it. Raises what `attach_netkit` does.
        """
        if end is None:
            if self.definition.attach_type not in NetkitEnd._value2member_map_:
                raise UsageError(
                    f"program '{self.name}' does not say which end's packets it is for",
                    hint='attach(interface, "primary"), or SEC("netkit/primary")',
                )
            end = NetkitEnd(self.definition.attach_type)
        link = attach_netkit(self.fileno(), interface, end, before=before, after=after)
        self.attached(link)
        return link
