"""Attaching to perf events: the base of probes, tracepoints and counters."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.errors import LskelError
from lskel.runtime import perf
from lskel.runtime.attach.link import BpfLink, Link, link_create
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError


class PerfEventLink(BpfLink):
    """A perf event that holds its program itself, before Linux 5.15: not a link of bpf(2)."""

    __slots__ = ()
    pin, update, info = Link.pin, Link.update, Link.info


def attach_perf_event(prog_fd: int, event: Fd, cookie: int = 0) -> BpfLink:
    """Run a program on each event until the result is closed; takes ownership of the event's fd.

    Returns a link (Linux 5.15), on older kernels a `PerfEventLink`, without cookies. KernelError if
    the kernel refuses.
    """
    with event:
        return _attach(prog_fd, event, cookie)


def _attach(prog_fd: int, event: Fd, cookie: int) -> BpfLink:
    fields = {"perf_event_bpf_cookie": cookie} if cookie else {}
    try:
        return link_create(prog_fd, event.fileno(), AttachType.PERF_EVENT, **fields)
    except BpfError as error:
        if error.errno != errno.EINVAL:
            raise
        if cookie:
            hint = "cookies need Linux 5.15"
            raise LskelError(error.what, hint=hint) from error
    # Before 5.15 there are no perf links: the event itself holds the program.
    perf.set_bpf(event.fileno(), prog_fd)
    perf.enable(event.fileno())
    return PerfEventLink(event.release())
