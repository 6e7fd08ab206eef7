"""Network namespace programs: socket lookup and flow dissector."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.errors import UsageError, at
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.target_fd import target_fd
from lskel.runtime.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.target_fd import Target

# Per thread: threads of a process may be in different namespaces.
_OWN = "/proc/thread-self/ns/net"

_HINTS = {
    errno.EINVAL: "not a network namespace; paths are in /run/netns and /proc/PID/ns",
    errno.EEXIST: "a flow dissector is attached, here or in the initial network namespace",
    errno.E2BIG: "the network namespace has the maximum number of programs of this kind",
}


def attach_netns(prog_fd: int, netns: Target, attach_type: AttachType) -> BpfLink:
    """Attach to a network namespace: a path such as /run/netns/NAME, or an fd.

    Linux 5.8 for flow dissectors (at most one), 5.9 for socket lookup (at most 64). NotFound if the
    path does not exist, BpfError if the kernel refuses.
    """
    place = f"network namespace {netns}" if not isinstance(netns, int) else f"fd {netns}"
    with target_fd(netns, "network namespace") as fd, at(place), with_hints(_HINTS):
        return link_create(prog_fd, fd, attach_type)


class NetnsProgram(Program):
    """A program of ``SEC("sk_lookup")`` or ``SEC("flow_dissector")``.

    Its section name has no target, so attach() of a collection skips it, as libbpf does.
    """

    def attach(self, netns: Target | None = None, *, pid: int | None = None) -> BpfLink:
        """Attach to a network namespace until the link is closed: by default that of the thread.

        Or to that of process `pid`, or to one by path or fd. Raises the errors of `attach_netns`.
        """
        if netns is not None and pid is not None:
            raise UsageError("'netns' and 'pid' are exclusive")
        if netns is None:
            netns = _OWN if pid is None else f"/proc/{pid}/ns/net"
        link = attach_netns(self.fileno(), netns, AttachType(self.definition.attach_type))
        self.attached(link)
        return link
