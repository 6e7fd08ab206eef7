"""Programs of perf events: what probes, tracepoints and counters have in common."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.errors import LskelError
from lskel.runtime import perf
from lskel.runtime.attach.link import link_create
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError


def attach_perf_event(prog_fd: int, event: Fd, cookie: int = 0) -> Fd:
    """Run a program on each event until the result is closed; takes over the event's fd.

    A link (Linux 5.15), or without a cookie the event itself. KernelError where the kernel refuses.
    """
    link: Fd | None = None
    try:
        link = _attach(prog_fd, event, cookie)
        return link
    finally:
        if link is not event:
            event.close()


def _attach(prog_fd: int, event: Fd, cookie: int) -> Fd:
    fields = {"perf_event_bpf_cookie": cookie} if cookie else {}
    try:
        return link_create(prog_fd, event.fileno(), AttachType.PERF_EVENT, **fields)
    except BpfError as error:
        if error.errno != errno.EINVAL:
            raise
        if cookie:
            hint = "before Linux 5.15 there were no cookies for it"
            raise LskelError(error.what, hint=hint) from error
    # Before 5.15 there were no such links: the event itself holds the program.
    perf.set_bpf(event.fileno(), prog_fd)
    perf.enable(event.fileno())
    return event
