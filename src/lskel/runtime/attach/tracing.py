"""Programs that were loaded for what they attach to: functions, tracepoints, LSM hooks by BTF."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.raw_tracepoint import raw_tracepoint_open
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd
from lskel.runtime.program import Program

HINTS = {
    errno.E2BIG: "the function has all the programs that it takes",
    errno.EBUSY: "another program replaces the function, or something else has patched it",
    errno.EOPNOTSUPP: "this machine's kernel cannot attach to functions in this way",
}


def attach_tracing(prog_fd: int, attach_type: AttachType, *, cookie: int = 0) -> Fd:
    """Attach to what the program was loaded for.

    Linux 5.5; with a cookie 5.19, for tracepoints (TRACE_RAW_TP) 6.10. BpfError where the kernel
    refuses.
    """
    with explained(HINTS):
        # LINK_CREATE does without a cookie, too, but not in every kernel that has these kinds; and
        # for tracepoints there are kernels where it forgets the cookie.
        if not cookie or attach_type == AttachType.TRACE_RAW_TP:
            return raw_tracepoint_open(prog_fd, cookie=cookie)
        return link_create(prog_fd, 0, attach_type, tracing_cookie=cookie)


class TracingProgram(Program):
    """A program of ``SEC("fentry/...")``, "fexit", "fmod_ret", "tp_btf", "lsm"."""

    def attaches_itself(self) -> bool:
        """Always: it cannot be loaded without its target."""
        return True

    def attach(self, *, cookie: int = 0) -> Fd:
        """Attach to what it was loaded for until the link is closed.

        `cookie` is what ``bpf_get_attach_cookie`` returns. Raises what `attach_tracing` does.
        """
        link = attach_tracing(self.fileno(), AttachType(self.definition.attach_type), cookie=cookie)
        self.attached(link)
        return link
