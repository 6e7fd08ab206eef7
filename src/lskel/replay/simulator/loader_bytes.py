"""Running a loader's bytes in the simulator, without its description: one run, no options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

from lskel.bpf.enums import Cmd, ProgType
from lskel.bpf.names import enum_name
from lskel.cursor import ByteOrder
from lskel.describe.listing import Listing, bare_rows, check_programs
from lskel.errors import LskelError
from lskel.loader.header import LightSkeleton
from lskel.loader.model import Loader
from lskel.replay import strace
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.local import SimulatedMachine
from lskel.replay.simulator.record import CallRecord, RecordedCode
from lskel.replay.simulator.run import run, run_request
from lskel.replay.simulator.simulate import Replay, simulate
from lskel.runtime.attach_point import AttachPoint
from lskel.runtime.program import ProgramDefinition
from lskel.runtime.request import Request
from lskel.trace import AttachBtfId, AttachFd


class BareRun(NamedTuple):
    """The calls of a run, and the error with which it ended; empty if none.

    `context` is the final context, empty if the loader did not return; `printed` its output.
    """

    records: tuple[CallRecord, ...]
    problem: str
    context: bytes
    printed: tuple[str, ...]

    def lines(self, order: ByteOrder) -> Iterator[str]:
        """The calls as `lskel trace` prints them, followed by the error."""
        for record in self.records:
            yield from strace.lines(record, order)
        if self.problem:
            yield f"     {self.problem}"

    def as_json(self) -> list[Any]:
        """The calls as `lskel trace --json` prints them."""
        return [strace.to_json(record) for record in self.records]


def bare_run(loader: Loader, options: Options = DEFAULTS) -> BareRun:
    """Run a loader on a machine that has every attach target."""
    trace = loader.trace
    asking = {i.slot for i in trace.inputs if isinstance(i, AttachFd | AttachBtfId)}
    targets = {trace.programs[slot].name: "any" for slot in asking}
    options = replace(options, targets={**targets, **options.targets})
    kernel = SimulatedKernel(trace.order)
    machine = _AnyTarget(kernel)
    return _watched(
        kernel, trace.name, lambda: run(loader, options, kernel=kernel, machine=machine)
    )


def bare_request(loader: Loader, request: Request) -> BareRun:
    """Run a loader for a request; reused maps are created, too."""
    made = request._replace(maps=tuple(item._replace(fd=None) for item in request.maps))
    kernel = SimulatedKernel(loader.trace.order)
    return _watched(kernel, loader.trace.name, lambda: run_request(loader, made, kernel))


def bare_header_run(name: str, skeleton: LightSkeleton) -> BareRun:
    """Run the loader of a light skeleton header."""
    order = skeleton.order
    kernel = SimulatedKernel(order)
    insns, blob, context = skeleton.insns, skeleton.blob, bytes(skeleton.context_size)
    return _watched(kernel, name, lambda: simulate(insns, blob, context, order, kernel=kernel))


def _watched(kernel: SimulatedKernel, name: str, replay: Callable[[], Replay]) -> BareRun:
    problem, context = "", b""
    try:
        replayed = replay()
        context = replayed.context
        replayed.check(name)
    except LskelError as error:
        problem = str(error)
    return BareRun(tuple(kernel.records), problem, context, tuple(kernel.printed))


class _AnyTarget(SimulatedMachine):
    def attach_point(
        self, program: ProgramDefinition, target: str, held: ExitStack, *, trust_pins: bool
    ) -> AttachPoint:
        return AttachPoint(fd=0, btf_id=1)


def bare_listing(loader: Loader, programs: Sequence[str] | None = None) -> Iterator[Listing]:
    """The programs that a run loads, by their kernel names; those of these names, or all.

    NotFound for an unknown name.
    """
    done = bare_run(loader)
    loads = [r.attr for r in done.records if r.cmd is Cmd.PROG_LOAD]
    check_programs(programs or (), [str(attr["prog_name"]) for attr in loads])
    for attr in loads:
        name, kind, code = str(attr["prog_name"]), attr["prog_type"], attr["insns"]
        if (programs is None or name in programs) and isinstance(code, RecordedCode):
            type_ = enum_name(ProgType, kind) if isinstance(kind, int) else ""
            yield Listing(name, "", type_, bare_rows(code.raw, loader.trace.order), "")
    if done.problem:
        type_ = enum_name(ProgType, ProgType.SYSCALL)
        yield Listing(loader.trace.name, "", type_, (), done.problem)
