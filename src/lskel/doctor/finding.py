"""Probes and what they find: named questions to the machine with three answers."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from lskel.errors import LskelError, NoPermission, ReplayError, printable
from lskel.runtime.permissions import Capability, missing, read_situation, why_refused
from lskel.runtime.syscall import BpfError, KernelError


class Answer(Enum):
    """What a probe says. What cannot be asked is unknown; what is missing is not broken."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """An answer, what was found or said, and what to do about it: empty where all is well.

    A fact, which is neither good nor bad, has no answer.
    """

    answer: Answer | None
    said: str = ""
    remedy: str = ""


def yes(said: str = "") -> Finding:
    """It works."""
    return Finding(Answer.YES, said)


def no(said: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Answer.NO, said, remedy)


def unknown(said: str, remedy: str) -> Finding:
    """It cannot be told, and why."""
    return Finding(Answer.UNKNOWN, said, remedy)


def fact(said: str) -> Finding:
    """How it is."""
    return Finding(None, said)


class Probe(NamedTuple):
    """A question: `needs` are ids of probes that must have said yes before it can be asked."""

    id: str
    title: str
    run: Callable[[], Finding]
    needs: tuple[str, ...] = ()


class Line(NamedTuple):
    """A line of the report: what the probe of this id found."""

    id: str
    title: str
    finding: Finding


def ask(probes: Iterable[Probe], known: dict[str, Line]) -> Iterator[Line]:
    """Run the probes in order; `known` has the lines of those before, and gets these."""
    for probe in probes:
        lacking = next((line for line in map(known.get, probe.needs) if _says_no(line)), None)
        if lacking is not None:
            finding = unknown(f"not asked: it needs '{lacking.title}'", lacking.finding.remedy)
        else:
            finding = answered(probe.run)
        known[probe.id] = Line(probe.id, probe.title, finding)
        yield known[probe.id]


def _says_no(line: Line | None) -> bool:
    return line is not None and line.finding.answer in (Answer.NO, Answer.UNKNOWN)


def answered(run: Callable[[], Finding]) -> Finding:
    """What a probe finds; an error that it leaves to us is a refusal."""
    try:
        return run()
    except LskelError as error:
        return refused(error)
    except OSError as error:
        return unknown(str(error), "see whether /proc and /sys are mounted, and may be read")


# What CAP_BPF alone does not cover; programs of the network take CAP_NET_ADMIN in its place.
TRACING_RIGHTS = (Capability.BPF, Capability.PERFMON)
NETWORK_RIGHTS = (Capability.BPF, Capability.NET_ADMIN)


def refused(
    error: LskelError, takes: str = "", rights: tuple[Capability, ...] = TRACING_RIGHTS
) -> Finding:
    """No, for an error; unknown where this process lacks the `rights` to ask.

    `takes` says what the kernel must have, for errors that do not say what to do.
    """
    said = printable(": ".join([*error.places, error.what]))
    number = error.errno if isinstance(error, KernelError | ReplayError) else 0
    # EACCES is what the verifier says of a program, too; perf_event_open(2) means the process.
    is_denied = number == errno.EPERM or (
        number == errno.EACCES and not isinstance(error, ReplayError | BpfError)
    )
    if is_denied or isinstance(error, NoPermission):
        situation = read_situation()
        if situation.in_user_namespace or missing(situation, *rights):
            return unknown(said, why_refused(situation))
    return no(said, error.hint or _remedy(error, number, takes))


def _remedy(error: LskelError, number: int, takes: str) -> str:
    if number == errno.EPERM:
        return why_refused()
    if isinstance(error, ReplayError) and error.log:
        return "-v prints all that the verifier says"
    return f"it takes {takes}" if takes else "this kernel cannot do it; a newer one may"
