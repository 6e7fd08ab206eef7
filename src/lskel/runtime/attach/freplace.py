"""Programs that replace a function of another BPF program."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.raw_tracepoint import raw_tracepoint_open
from lskel.runtime.attach.tracing import HINTS, busy_hint
from lskel.runtime.program import Program

_HINTS = {
    **HINTS,
    errno.EINVAL: "it attaches once to the function that it was loaded for; others must have the "
    "same signature",
}


def attach_freplace(prog_fd: int, target_fd: int = 0, btf_id: int = 0) -> BpfLink:
    """Replace the function that the program was loaded for. Linux 5.6.

    Or another one of the same signature: `btf_id` in the BTF of the program of `target_fd` (5.10).
    BpfError if the kernel refuses.
    """
    with with_hints({**_HINTS, errno.EBUSY: lambda: busy_hint(prog_fd)}):
        if not target_fd:
            return raw_tracepoint_open(prog_fd)
        return link_create(prog_fd, target_fd, AttachType.CGROUP_INET_INGRESS, target_btf_id=btf_id)


class FreplaceProgram(Program):
    """A program of ``SEC("freplace/...")``: it replaces a function of another program."""

    def attaches_itself(self) -> bool:
        """Always: its target is known since it was loaded."""
        return True

    def attach(self, target: str | None = None, *, trust_pins: bool = False) -> BpfLink:
        """Attach to the function that it was loaded for, until the link is closed.

        Or to that of another program: ``PROGRAM[:FUNCTION]``, as `Program.target` (5.10); with
        `trust_pins` also by a pin that other users could have created. UsageError or NotFound for a
        wrong target; else the errors of `attach_freplace`.
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
