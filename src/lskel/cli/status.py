"""Exit statuses of the command line, as in docs/exit-status.md."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Status(IntEnum):
    """The exit status of the process; from 128 on, 128 plus a signal number, as in shells."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    INTERNAL = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


_OVERALL: Mapping[Status, str] = {
    Status.OK: "Success.",
    Status.FAILURE: "An error, which is printed; diff: the loaders differ; doctor: no.",
    Status.USAGE: "Wrong usage of the command line; diff, doctor: any error.",
    Status.INTERNAL: "A bug in lskel, which is printed.",
    Status.INTERRUPTED: "Ctrl-C, unless it ends `run` normally.",
    Status.BROKEN_PIPE: "The reader of the output closed it.",
    Status.TERMINATED: "SIGTERM, unless it ends `run` normally.",
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
        Status.OK: "It ran until Ctrl-C, SIGTERM or the end of --duration, or was simulated.",
        Status.INTERRUPTED: "Ctrl-C before the programs were attached.",
        Status.TERMINATED: "SIGTERM before the programs were attached.",
    },
}


def meanings(command: str = "") -> Mapping[Status, str]:
    """What the exit statuses of a command mean; for an empty name, those of all commands."""
    return {**(_GENERAL if command else _OVERALL), **_OF_COMMANDS.get(command, {})}


# As in diff(1), 1 means that the loaders differ, so an error needs another status. The same for
# doctor, where 1 means no.
DIFFERENT = 1
TROUBLE = 2

# The exit status of an error, if not Status.FAILURE.
FAILURES = {"diff": TROUBLE, "doctor": TROUBLE}


class Terminated(KeyboardInterrupt):
    """SIGTERM, for a command that handles it like Ctrl-C."""
