"""Perf events: programs that run when a counter overflows."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import ExitStack
from enum import IntEnum

from lskel.errors import UsageError
from lskel.runtime import perf
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, Link
from lskel.runtime.attach.perf_link import attach_perf_event
from lskel.runtime.cpus import online_cpus
from lskel.runtime.program import Program

_HINTS = {
    errno.ENOENT: "this machine has no such event; virtual machines often lack hardware events",
    errno.EOPNOTSUPP: "not supported by this machine's hardware",
    errno.EINVAL: "no such event or CPU, or a frequency above kernel.perf_event_max_sample_rate",
    errno.ESRCH: "no such process",
    errno.ENODEV: "no such CPU, or it is offline",
}
_ANY_CPU = -1


class PerfType(IntEnum):
    """Event types: enum perf_type_id of uapi/linux/perf_event.h."""

    HARDWARE = 0
    SOFTWARE = 1
    TRACEPOINT = 2
    HW_CACHE = 3
    RAW = 4
    BREAKPOINT = 5


class HardwareEvent(IntEnum):
    """Events of `PerfType.HARDWARE`: enum perf_hw_id."""

    CPU_CYCLES = 0
    INSTRUCTIONS = 1
    CACHE_REFERENCES = 2
    CACHE_MISSES = 3
    BRANCH_INSTRUCTIONS = 4
    BRANCH_MISSES = 5
    BUS_CYCLES = 6
    STALLED_CYCLES_FRONTEND = 7
    STALLED_CYCLES_BACKEND = 8
    REF_CPU_CYCLES = 9


class SoftwareEvent(IntEnum):
    """Events of `PerfType.SOFTWARE`: enum perf_sw_ids."""

    CPU_CLOCK = 0
    TASK_CLOCK = 1
    PAGE_FAULTS = 2
    CONTEXT_SWITCHES = 3
    CPU_MIGRATIONS = 4
    PAGE_FAULTS_MIN = 5
    PAGE_FAULTS_MAJ = 6
    ALIGNMENT_FAULTS = 7
    EMULATION_FAULTS = 8
    DUMMY = 9
    BPF_OUTPUT = 10
    CGROUP_SWITCHES = 11


class PerfEventLinks(Link):
    """The links of a program to one event on several CPUs."""

    def __init__(self, links: Iterable[BpfLink]) -> None:
        """Owns the fds."""
        self._links = tuple(links)

    @property
    def links(self) -> tuple[BpfLink, ...]:
        """One per CPU."""
        return self._links

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return all(link.closed for link in self._links)

    def close(self) -> None:
        """Detach from all; a second call does nothing."""
        with ExitStack() as stack:
            for link in self._links:
                stack.callback(link.close)


def attach_perf_events(
    prog_fd: int,
    type: int,
    config: int,
    *,
    period: int = 0,
    frequency: int = 0,
    pid: int | None = None,
    cpus: Iterable[int] | None = None,
    cookie: int = 0,
) -> PerfEventLinks:
    """Run a program every `period` events, or `frequency` times a second. Cookies need 5.15.

    `type` is a `PerfType` or the number of a PMU in /sys/bus/event_source/devices, `config` one of
    its events. By default events of all threads on all CPUs; `cpus` selects CPUs, `pid` a thread
    (0: the calling one). UsageError unless either period or frequency is given; KernelError if the
    kernel refuses: ENOENT for an event that the machine lacks.
    """
    if (period > 0) == (frequency > 0):
        raise UsageError(
            "a perf event needs either a period or a frequency",
            hint="period=1000 is every 1000 events, frequency=99 is 99 times a second",
        )
    if cpus is None:
        cpus = online_cpus() if pid is None else (_ANY_CPU,)
    with ExitStack() as undo, with_hints(_HINTS):
        links = []
        for cpu in cpus:
            event = perf.open_event(
                type,
                config,
                cpu,
                pid=perf.ANY_PROCESS if pid is None else pid,
                period=period,
                frequency=frequency,
            )
            links.append(undo.enter_context(attach_perf_event(prog_fd, event, cookie)))
        undo.pop_all()
    if not links:
        raise UsageError("a perf event needs a CPU")
    return PerfEventLinks(links)


class PerfEventProgram(Program):
    """A program of ``SEC("perf_event")``, which has no event in its name."""

    def attach(  # type: ignore[override]
        self,
        type: int,
        config: int,
        *,
        period: int = 0,
        frequency: int = 0,
        pid: int | None = None,
        cpus: Iterable[int] | None = None,
        cookie: int = 0,
    ) -> PerfEventLinks:
        """Run every `period` events, or `frequency` times a second, until the result is closed.

        Example: ``attach(PerfType.SOFTWARE, SoftwareEvent.CPU_CLOCK, frequency=99)``. Arguments and
        errors are those of `attach_perf_events`; ``bpf_get_attach_cookie`` returns `cookie`.
        """
        link = attach_perf_events(
            self.fileno(),
            type,
            config,
            period=period,
            frequency=frequency,
            pid=pid,
            cpus=cpus,
            cookie=cookie,
        )
        self.attached(link)
        return link
