"""Tracepoints: programs with a tracepoint's record, as in perf(1) and ftrace."""

from __future__ import annotations

from lskel.errors import UsageError, at
from lskel.runtime import perf
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink
from lskel.runtime.attach.perf_link import attach_perf_event
from lskel.runtime.attach.target import target_of
from lskel.runtime.attach.tracefs import read_tracefs
from lskel.runtime.cpus import online_cpus
from lskel.runtime.program import Program


def attach_tracepoint(prog_fd: int, tracepoint: str, *, cookie: int = 0) -> BpfLink:
    """Attach to a tracepoint, such as "sched/sched_switch". Cookies need Linux 5.15.

    UsageError for a name without a category; NotFound if the kernel has no such tracepoint;
    LskelError if tracefs cannot be read; KernelError if the kernel refuses.
    """
    if not _has_category(tracepoint):
        raise UsageError(f"'{tracepoint}' is not CATEGORY/NAME", hint="such as sched/sched_switch")
    with at(f"tracepoint {tracepoint}"), with_hints({}):
        number = int(read_tracefs(f"events/{tracepoint}/id", "such tracepoint"))
        # The program runs on every CPU, no matter which one the event is opened for.
        event = perf.open_event(perf.TYPE_TRACEPOINT, number, online_cpus()[0])
        return attach_perf_event(prog_fd, event, cookie)


def _has_category(target: str) -> bool:
    category, _, name = target.partition("/")
    return bool(category and name)


class TracepointProgram(Program):
    """A program of ``SEC("tp/...")``."""

    def attaches_itself(self) -> bool:
        """Whether the section name has a tracepoint."""
        return _has_category(self.definition.target)

    def attach(self, tracepoint: str | None = None, *, cookie: int = 0) -> BpfLink:
        """Attach to a tracepoint, by default that of the section name, until the link is closed.

        ``bpf_get_attach_cookie`` returns `cookie`. UsageError without a tracepoint; else the errors
        of `attach_tracepoint`.
        """
        target = target_of(self, tracepoint, "a tracepoint", "tp/sched/sched_switch")
        link = attach_tracepoint(self.fileno(), target, cookie=cookie)
        self.attached(link)
        return link
