"""The replay in the simulator as data: the calls, by the operations that make them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lskel.errors import LskelError, NotFound, UsageError
from lskel.explain.report import Call, Failure, Field, Region, Simulation
from lskel.loader.model import Loader
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.report import failure
from lskel.replay.simulator.record import Aside, Code, FdArray, FdRef, FoundType, Record
from lskel.replay.simulator.run import Replay, run
from lskel.replay.strace import is_set, result_text, value_text
from lskel.runtime.syscall import errno_name
from lskel.trace import Close


class Simulated(NamedTuple):
    """The calls by operation, and what is said of the whole; `replay` is None where none began."""

    calls: dict[int, list[Call]]
    summary: Simulation
    replay: Replay | None


def explain_simulation(loader: Loader, options: Options, regions: tuple[Region, ...]) -> Simulated:
    """Replay a loader. What stops it is part of the answer, unless it is the options.

    UsageError or NotFound where they do not fit the loader, or something must be given as well.
    """
    try:
        replay = run(loader, options)
    except LskelError as error:
        if options != DEFAULTS and isinstance(error, UsageError | NotFound):
            raise
        return Simulated({}, Simulation(0, (), stopped(error)), None)
    failed = replay.failed_op(loader)
    pointed = {
        (use.op, use.field): number
        for number, region in enumerate(regions)
        for use in region.uses
        if use.field
    }
    fd_array = next((n for n, region in enumerate(regions) if region.kind == "fd_array"), None)
    calls: dict[int, list[Call]] = {}
    others: list[Call] = []
    for record, op in zip(replay.records, replay.ops, strict=True):
        call = _call(record, op, replay, pointed, fd_array)
        # What a loader that failed closes on its way out is no operation's.
        cleans = record.cmd is Aside.CLOSE and (
            op is None or not isinstance(loader.trace.ops[op], Close)
        )
        if op is None or cleans:
            others.append(call)
        else:
            calls.setdefault(op, []).append(call)
    stop = None
    if failed is not None:
        stop = stopped(failure(loader.trace, failed, -replay.value))
    return Simulated(calls, Simulation(len(replay.records), tuple(others), stop), replay)


def stopped(error: LskelError) -> Failure:
    """A replay's end as data."""
    code = getattr(error, "errno", None)
    return Failure(
        getattr(error, "op", None),
        "" if code is None else errno_name(code),
        ": ".join([*error.places, error.what]),
        error.hint,
        tuple(getattr(error, "log", ())),
    )


def _call(
    record: Record,
    op: int | None,
    replay: Replay,
    pointed: dict[tuple[int, str], int],
    fd_array: int | None,
) -> Call:
    def field(name: str, value: object) -> Field:
        ops = dict.fromkeys(
            replay.ops[ref.call] for ref in _fds(value) if ref.call is not None and ref.kind
        )
        made = tuple(number for number in ops if number is not None)
        region = fd_array if name == "fd_array" else None
        if op is not None and not isinstance(value, FdRef):
            region = pointed.get((op, name), region)
        return Field(name, value_text(name, value), made, region)  # type: ignore[arg-type]

    return Call(
        record.n,
        record.name,
        tuple(field(name, value) for name, value in record.attr.items() if is_set(value)),
        result_text(record.result, record.ret),
        record.failed,
    )


def _fds(value: object) -> Iterator[FdRef]:
    """The fds in what a field holds or points to."""
    if isinstance(value, FdRef):
        yield value
    elif isinstance(value, FdArray):
        yield from (fd for _, fd in value.used if isinstance(fd, FdRef))
    elif isinstance(value, Code):
        yield from (fd for _, fd in value.fds if isinstance(fd, FdRef))
    elif isinstance(value, FoundType) and isinstance(value.btf, FdRef):
        yield value.btf
