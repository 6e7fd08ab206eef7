"""Return probes with a number of instances: events of tracefs, as perf_event_open(2) has no such
field.

Source: Documentation/trace/kprobetrace.rst. The definition of an event outlives its process: that
of one that was killed is removed when the next is made.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lskel.errors import NotFound, NotSupported, UsageError
from lskel.runtime import perf
from lskel.runtime.attach.link import BpfLink
from lskel.runtime.attach.perf_link import attach_perf_event
from lskel.runtime.attach.tracefs import open_tracefs, read_tracefs
from lskel.runtime.cpus import online_cpus
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError, calling

# kernel/trace/trace_kprobe.c, KRETPROBE_MAXACTIVE_MAX.
_MOST = 4096
_EVENTS = "kprobe_events"
_WHAT = "kprobe events"
_GROUP = "lskel"
# With the name of the module that has it, if any.
_FUNCTION = re.compile(r"[\w.$]+(:[\w.$]+)?")
_OURS = re.compile(rf"^r\d*:({_GROUP}/\w+) ", re.MULTILINE)
# Of names of events: kernel/trace/trace_probe.h, MAX_EVENT_NAME_LEN.
_LONGEST = 40


class ReturnProbeLink(BpfLink):
    """A link to a return probe; closing it removes the event as well."""

    __slots__ = ("_event",)

    def __init__(self, fd: int, event: str) -> None:
        super().__init__(fd)
        self._event = event

    def close(self) -> None:
        """Detach; a second call does nothing."""
        if not self.closed:
            super().close()
            with _event_definitions() as definitions:
                _remove(definitions, self._event)


def attach_return_probe(prog_fd: int, function: str, maxactive: int, cookie: int = 0) -> BpfLink:
    """Attach to the returns of a function, of which `maxactive` calls may run at the same time.

    UsageError if it is not a name or a number of 1 to 4096; NotSupported if the kernel has no
    kprobe events; KernelError if it refuses.
    """
    if not 0 < maxactive <= _MOST:
        raise UsageError(f"maxactive {maxactive} is not a number of 1 to {_MOST}")
    if not _FUNCTION.fullmatch(function):
        raise UsageError(f"'{function}' is not the name of a function")
    name = re.sub(r"\W", "_", function)[:_LONGEST]
    event = f"{_GROUP}/{name}_{os.urandom(4).hex()}"
    with _event_definitions() as definitions, ExitStack() as undo:
        for abandoned in _OURS.findall(read_tracefs(_EVENTS, _WHAT)):
            _remove(definitions, abandoned)
        _write(definitions, f"r{maxactive}:{event} {function}")
        undo.callback(_remove, definitions, event)
        number = int(read_tracefs(f"events/{event}/id", "such event"))
        opened = perf.open_event(perf.TYPE_TRACEPOINT, number, online_cpus()[0])
        link = attach_perf_event(prog_fd, opened, cookie)
        undo.pop_all()
        return ReturnProbeLink(link.release(), event)


@contextmanager
def _event_definitions() -> Iterator[Fd]:
    """The file that defines events; locked, so that nobody removes events before they are used."""
    # Imported here: Windows has no fcntl, but can import this module.
    import fcntl

    try:
        file = open_tracefs(_EVENTS, _WHAT)
    except NotFound as error:
        hint = "CONFIG_KPROBE_EVENTS is off"
        raise NotSupported(f"the kernel has no {_WHAT}", hint=hint) from error
    with file:
        with calling(f"flock({_EVENTS})"):
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield file


def _remove(definitions: Fd, event: str) -> None:
    try:
        _write(definitions, f"-:{event}")
    except KernelError as error:
        # In use, by a process or by a link that is pinned; or it is gone.
        if error.errno not in (errno.EBUSY, errno.ENOENT):
            raise


def _write(definitions: Fd, command: str) -> None:
    with calling(f"write({_EVENTS}, '{command}')"):
        os.write(definitions.fileno(), f"{command}\n".encode())
