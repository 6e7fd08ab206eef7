"""Probes and what they find: named questions to the machine with three answers."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from lskel.errors import LskelError, NoPermission, ReplayError, printable
from lskel.runtime.permissions import Capability, how_to_grant, missing, read_situation, why_refused
from lskel.runtime.syscall import KernelError


class Answer(Enum):
    """What a probe says. What cannot be asked is unknown; what is missing is not broken."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """An answer, what was found or said, and what to do about it: empty where all is well.

    A fact, which is neither good nor bad, has no answer. Where it was not asked for want of
    something else, `lacks` is that one's title.
    """

    answer: Answer | None
    said: str = ""
    remedy: str = ""
    lacks: str = ""


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


class NotTried(LskelError):
    """What doctor does not do to a machine; the hint says how to find out all the same."""


class Line(NamedTuple):
    """A line of the report: what the probe of this id found."""

    id: str
    title: str
    finding: Finding


def ask(probes: Iterable[Probe], known: dict[str, Line]) -> Iterator[Line]:
    """Run the probes in order; `known` has the lines of those before, and gets these."""
    for probe in probes:
        lacking = next((line for line in map(known.get, probe.needs) if _says_no(line)), None)
        finding = not_asked(lacking) if lacking is not None else answered(probe.run)
        known[probe.id] = Line(probe.id, probe.title, finding)
        yield known[probe.id]


def _says_no(line: Line | None) -> bool:
    return line is not None and line.finding.answer in (Answer.NO, Answer.UNKNOWN)


def not_asked(lacking: Line) -> Finding:
    """Of what needs a line that is not well; one that was not asked itself passes that on."""
    if lacking.finding.lacks:
        return lacking.finding
    title = lacking.title
    return Finding(
        Answer.UNKNOWN, f"not asked: it needs '{title}'", f"as for '{title}'", lacks=title
    )


def answered(run: Callable[[], Finding]) -> Finding:
    """What a probe finds; an error that it leaves to us is a refusal."""
    try:
        return run()
    except LskelError as error:
        return refused(error)
    except OSError as error:
        return unknown(str(error), "see whether /proc and /sys are mounted, and may be read")


def kernel_with(since: tuple[int, int], config: str) -> str:
    """What a kernel must be, and have."""
    return ", ".join(filter(None, (f"Linux {since[0]}.{since[1]}", config)))


# What CAP_BPF alone does not cover; programs of the network take CAP_NET_ADMIN in its place.
TRACING_RIGHTS = (Capability.BPF, Capability.PERFMON)
NETWORK_RIGHTS = (Capability.BPF, Capability.NET_ADMIN)

_ALL = -1
# Helpers that a process may not use are unknown to the verifier, which is EINVAL.
_DENIALS = (errno.EPERM, errno.EACCES, errno.EINVAL)


def refused(
    error: LskelError, takes: str = "", rights: tuple[Capability, ...] = TRACING_RIGHTS
) -> Finding:
    """No, for an error; unknown where it may be that this process lacks the `rights` to ask.

    `takes` says what the kernel must have, for errors that do not say what to do.
    """
    said = printable(": ".join([*error.places, error.what]))
    number = error.errno if isinstance(error, KernelError | ReplayError) else 0
    situation = read_situation()
    if number in _DENIALS or isinstance(error, NoPermission):
        if situation.in_user_namespace:
            return unknown(said, why_refused(situation))
        if lacks := missing(situation, *rights):
            names = ", ".join(f"CAP_{right.name}" for right in lacks)
            return unknown(said, f"this process lacks {names}: {how_to_grant(situation)}")
    if number == errno.EPERM:
        # Other rights than these, which the error's hint may be about, would be no help.
        return no(said, why_refused(situation._replace(capabilities=_ALL)))
    if error.hint:
        return no(said, error.hint)
    if isinstance(error, ReplayError) and error.log:
        return no(said, "-v prints all that the verifier says")
    return no(said, f"it takes {takes}" if takes else "this kernel cannot do it; a newer one may")
