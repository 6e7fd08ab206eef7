"""Programs that take the place of a function of another BPF program."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.raw_tracepoint import raw_tracepoint_open
from lskel.runtime.attach.refusals import explained
from lskel.runtime.attach.tracing import HINTS
from lskel.runtime.objects import Fd
from lskel.runtime.program import Program

_HINTS = {
    **HINTS,
    errno.EINVAL: "it attaches once to the function that it was loaded for; others must take and "
    "return the same",
}


def attach_freplace(prog_fd: int, target_fd: int = 0, btf_id: int = 0) -> Fd:
    """Take the place of the function that the program was loaded for. Linux 5.6.

    Or of another one of the same arguments and result: `btf_id` in the BTF of the program of
    `target_fd` (5.10). BpfError where the kernel refuses.
    """
    with explained(_HINTS):
        if not target_fd:
            return raw_tracepoint_open(prog_fd)
        return link_create(prog_fd, target_fd, AttachType.CGROUP_INET_INGRESS, target_btf_id=btf_id)


class FreplaceProgram(Program):
    """A program of ``SEC("freplace/...")``: it takes the place of a function of another program."""

    def attaches_itself(self) -> bool:
        """Always: it cannot be loaded without its target."""
        return True

    def attach(self, target: str | None = None, *, trust_pins: bool = False) -> Fd:
        """Attach to the function that it was loaded for until the link is closed.

        Or to that of another program: ``PROGRAM[:FUNCTION]``, as `Program.target` is (5.10); with
        `trust_pins` by a pin that others may have put there, too.
        UsageError, NotFound for a wrong target; else raises what `attach_freplace` does.
        """
        if target is None:
            link = attach_freplace(self.fileno())
        else:
            from contextlib import ExitStack

            from lskel.runtime.attach_point import in_program

            with ExitStack() as stack:
                function = self.definition.target
                point = in_program(target, function, stack, trust_pins=trust_pins)
                link = attach_freplace(self.fileno(), point.fd, point.btf_id)
        self.attached(link)
        return link
