"""The durations of operations: direct replays in the running kernel."""

from __future__ import annotations

import errno
import platform
import statistics
import time

from lskel.bpf.enums import Cmd, MapType
from lskel.bpf.layouts import MAP_CREATE
from lskel.errors import NoPermission, NotFound, NotSupported, ReplayError, at
from lskel.explain.report import Measurement, OpTime
from lskel.explain.simulation import stopped
from lskel.replay.direct import CallByCall
from lskel.replay.options import Options, apply
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError, bpf, host_attr
from lskel.skeleton.dynamic import collection_of
from lskel.trace import Trace

# The number of replays; fewer if together they take longer than this (in ns).
REPEATS = 5
ENOUGH = 5_000_000_000


def measure(trace: Trace, options: Options) -> Measurement:
    """Load and release a few times. A failure is part of the result.

    NoPermission if the process may not use bpf(2) at all; UsageError if the options do not fit the
    trace.
    """
    _check_permission(trace.name)
    runs: list[dict[int, int]] = []
    failure = None
    end = time.monotonic_ns() + ENOUGH
    while failure is None and len(runs) < REPEATS and (not runs or time.monotonic_ns() < end):
        spent: dict[int, int] = {}
        try:
            bpf = collection_of(trace, kernel=CallByCall(trace, spent.__setitem__))
            with at(trace.name):
                apply(options, bpf, trace)
            bpf.rehearse()
        except NoPermission:
            raise
        except (ReplayError, NotFound, NotSupported) as error:
            failure = stopped(error, trace)
        runs.append(spent)
    numbers = sorted({number for run in runs for number in run})
    return Measurement(
        platform.release(),
        platform.machine(),
        len(runs),
        int(statistics.median(sum(run.values()) for run in runs)),
        tuple(_time(number, [run[number] for run in runs if number in run]) for number in numbers),
        failure,
    )


def _time(number: int, spent: list[int]) -> OpTime:
    return OpTime(number, int(statistics.median(spent)), min(spent), max(spent))


def _check_permission(name: str) -> None:
    """Check that a map can be created: else errors of single operations are of no use."""
    attr = host_attr(
        MAP_CREATE, "max_entries", map_type=MapType.HASH, key_size=4, value_size=4, max_entries=1
    )
    try:
        Fd(bpf(Cmd.MAP_CREATE, attr)).close()
    except BpfError as error:
        if error.errno != errno.EPERM:
            raise
        what = f"{name}: cannot create a map: {error.what}"
        raise NoPermission(what, errno=errno.EPERM, hint=why_refused()) from error
