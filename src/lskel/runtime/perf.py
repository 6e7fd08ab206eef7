"""perf_event_open(2), as far as BPF needs it."""

from __future__ import annotations

import struct

from lskel.runtime.machine import this_machine
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError, address_of, syscall

# uapi/linux/perf_event.h: enum perf_type_id, enum perf_sw_ids, enum perf_event_sample_format.
TYPE_SOFTWARE = 1
TYPE_TRACEPOINT = 2
COUNT_SW_BPF_OUTPUT = 10

_SAMPLE_RAW = 1 << 10
_FLAG_FD_CLOEXEC = 8
_ANY_PROCESS = -1
_NO_GROUP = -1

# struct perf_event_attr of its first version, 64 bytes: type, size, config, sample_period,
# sample_type, read_format, flags, wakeup_events, bp_type, config1.
_ATTR = struct.Struct("=IIQQQQQIIQ")

_IOC_MAGIC = ord("$") << 8
_IOC_U32 = 4 << 16


def open_event(kind: int, config: int, cpu: int, *, raw_samples: bool = False) -> Fd:
    """An event of all processes on one CPU, enabled. KernelError if refused.

    With `raw_samples` each occurrence leaves its data in the event's ring, and wakes a poll.
    """
    samples = (1, _SAMPLE_RAW) if raw_samples else (0, 0)
    attr = _ATTR.pack(kind, _ATTR.size, config, *samples, 0, 0, int(raw_samples), 0, 0)
    fd = syscall(
        this_machine().perf_event_open,
        address_of(attr),
        _ANY_PROCESS,
        cpu,
        _NO_GROUP,
        _FLAG_FD_CLOEXEC,
    )
    if fd < 0:
        raise KernelError("perf_event_open", -fd)
    return Fd(fd)


def set_bpf(event: int, prog_fd: int) -> None:
    """Run a program on each event: the way before kernel 5.15. KernelError if refused."""
    _ioctl(event, "PERF_EVENT_IOC_SET_BPF", this_machine().ioc_write | _IOC_U32 | 8, prog_fd)


def enable(event: int) -> None:
    """Start the event. KernelError if refused."""
    _ioctl(event, "PERF_EVENT_IOC_ENABLE", this_machine().ioc_none, 0)


def _ioctl(fd: int, name: str, request: int, argument: int) -> None:
    # Windows has no fcntl, and modules that import this one still load there.
    import fcntl

    try:
        fcntl.ioctl(fd, _IOC_MAGIC | request, argument)
    except OSError as error:
        raise KernelError(f"ioctl({name})", error.errno or 0) from error
