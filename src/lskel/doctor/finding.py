"""Probes of the machine and their findings: yes, no or unknown."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from lskel.errors import LskelError, NoPermission, ReplayError, printable
from lskel.runtime.permissions import Capability, how_to_grant, missing, read_situation, why_refused
from lskel.runtime.syscall import KernelError


class Answer(Enum):
    """The answer of a probe; unknown if it cannot be tested."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """An answer, its text, and a remedy: empty if none is needed.

    A fact, neither good nor bad, has no answer. If not tested because something else is missing,
    `lacks` is the title of that.
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
    """Unknown, and why."""
    return Finding(Answer.UNKNOWN, said, remedy)


def fact(said: str) -> Finding:
    """A fact."""
    return Finding(None, said)


class Probe(NamedTuple):
    """A test; `needs` are the ids of probes that must answer yes first."""

    id: str
    title: str
    run: Callable[[], Finding]
    needs: tuple[str, ...] = ()


class NotTried(LskelError):
    """A test that doctor avoids; the hint is how to test it otherwise."""


class ReportLine(NamedTuple):
    """A line of the report: the finding of the probe of this id."""

    id: str
    title: str
    finding: Finding


def ask(probes: Iterable[Probe], known: dict[str, ReportLine]) -> Iterator[ReportLine]:
    """Run the probes in order; `known` has the earlier lines, and gets the new ones."""
    for probe in probes:
        lacking = next((line for line in map(known.get, probe.needs) if _says_no(line)), None)
        finding = not_asked(lacking) if lacking is not None else run_probe(probe.run)
        known[probe.id] = ReportLine(probe.id, probe.title, finding)
        yield known[probe.id]


def _says_no(line: ReportLine | None) -> bool:
    return line is not None and line.finding.answer in (Answer.NO, Answer.UNKNOWN)


def not_asked(lacking: ReportLine) -> Finding:
    """The finding of a probe that needs a failed one; a probe not tested passes on its reason."""
    if lacking.finding.lacks:
        return lacking.finding
    title = lacking.title
    return Finding(Answer.UNKNOWN, f"not tested: needs '{title}'", f"see '{title}'", lacks=title)


def run_probe(run: Callable[[], Finding]) -> Finding:
    """The finding of a probe; an error means no."""
    try:
        return run()
    except LskelError as error:
        return refused(error)
    except OSError as error:
        return unknown(str(error), "check that /proc and /sys are mounted and readable")


def kernel_with(since: tuple[int, int], config: str) -> str:
    """The text for a required kernel release and config."""
    return ", ".join(filter(None, (f"Linux {since[0]}.{since[1]}", config)))


# What is needed besides CAP_BPF; network programs need CAP_NET_ADMIN instead.
TRACING_RIGHTS = (Capability.BPF, Capability.PERFMON)
NETWORK_RIGHTS = (Capability.BPF, Capability.NET_ADMIN)

_ALL = -1
# The verifier reports helpers that the process may not use as unknown: EINVAL.
_DENIALS = (errno.EPERM, errno.EACCES, errno.EINVAL)


def refused(
    error: LskelError, takes: str = "", rights: tuple[Capability, ...] = TRACING_RIGHTS
) -> Finding:
    """No, for an error; unknown if this process may lack the `rights` for the test.

    `takes` is what the kernel must have, for errors without a hint.
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
        # The error's hint may be about other rights, which would not help.
        return no(said, why_refused(situation._replace(capabilities=_ALL)))
    if error.hint:
        return no(said, error.hint)
    if isinstance(error, ReplayError) and error.log:
        return no(said, "-v prints the whole verifier log")
    return no(said, f"needs {takes}" if takes else "not supported by this kernel; a newer one may")
