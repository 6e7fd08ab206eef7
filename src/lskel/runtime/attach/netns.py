"""Programs of a network namespace: socket lookup and flow dissector."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.errors import UsageError, at
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.linked import LinkedProgram
from lskel.runtime.attach.opened import opened
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.opened import Target

# Of the thread: a process's threads may be in different ones.
_OWN = "/proc/thread-self/ns/net"

_HINTS = {
    errno.EINVAL: "that is not a network namespace; there are paths in /run/netns and /proc/PID/ns",
    errno.EEXIST: "there is a flow dissector, here or in the initial network namespace",
    errno.E2BIG: "the network namespace has all the programs of this kind that it takes",
}


def attach_netns(prog_fd: int, netns: Target, attach_type: AttachType) -> Fd:
    """Attach to a network namespace: a path such as /run/netns/NAME, or an fd.

    Linux 5.8 for flow dissectors, of which there may be one, 5.9 for socket lookup, 64. NotFound
    where there is no such path, BpfError where the kernel refuses.
    """
    place = f"network namespace {netns}" if not isinstance(netns, int) else f"fd {netns}"
    with opened(netns, "network namespace") as fd, at(place), explained(_HINTS):
        return link_create(prog_fd, fd, attach_type)


class NetnsProgram(LinkedProgram):
    """A program of ``SEC("sk_lookup")`` or ``SEC("flow_dissector")``.

    Its section's name does not say where it belongs, so that a skeleton's attach() leaves it out,
    as libbpf's does.
    """

    def attach(self, netns: Target | None = None, *, pid: int | None = None) -> Fd:
        """Attach to a network namespace until the link is closed: by default the thread's own.

        Or to that of a process by its `pid`, or one by a path or an fd. Raises what `attach_netns`
        does.
        """
        if netns is not None and pid is not None:
            raise UsageError("a network namespace is given by itself or by a pid, not both")
        if netns is None:
            netns = _OWN if pid is None else f"/proc/{pid}/ns/net"
        link = attach_netns(self.fileno(), netns, AttachType(self.definition.attach_type))
        self.attached(link)
        return link
