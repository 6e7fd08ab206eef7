"""Replay in the kernel: run the loader program."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from lskel.errors import ReplayError
from lskel.loader import context
from lskel.loader.model import NO_OP, Loader
from lskel.replay import target
from lskel.replay.context import build_context
from lskel.replay.loaded import Loaded, loaded
from lskel.replay.report import failure, split_log
from lskel.runtime.loader import Result, run_loader
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError, address_of
from lskel.trace import BtfLoad, ProgLoad

# A log that is cut keeps its end from Linux 6.4 on; older kernels say ENOSPC.
LOG_SIZE = 1 << 24


def run(
    loader: Loader,
    *,
    max_entries: Mapping[str, int] | None = None,
    initial: Mapping[str, bytes] | None = None,
) -> Loaded:
    """Load everything by running the loader once; needs Linux 5.14.

    `max_entries` and `initial` override sizes of maps and whole values of global data, by map
    name. ReplayError names the failing operation, with the verifier's log (asked for by a second
    run); nothing is left loaded then. UsageError where an override does not fit.
    """
    trace = loader.trace
    target.check_byte_order(trace)
    # The context holds the addresses of these until the last run of the loader.
    keep = {name: bytes(value) for name, value in (initial or {}).items()}
    ctx = build_context(
        trace,
        max_entries or {},
        keep,
        default_entries=target.max_entries,
        address_of=address_of,
    )
    result = _run(loader, ctx)
    if result.value != 0:
        raise _explain(loader, ctx, result)
    count = len(trace.maps)
    return loaded(
        trace,
        [_fd(ctx, context.map_fd(slot)) for slot in range(count)],
        [
            _fd(ctx, context.program_fd(count, slot)) if program.op is not None else None
            for slot, program in enumerate(trace.programs)
        ],
    )


def _run(loader: Loader, ctx: bytearray) -> Result:
    try:
        return run_loader(loader.insns, loader.blob, ctx)
    except BpfError as error:
        raise ReplayError(
            f"{loader.trace.name}: the kernel refuses the loader program: {error.what}",
            errno=error.errno,
            hint=why_refused() or "loader programs need Linux 5.14; try --replay direct",
        ) from error


def _fd(ctx: bytearray, offset: int) -> Fd:
    return Fd(int.from_bytes(ctx[offset : offset + 4], sys.byteorder))


def _store(ctx: bytearray, offset: int, size: int, value: int) -> None:
    ctx[offset : offset + size] = value.to_bytes(size, sys.byteorder)


def _explain(loader: Loader, ctx: bytearray, result: Result) -> ReplayError:
    trace, code = loader.trace, -result.value
    number = int.from_bytes(result.blob[loader.status : loader.status + 4], sys.byteorder)
    if number == NO_OP or number >= len(trace.ops):
        return ReplayError(f"{trace.name}: the loader failed before its first call", errno=code)
    log: tuple[str, ...] = ()
    if isinstance(trace.ops[number], ProgLoad | BtfLoad):
        log = _log(loader, ctx)
    return failure(trace, number, code, log)


def _log(loader: Loader, ctx: bytearray) -> tuple[str, ...]:
    """Run again with a log buffer; what succeeded this time is closed."""
    buffer = bytearray(LOG_SIZE)
    again = bytearray(ctx)
    _store(again, context.LOG_LEVEL, 4, 1)
    _store(again, context.LOG_SIZE, 4, len(buffer))
    _store(again, context.LOG_BUF, 8, address_of(buffer))
    result = run_loader(loader.insns, loader.blob, again)
    if result.value == 0:
        trace = loader.trace
        count = len(trace.maps)
        for slot in range(count):
            _fd(again, context.map_fd(slot)).close()
        for slot, program in enumerate(trace.programs):
            if program.op is not None:
                _fd(again, context.program_fd(count, slot)).close()
    return split_log(bytes(buffer))
