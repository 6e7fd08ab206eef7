"""Exit statuses of the command line; docs/exit-status.md says more."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Status(IntEnum):
    """What the process ends with. Those from 128 on are 128 and a signal's number, as in shells."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    INTERNAL = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


_OVERALL: Mapping[Status, str] = {
    Status.OK: "Everything that was asked for is done.",
    Status.FAILURE: "An error, which is printed; diff: the loaders differ; doctor: no.",
    Status.USAGE: "Wrong usage of the command line; diff, doctor: any error.",
    Status.INTERNAL: "A bug in lskel, which is printed.",
    Status.INTERRUPTED: "Ctrl-C, where it does not end a run in the ordinary way.",
    Status.BROKEN_PIPE: "Whoever read the output has gone.",
    Status.TERMINATED: "SIGTERM, where it does not end a run in the ordinary way.",
}

_GENERAL: Mapping[Status, str] = {
    **_OVERALL,
    Status.FAILURE: "An error, which is printed.",
    Status.USAGE: "Wrong usage of the command line.",
    Status.INTERRUPTED: "Ctrl-C.",
    Status.TERMINATED: "SIGTERM.",
}
_ANY_ERROR = "An error, which is printed, or wrong usage of the command line."
_OF_COMMANDS: Mapping[str, Mapping[Status, str]] = {
    "diff": {
        Status.OK: "Both make the same calls.",
        Status.FAILURE: "They differ.",
        Status.USAGE: _ANY_ERROR,
    },
    "doctor": {
        Status.OK: "Loader programs run here; the object would load.",
        Status.FAILURE: "They do not; it would not.",
        Status.USAGE: _ANY_ERROR,
    },
    "run": {
        Status.OK: "It ran until Ctrl-C, SIGTERM or the end of its time, or was simulated.",
        Status.INTERRUPTED: "Ctrl-C before it had attached.",
        Status.TERMINATED: "SIGTERM before it had attached.",
    },
}


def meanings(command: str = "") -> Mapping[Status, str]:
    """What the statuses of a command mean; of the command line as a whole where it is empty."""
    return {**(_GENERAL if command else _OVERALL), **_OF_COMMANDS.get(command, {})}


# diff(1) has the same: 1 says that they differ, so an error must be told apart from it. So with
# doctor, where 1 is the answer no.
DIFFERENT = 1
TROUBLE = 2

# What an error ends a command with, where it is not Status.FAILURE.
FAILURES = {"diff": TROUBLE, "doctor": TROUBLE}


class Terminated(KeyboardInterrupt):
    """SIGTERM, where a command takes it as it takes Ctrl-C."""
