"""Replay in the kernel: run the loader program."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from lskel.bpf import context
from lskel.bpf.context import NO_OP
from lskel.bpf.enums import Cmd
from lskel.errors import NoPermission, ReplayError, at
from lskel.loader.model import Bytes, Form, Loader
from lskel.loader.verify import in_form
from lskel.replay import direct
from lskel.replay.context import build_context
from lskel.replay.given import kept, prepare_here
from lskel.replay.loaded import Loaded, loaded
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.prepare import Prepared
from lskel.replay.report import failure
from lskel.replay.this_machine import ThisMachine
from lskel.replay.trust import check_bytes, judged
from lskel.runtime.loader import Result, run_loader
from lskel.runtime.loader_fds import LoaderFd
from lskel.runtime.objects import Fd, Kind
from lskel.runtime.permissions import Capability, missing, read_situation, why_refused
from lskel.runtime.signals import uninterrupted
from lskel.runtime.syscall import BpfError, address_of, errno_name
from lskel.trace import BtfLoad, ProgLoad, Trace

# What a kernel says to a program type, a flag, or a field of an attr that it does not know.
_TOO_OLD = (errno.EINVAL, errno.E2BIG)


def run(loader: Loader, options: Options = DEFAULTS) -> Loaded:
    """Load everything by running the loader once; needs Linux 5.14.

    ReplayError names the failing operation, with the verifier's log (asked for by direct replay);
    nothing is left loaded then. BadBundle where the bytes are not what the trace generates, unless
    the options trust them; BadInput where the loader hands back other fds than its trace says.
    Errors of the options and of what the machine lacks are those of `prepare`.
    """
    with ThisMachine(trust_pins=options.trust_pins) as machine, ExitStack() as stack:
        prepared = _prepare(loader, options, machine, stack)
        with uninterrupted():
            loaded = kept(_loaded(loader, prepared), prepared, options)
            stack.pop_all()
        return loaded


def rehearse(loader: Loader, options: Options = DEFAULTS) -> None:
    """Load everything and let it go; nothing is pinned.

    Raises what `run` does, but for what pinning itself meets.
    """
    with ThisMachine(trust_pins=options.trust_pins) as machine, ExitStack() as stack:
        prepared = _prepare(loader, options, machine, stack)
        with uninterrupted():
            _loaded(loader, prepared).close()


def _prepare(loader: Loader, options: Options, machine: ThisMachine, stack: ExitStack) -> Prepared:
    check_bytes(loader, options)
    return prepare_here(loader.trace, options, machine, stack)


def _loaded(loader: Loader, prepared: Prepared) -> Loaded:
    # The context holds addresses of values in it until the last run of the loader.
    ctx = build_context(loader.trace, prepared, address_of)
    wanted = list(_wanted(loader.trace, prepared))
    ran, result = _run(loader, ctx, wanted)
    if result.value != 0:
        raise _explain(ran, prepared, result)
    return replace(_handed_back(loader.trace, prepared, result.fds), loader=ran)


def _wanted(trace: Trace, prepared: Prepared) -> Iterator[LoaderFd]:
    """What the loader makes: maps that are not given, then programs and links."""
    maps, programs, inputs = len(trace.maps), len(trace.programs), len(trace.inputs)
    for slot, made in enumerate(trace.maps):
        if slot not in prepared.given:
            kind = trace.map_create(slot).type
            yield LoaderFd(Kind.MAP, context.map_fd(slot), made.name, kind)
    for slot, program in enumerate(trace.programs):
        load = trace.prog_load(slot)
        if prepared.loads[slot] and load is not None:
            yield LoaderFd(Kind.PROG, context.program_fd(maps, slot), program.name, load.type)
    for number, link in enumerate(trace.links):
        if prepared.loads[link.slot]:
            offset = context.link_fd(maps, programs, inputs, number)
            yield LoaderFd(Kind.LINK, offset, trace.programs[link.slot].name)


def _handed_back(trace: Trace, prepared: Prepared, made: tuple[Fd, ...]) -> Loaded:
    fds = iter(made)
    return loaded(
        trace,
        [prepared.given.get(slot) or next(fds) for slot in range(len(trace.maps))],
        [next(fds) if loads else None for loads in prepared.loads],
        [next(fds) if prepared.loads[link.slot] else None for link in trace.links],
    )


def _run(loader: Loader, ctx: bytearray, wanted: list[LoaderFd]) -> tuple[Loader, Result]:
    """The loader that ran: an unrolled one where the kernel has no bpf_loop.

    But bytes that are not what their trace generates run as they are, or not at all.
    """
    try:
        with at(loader.trace.name):
            result = run_loader(
                loader.insns, loader.blob, ctx, loader.btf, loader.func_info, wanted
            )
        return loader, result
    except BpfError as error:
        is_old = error.cmd == Cmd.PROG_LOAD and error.errno == errno.EINVAL
        is_same = loader.compared is Bytes.SAME
        if is_old and is_same and loader.form is Form.TABLE:
            return _run(in_form(loader, Form.UNROLLED), ctx, wanted)
        what = f"{loader.trace.name}: the kernel refuses the loader program: {error.what}"
        if error.errno == errno.EPERM:
            raise NoPermission(what, errno=error.errno, hint=why_refused()) from error
        # To the verifier a helper is unknown that this process may not use.
        lacks = missing(read_situation(), Capability.BPF, Capability.PERFMON)
        hint = error.hint
        if lacks or error.errno in _TOO_OLD:
            need = why_refused() if lacks else "loader programs need Linux 5.14"
            instead = (
                "try --replay direct"
                if is_same
                else "no other form is generated: the bytes do not match the description"
            )
            hint = f"{need}; {instead}"
        raise ReplayError(what, errno=error.errno, hint=hint) from error


def _explain(loader: Loader, prepared: Prepared, result: Result) -> ReplayError:
    trace, code = loader.trace, -result.value
    if judged(loader).compared is Bytes.DIFFERENT:  # the description does not tell what they did
        return ReplayError(f"{trace.name}: the loader returned {errno_name(code)}", errno=code)
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
