"""Replay in the kernel: run the loader program."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping

from lskel.errors import NoPermission, ReplayError
from lskel.loader import context
from lskel.loader.model import NO_OP, Loader
from lskel.replay import target
from lskel.replay.context import build_context
from lskel.replay.loaded import Loaded, loaded
from lskel.replay.overrides import override
from lskel.replay.report import failure, split_log
from lskel.runtime.loader import Result, run_loader
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError, address_of
from lskel.trace import BtfLoad, ProgLoad, Trace

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
    # The context holds addresses of values in it until the last run of the loader.
    changed = override(trace, max_entries, initial, target.this_machine())
    ctx = build_context(trace, changed, address_of)
    result = _run(loader, ctx)
    if result.value != 0:
        raise _explain(loader, ctx, result)
    return _handed_back(trace, ctx)


def _handed_back(trace: Trace, ctx: bytearray) -> Loaded:
    count = len(trace.maps)

    def fd(offset: int) -> Fd:
        return Fd(int.from_bytes(ctx[offset : offset + 4], sys.byteorder))

    return loaded(
        trace,
        [fd(context.map_fd(slot)) for slot in range(count)],
        [
            fd(context.program_fd(count, slot)) if program.op is not None else None
            for slot, program in enumerate(trace.programs)
        ],
    )


def _run(loader: Loader, ctx: bytearray) -> Result:
    try:
        return run_loader(loader.insns, loader.blob, ctx)
    except BpfError as error:
        what = f"{loader.trace.name}: the kernel refuses the loader program: {error.what}"
        if error.errno == errno.EPERM:
            raise NoPermission(what, errno=error.errno, hint=why_refused()) from error
        hint = "loader programs need Linux 5.14; try --replay direct"
        raise ReplayError(what, errno=error.errno, hint=hint) from error


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
        _handed_back(loader.trace, again).close()
    return split_log(bytes(buffer))
