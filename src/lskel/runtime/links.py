"""Attaching programs. A link is an `Fd`: closing it detaches, unless the link was pinned."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from lskel.bpf.enums import AttachType, Cmd, ProgType
from lskel.bpf.layouts import LINK_CREATE, RAW_TRACEPOINT
from lskel.errors import LskelError, NotFound, UsageError, at
from lskel.named import NamedTuple
from lskel.runtime import perf
from lskel.runtime.cpus import online_cpus
from lskel.runtime.files import read_text
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError, address_of, bpf, host_attr

TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


def attach(prog_fd: int, prog_type: int, attach_type: int, target: str) -> Fd:
    """Attach a program of a kind that says itself where it belongs.

    `attach_type` is the expected one it was loaded with (0 for those without), `target` what its
    section name says after the kind: a tracepoint ("sched_switch", or "sched/sched_switch" for
    TRACEPOINT programs), a function, an iterator. UsageError where `can_attach` says no,
    NotFound for a tracepoint that does not exist, KernelError where the kernel refuses.
    """
    if not can_attach(prog_type, attach_type, target):
        raise UsageError(
            f"a program of type {prog_type} and attach type {attach_type} does not attach by "
            + (f"itself to {target!r}" if target else "itself without a target"),
        )
    return _WAYS[prog_type, attach_type].attach(prog_fd, target)


def can_attach(prog_type: int, attach_type: int, target: str) -> bool:
    """Whether `attach` knows what to do with such a program; "" is a section without a target."""
    way = _WAYS.get((prog_type, attach_type))
    return way is not None and way.takes(target)


def attach_xdp(prog_fd: int, ifindex: int, flags: int = 0) -> Fd:
    """Attach an XDP program to a network interface. Kernel 5.9.

    `flags`: 0 lets the kernel choose; XDP_FLAGS_SKB_MODE (2), XDP_FLAGS_DRV_MODE (4),
    XDP_FLAGS_HW_MODE (8). BpfError with EBUSY where the interface has a program already.
    """
    return _create(prog_fd, ifindex, AttachType.XDP, flags)


def _raw_tracepoint(prog_fd: int, target: str) -> Fd:
    name = target.encode() + b"\0"
    attr = host_attr(RAW_TRACEPOINT, "prog_fd", name=address_of(name), prog_fd=prog_fd)
    try:
        return Fd(bpf(Cmd.RAW_TRACEPOINT_OPEN, attr))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            raise NotFound(f"the kernel has no raw tracepoint {target}") from error
        raise


def _where_loaded_for(prog_fd: int, _target: str) -> Fd:
    # LINK_CREATE can do the same, but not in every kernel that has these kinds.
    return Fd(bpf(Cmd.RAW_TRACEPOINT_OPEN, host_attr(RAW_TRACEPOINT, "prog_fd", prog_fd=prog_fd)))


def _iterator(prog_fd: int, _target: str) -> Fd:
    return _create(prog_fd, 0, AttachType.TRACE_ITER)


def _tracepoint(prog_fd: int, target: str) -> Fd:
    with at(f"tracepoint {target}"):
        # The program runs on every CPU, whichever one the event is opened for.
        event = perf.open_event(perf.TYPE_TRACEPOINT, _tracepoint_id(target), online_cpus()[0])
        link: Fd | None = None
        try:
            link = _perf_link(prog_fd, event)
            return link
        finally:
            if link is not event:
                event.close()


def _perf_link(prog_fd: int, event: Fd) -> Fd:
    try:
        return _create(prog_fd, event.fileno(), AttachType.PERF_EVENT)
    except BpfError as error:
        if error.errno != errno.EINVAL:
            raise
    # Before 5.15 there were no such links: the event itself holds the program.
    perf.set_bpf(event.fileno(), prog_fd)
    perf.enable(event.fileno())
    return event


def _tracepoint_id(target: str) -> int:
    for root in TRACEFS:
        path = f"{root}/events/{target}/id"
        try:
            return int(read_text(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            raise LskelError(f"{path} may not be read", hint="by default only root may") from error
    if any(os.access(f"{root}/events", os.F_OK) for root in TRACEFS):
        raise NotFound("the kernel has no such tracepoint")
    raise LskelError("tracefs is not mounted", hint=f"mount -t tracefs tracefs {TRACEFS[0]}")


def _create(prog_fd: int, target: int, attach_type: AttachType, flags: int = 0) -> Fd:
    # The target's fd and its interface number are one field.
    attr = host_attr(
        LINK_CREATE,
        "flags",
        prog_fd=prog_fd,
        target_fd=target,
        attach_type=attach_type,
        flags=flags,
    )
    return Fd(bpf(Cmd.LINK_CREATE, attr))


def _has_category(target: str) -> bool:
    category, _, name = target.partition("/")
    return bool(category and name)


class _Way(NamedTuple):
    attach: Callable[[int, str], Fd]
    takes: Callable[[str], bool] = bool


_WAYS: dict[tuple[int, int], _Way] = {
    (ProgType.RAW_TRACEPOINT, 0): _Way(_raw_tracepoint),
    (ProgType.RAW_TRACEPOINT_WRITABLE, 0): _Way(_raw_tracepoint),
    (ProgType.TRACEPOINT, 0): _Way(_tracepoint, _has_category),
    (ProgType.TRACING, AttachType.TRACE_RAW_TP): _Way(_where_loaded_for),
    (ProgType.TRACING, AttachType.TRACE_FENTRY): _Way(_where_loaded_for),
    (ProgType.TRACING, AttachType.TRACE_FEXIT): _Way(_where_loaded_for),
    (ProgType.TRACING, AttachType.MODIFY_RETURN): _Way(_where_loaded_for),
    (ProgType.TRACING, AttachType.TRACE_ITER): _Way(_iterator),
    (ProgType.LSM, AttachType.LSM_MAC): _Way(_where_loaded_for),
}
