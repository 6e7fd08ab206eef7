"""The replay in the simulator as data: the calls, by operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.errors import LskelError, NotFound, ReplayError, UsageError
from lskel.explain.report import AttrField, BlobRegion, Failure, SimulatedCall, Simulation
from lskel.loader.model import Loader
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.simulator.record import (
    CallRecord,
    FdRef,
    RecordedCode,
    RecordedFdArray,
    RecordedHelper,
    Value,
)
from lskel.replay.simulator.run import run
from lskel.replay.simulator.simulate import Replay
from lskel.replay.strace import is_set, result_text, value_text
from lskel.runtime.syscall import errno_name
from lskel.trace import Close, Trace
from lskel.verifier.explain import explain_failure
from lskel.verifier.render import render


class Simulated(NamedTuple):
    """The calls by operation, and the simulation; `replay` is None if it did not start."""

    calls: dict[int, list[SimulatedCall]]
    summary: Simulation
    replay: Replay | None


def explain_simulation(
    loader: Loader, options: Options, regions: tuple[BlobRegion, ...]
) -> Simulated:
    """Replay a loader. A failure is part of the result, except for errors of the options.

    UsageError or NotFound if they do not fit the loader, or something is missing.
    """
    try:
        replay = run(loader, options)
    except LskelError as error:
        if options != DEFAULTS and isinstance(error, UsageError | NotFound):
            raise
        return Simulated({}, Simulation(0, (), stopped(error, loader.trace)), None)
    explained = _Calls(loader, replay, regions)
    calls: dict[int, list[SimulatedCall]] = {}
    others: list[SimulatedCall] = []
    for record in replay.records:
        op = explained.op(record)
        # The cleanup of a failed loader belongs to no operation.
        cleans = (
            record.cmd is RecordedHelper.CLOSE and op is not None and explained.makes_no_close(op)
        )
        mine = others if op is None or cleans else calls.setdefault(op, [])
        mine.append(explained.call(record))
    failed = None
    if replay.failure is not None:
        replay.failure.places = [loader.trace.name]
        failed = stopped(replay.failure, loader.trace)
    summary = Simulation(len(replay.records), tuple(others), failed)
    return Simulated(calls, summary, replay)


def stopped(error: LskelError, trace: Trace) -> Failure:
    """The failure of a replay of a trace, as data."""
    code = getattr(error, "errno", None)
    log: tuple[str, ...] = ()
    explanation: tuple[str, ...] = ()
    if isinstance(error, ReplayError) and error.log:
        log, explanation = error.log, tuple(render(explain_failure(error, trace)))
    return Failure(
        getattr(error, "op", None),
        "" if code is None else errno_name(code),
        ": ".join([*error.places, error.what]),
        error.hint,
        explanation,
        log,
    )


class _Calls:
    """The calls of a replay, by operations and regions."""

    def __init__(self, loader: Loader, replay: Replay, regions: tuple[BlobRegion, ...]) -> None:
        self._ops = loader.trace.ops
        self._under_way = replay.ops or (None,) * len(replay.records)
        self._pointed = {
            (use.op, use.field): number
            for number, region in enumerate(regions)
            for use in region.uses
            if use.field
        }
        arrays = (number for number, region in enumerate(regions) if region.kind == "fd_array")
        self._fd_array = next(arrays, None)

    def op(self, record: CallRecord) -> int | None:
        """The operation of a call; None if the loader does not report one."""
        number = self._under_way[record.n]
        return number if number is not None and number < len(self._ops) else None

    def makes_no_close(self, op: int) -> bool:
        return not isinstance(self._ops[op], Close)

    def call(self, record: CallRecord) -> SimulatedCall:
        op = self.op(record)
        return SimulatedCall(
            record.n,
            record.name,
            tuple(
                self._field(name, value, op) for name, value in record.attr.items() if is_set(value)
            ),
            result_text(record.result, record.ret),
            record.failed,
        )

    def _field(self, name: str, value: Value, op: int | None) -> AttrField:
        made = (self._under_way[ref.call] for ref in _fds(value) if ref.call is not None)
        ops = tuple(dict.fromkeys(number for number in made if number is not None))
        region = self._fd_array if name == "fd_array" else None
        if op is not None and not isinstance(value, FdRef):
            region = self._pointed.get((op, name), region)
        return AttrField(name, value_text(name, value), ops, region)


def _fds(value: Value) -> Iterator[FdRef]:
    """The open fds in a field, or in what it points to."""
    parts: Iterable[Value] = (value,)
    if isinstance(value, RecordedFdArray):
        parts = (fd for _, fd in value.used)
    elif isinstance(value, RecordedCode):
        parts = (fd for _, fd in value.fds)
    yield from (part for part in parts if isinstance(part, FdRef) and part.kind)
