"""What a machine is asked to do, and what comes back; both cross over as JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

# In a directory that host and machine share.
_JOBS = "jobs.json"
_OUTCOMES = "outcomes.jsonl"


class Job(NamedTuple):
    """A call of a module's function, as root, in a process of its own.

    What the function is given and what it returns is JSON. Its module is imported in the machine,
    where imports are slow.
    """

    name: str
    function: Callable[..., object]
    args: Mapping[str, object] = {}
    limit: float = 30  # seconds


class End(Enum):
    """How a job ended."""

    RETURNED = "returned"
    RAISED = "raised"
    KILLED = "killed"
    TIMEOUT = "timeout"
    UNREACHED = "not reached"  # the machine ended before the job did


class Outcome(NamedTuple):
    """A job's end; `value` is what it returned, `detail` says more where it did not."""

    end: End
    value: Any = None
    detail: str = ""
    seconds: float = 0


def write_jobs(jobs: Iterable[Job], directory: Path) -> None:
    """Leave the jobs in the directory."""
    described = [
        {**job._asdict(), "function": f"{job.function.__module__}:{job.function.__qualname__}"}
        for job in jobs
    ]
    (directory / _JOBS).write_text(json.dumps(described))


def read_jobs(directory: Path) -> list[Job]:
    """The jobs in the directory."""
    return [
        Job(**{**described, "function": _function(described["function"])})
        for described in json.loads((directory / _JOBS).read_text())
    ]


def _function(name: str) -> Callable[..., object]:
    module, _, attribute = name.partition(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), attribute)
    return function


def add_outcome(name: str, outcome: Outcome, directory: Path) -> None:
    """Leave one more outcome in the directory, where it is seen at once."""
    line = json.dumps({"name": name, **outcome._asdict(), "end": outcome.end.value})
    with (directory / _OUTCOMES).open("a") as file:
        file.write(line + "\n")


def read_outcomes(directory: Path) -> dict[str, Outcome]:
    """The outcomes so far, by the name of the job."""
    path = directory / _OUTCOMES
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line.pop("name"): Outcome(**{**line, "end": End(line["end"])}) for line in lines}
