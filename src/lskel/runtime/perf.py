"""perf_event_open(2), as far as BPF needs it."""

from __future__ import annotations

import errno
import struct
import sys

from lskel.errors import LskelError, NotSupported
from lskel.runtime.cpus import online_cpus
from lskel.runtime.files import read_text
from lskel.runtime.machine import this_machine
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError, address_of, syscall

# uapi/linux/perf_event.h: enum perf_type_id, enum perf_sw_ids, enum perf_event_sample_format.
TYPE_SOFTWARE = 1
TYPE_TRACEPOINT = 2
COUNT_SW_BPF_OUTPUT = 10

_SAMPLE_RAW = 1 << 10
_FLAG_FD_CLOEXEC = 8
#: For `pid`: all processes, now and later.
ANY_PROCESS = -1
_NO_GROUP = -1

# First version of struct perf_event_attr, 64 bytes: type, size, config, sample_period or
# sample_freq, sample_type, read_format, flags, wakeup_events, bp_type, config1.
_ATTR = struct.Struct("=IIQQQQQIIQ")

# The same up to config2, 72 bytes: config1 and config2 are the last fields.
_PROBE_ATTR = struct.Struct("=IIQQQQQIIQQ")

# `freq`, one of the bit-field flags, which start at the lowest address on either byte order.
_FREQ = 1 << (10 if sys.byteorder == "little" else 63 - 10)

_PMUS = "/sys/bus/event_source/devices"

_IOC_MAGIC = ord("$") << 8
_IOC_U32 = 4 << 16


def open_event(
    kind: int,
    config: int,
    cpu: int,
    pid: int = ANY_PROCESS,
    *,
    raw_samples: bool = False,
    period: int = 0,
    frequency: int = 0,
) -> Fd:
    """Open and enable an event: all processes on one CPU, or thread `pid`. May raise KernelError.

    With `raw_samples` each event writes its data to the ring and wakes poll(2). Else it overflows
    every `period` events, or `frequency` times a second.
    """
    samples = (1, _SAMPLE_RAW) if raw_samples else (frequency or period, 0)
    flags = _FREQ if frequency else 0
    attr = _ATTR.pack(kind, _ATTR.size, config, *samples, 0, flags, int(raw_samples), 0, 0)
    return _open(attr, pid, cpu)


def open_probe(pmu: str, place: bytes, offset: int, pid: int = ANY_PROCESS, **fields: int) -> Fd:
    """A "uprobe" or "kprobe" for all processes, or for process `pid` (0: this one). Linux 4.17.

    `place` is the path of a file (offsets are in the file) or the name of a function, or b"" if
    `offset` is an address; `fields` are those of the PMU's format. NotSupported if the kernel has
    no such PMU or field, KernelError if it refuses.
    """
    kind = _pmu_type(pmu)
    config = _pmu_config(pmu, fields)
    text = place + b"\0" if place else b""
    attr = _PROBE_ATTR.pack(
        kind, _PROBE_ATTR.size, config, 0, 0, 0, 0, 0, 0, address_of(text), offset
    )
    # With BPF a probe of all processes is on every CPU, no matter which one the event is opened
    # for.
    return _open(attr, pid, online_cpus()[0] if pid == ANY_PROCESS else -1)


def _pmu_type(pmu: str) -> int:
    """Dynamic PMUs have no fixed number."""
    try:
        return int(read_text(f"{_PMUS}/{pmu}/type"))
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        option = f"CONFIG_{pmu.upper()}_EVENTS"
        raise NotSupported(
            f"the kernel has no '{pmu}' perf events",
            hint=f"{option} is off, or /sys is not mounted",
        ) from error


def _pmu_config(pmu: str, fields: dict[str, int]) -> int:
    """perf_event_attr.config; the format of a field is e.g. "config:32-63".

    Fields that are 0 may be missing in the kernel.
    """
    config = 0
    for name, value in fields.items():
        if not value:
            continue
        try:
            text = read_text(f"{_PMUS}/{pmu}/format/{name}")
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            raise NotSupported(f"the kernel's {pmu} events have no field '{name}'") from error
        first, _, last = text.removeprefix("config:").partition("-")
        if value >> int(last or first) - int(first) + 1:
            raise LskelError(f"{name} {value:#x} is too large for the kernel's {pmu} events")
        config |= value << int(first)
    return config


def _open(attr: bytes, pid: int, cpu: int) -> Fd:
    fd = syscall(
        this_machine().perf_event_open, address_of(attr), pid, cpu, _NO_GROUP, _FLAG_FD_CLOEXEC
    )
    if fd < 0:
        raise KernelError("perf_event_open", -fd)
    return Fd(fd)


def set_bpf(event: int, prog_fd: int) -> None:
    """Run a program on each event, without a link (before 5.15). KernelError if refused."""
    _ioctl(event, "PERF_EVENT_IOC_SET_BPF", this_machine().ioc_write | _IOC_U32 | 8, prog_fd)


def enable(event: int) -> None:
    """Enable the event. KernelError if refused."""
    _ioctl(event, "PERF_EVENT_IOC_ENABLE", this_machine().ioc_none, 0)


def set_output(event: int, other: int) -> None:
    """Write the samples of an event to the ring of another one. KernelError if refused."""
    _ioctl(event, "PERF_EVENT_IOC_SET_OUTPUT", this_machine().ioc_none | 5, other)


def _ioctl(fd: int, name: str, request: int, argument: int) -> None:
    # Imported here: Windows has no fcntl, but can import this module.
    import fcntl

    try:
        fcntl.ioctl(fd, _IOC_MAGIC | request, argument)
    except OSError as error:
        raise KernelError(f"ioctl({name})", error.errno or 0) from error
