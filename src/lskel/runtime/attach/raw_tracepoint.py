"""Raw tracepoints: programs with a tracepoint's raw arguments."""

from __future__ import annotations

import errno

from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import RAW_TRACEPOINT
from lskel.errors import NotFound
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink
from lskel.runtime.attach.target import target_of
from lskel.runtime.program import Program
from lskel.runtime.syscall import BpfError, address_of, bpf, host_attr

_NO_COOKIE = {errno.EINVAL: "cookies of raw tracepoints need Linux 6.10"}


def raw_tracepoint_open(prog_fd: int, name: bytes = b"", cookie: int = 0) -> BpfLink:
    """BPF_RAW_TRACEPOINT_OPEN (Linux 4.17); BpfError if the kernel refuses.

    `name` is NUL-terminated; it is empty for programs that were loaded for their target.
    """
    # Kernels without cookies need a shorter attr.
    attr = host_attr(
        RAW_TRACEPOINT,
        "cookie" if cookie else "prog_fd",
        name=address_of(name),
        prog_fd=prog_fd,
        **({"cookie": cookie} if cookie else {}),
    )
    with with_hints(_NO_COOKIE if cookie else {}):
        return BpfLink(bpf(Cmd.RAW_TRACEPOINT_OPEN, attr))


def attach_raw_tracepoint(prog_fd: int, tracepoint: str, *, cookie: int = 0) -> BpfLink:
    """Attach to a tracepoint, such as "sched_switch". Linux 4.17, cookies 6.10.

    NotFound if the kernel has no such tracepoint, BpfError if it refuses.
    """
    try:
        return raw_tracepoint_open(prog_fd, tracepoint.encode() + b"\0", cookie)
    except BpfError as error:
        if error.errno == errno.ENOENT:
            raise NotFound(f"the kernel has no raw tracepoint {tracepoint}") from error
        raise


class RawTracepointProgram(Program):
    """A program of ``SEC("raw_tp/...")`` or ``SEC("raw_tp.w/...")``."""

    def attaches_itself(self) -> bool:
        """Whether the section name has a tracepoint."""
        return bool(self.definition.target)

    def attach(self, tracepoint: str | None = None, *, cookie: int = 0) -> BpfLink:
        """Attach to a tracepoint, by default that of the section name, until the link is closed.

        ``bpf_get_attach_cookie`` returns `cookie`. UsageError without a tracepoint; else the errors
        of `attach_raw_tracepoint`.
        """
        target = target_of(self, tracepoint, "a tracepoint", "raw_tp/sched_switch")
        link = attach_raw_tracepoint(self.fileno(), target, cookie=cookie)
        self.attached(link)
        return link
