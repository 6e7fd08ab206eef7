"""Replay in the kernel: run the loader program."""

from __future__ import annotations

import errno
import sys
from contextlib import ExitStack

from lskel.bpf import context
from lskel.bpf.context import NO_OP
from lskel.bpf.enums import Cmd
from lskel.errors import NoPermission, ReplayError
from lskel.loader.generate import generate
from lskel.loader.model import Form, Loader
from lskel.replay import direct
from lskel.replay.context import build_context
from lskel.replay.given import kept, prepare_here
from lskel.replay.loaded import Loaded, loaded
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.prepare import Prepared
from lskel.replay.report import failure
from lskel.replay.this_machine import ThisMachine
from lskel.runtime.loader import Result, run_loader
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import Capability, missing, read_situation, why_refused
from lskel.runtime.signals import uninterrupted
from lskel.runtime.syscall import BpfError, address_of
from lskel.trace import BtfLoad, ProgLoad, Trace

# What a kernel says to a program type, a flag, or a field of an attr that it does not know.
_TOO_OLD = (errno.EINVAL, errno.E2BIG)


def run(loader: Loader, options: Options = DEFAULTS) -> Loaded:
    """Load everything by running the loader once; needs Linux 5.14.

    ReplayError names the failing operation, with the verifier's log (asked for by direct replay);
    nothing is left loaded then. Errors of the options and of what the machine lacks are those of
    `prepare`.
    """
    with ThisMachine() as machine, ExitStack() as stack:
        prepared = prepare_here(loader.trace, options, machine, stack)
        with uninterrupted():
            loaded = kept(_loaded(loader, prepared), prepared, options)
            stack.pop_all()
        return loaded


def rehearse(loader: Loader, options: Options = DEFAULTS) -> None:
    """Load everything and let it go; nothing is pinned.

    Raises what `run` does, but for what pinning itself meets.
    """
    with ThisMachine() as machine, ExitStack() as stack:
        prepared = prepare_here(loader.trace, options, machine, stack)
        with uninterrupted():
            _loaded(loader, prepared).close()


def _loaded(loader: Loader, prepared: Prepared) -> Loaded:
    # The context holds addresses of values in it until the last run of the loader.
    ctx = build_context(loader.trace, prepared, address_of)
    ran, result = _run(loader, ctx)
    if result.value != 0:
        raise _explain(ran, prepared, result)
    return _handed_back(loader.trace, prepared, ctx)


def _handed_back(trace: Trace, prepared: Prepared, ctx: bytearray) -> Loaded:
    count = len(trace.maps)

    def fd(offset: int) -> Fd:
        return Fd(int.from_bytes(ctx[offset : offset + 4], sys.byteorder))

    return loaded(
        trace,
        [prepared.given.get(slot) or fd(context.map_fd(slot)) for slot in range(count)],
        [
            fd(context.program_fd(count, slot)) if loads else None
            for slot, loads in enumerate(prepared.loads)
        ],
        [
            fd(context.link_fd(count, len(trace.programs), len(trace.inputs), number))
            if prepared.loads[link.slot]
            else None
            for number, link in enumerate(trace.links)
        ],
    )


def _run(loader: Loader, ctx: bytearray) -> tuple[Loader, Result]:
    """The loader that ran, which is an unrolled one where the kernel has no bpf_loop."""
    try:
        return loader, run_loader(loader.insns, loader.blob, ctx, loader.btf, loader.func_info)
    except BpfError as error:
        is_old = error.cmd == Cmd.PROG_LOAD and error.errno == errno.EINVAL
        if is_old and loader.form is Form.TABLE:
            return _run(generate(loader.trace, Form.UNROLLED), ctx)
        what = f"{loader.trace.name}: the kernel refuses the loader program: {error.what}"
        if error.errno == errno.EPERM:
            raise NoPermission(what, errno=error.errno, hint=why_refused()) from error
        # To the verifier a helper is unknown that this process may not use.
        lacks = missing(read_situation(), Capability.BPF, Capability.PERFMON)
        hint = error.hint
        if lacks or error.errno in _TOO_OLD:
            need = why_refused() if lacks else "loader programs need Linux 5.14"
            hint = f"{need}; try --replay direct"
        raise ReplayError(what, errno=error.errno, hint=hint) from error


def _explain(loader: Loader, prepared: Prepared, result: Result) -> ReplayError:
    trace, code = loader.trace, -result.value
    number = int.from_bytes(result.blob[loader.status : loader.status + 4], sys.byteorder)
    if number == NO_OP or number >= len(trace.ops):
        return ReplayError(f"{trace.name}: the loader failed before its first call", errno=code)
    log: tuple[str, ...] = ()
    if isinstance(trace.ops[number], ProgLoad | BtfLoad):
        log = _log(prepared, number)
    return failure(trace, number, code, log)


def _log(prepared: Prepared, number: int) -> tuple[str, ...]:
    """The log of an operation that failed, asked for directly.

    All calls of a loader share one log buffer, so it could not tell whose log it holds.
    """
    try:
        direct.replay(prepared).close()
    except ReplayError as error:
        return error.log if error.op == number else ()
    return ()
