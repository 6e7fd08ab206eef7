"""Programs with a BTF attach target at load time: functions, tracepoints, LSM hooks."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.raw_tracepoint import raw_tracepoint_open
from lskel.runtime.btf_target import BtfTargetProgram

HINTS = {
    errno.E2BIG: "the function has the maximum number of programs",
    errno.EOPNOTSUPP: "the kernel of this architecture cannot attach to functions",
}


def busy_hint(prog_fd: int) -> str:
    """Why the kernel refused with EBUSY."""
    # Imported on use: it reads BTF.
    from lskel.runtime.attach.busy import why_busy

    return why_busy(prog_fd)


def attach_tracing(prog_fd: int, attach_type: AttachType, *, cookie: int = 0) -> BpfLink:
    """Attach to the target that the program was loaded for.

    Linux 5.5; cookies 5.19, for tracepoints (TRACE_RAW_TP) 6.10. BpfError if the kernel refuses.
    """
    with with_hints({**HINTS, errno.EBUSY: lambda: busy_hint(prog_fd)}):
        # Without a cookie, LINK_CREATE works too, but not in every kernel with these attach types;
        # for tracepoints, some kernels ignore the cookie.
        if not cookie or attach_type == AttachType.TRACE_RAW_TP:
            return raw_tracepoint_open(prog_fd, cookie=cookie)
        return link_create(prog_fd, 0, attach_type, tracing_cookie=cookie)


class TracingProgram(BtfTargetProgram):
    """A program of ``SEC("fentry/...")``, "fexit", "fsession", "fmod_ret", "tp_btf" or "lsm"."""

    def attaches_itself(self) -> bool:
        """Always: its target is known since it was loaded."""
        return True

    def attach(self, *, cookie: int = 0) -> BpfLink:
        """Attach to the target that it was loaded for, until the link is closed.

        ``bpf_get_attach_cookie`` returns `cookie`. Raises the errors of `attach_tracing`.
        """
        link = attach_tracing(self.fileno(), AttachType(self.definition.attach_type), cookie=cookie)
        self.attached(link)
        return link
