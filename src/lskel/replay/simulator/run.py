"""Replay of an lskel loader in the simulator."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from lskel import budget as limits
from lskel.describe.labels import labels
from lskel.errors import ReplayError
from lskel.loader.model import Bytes, Loader
from lskel.replay.options import DEFAULTS, Options, apply
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.local import SimulatedMachine
from lskel.replay.simulator.simulate import Replay, simulate
from lskel.runtime.advice import advise
from lskel.runtime.failure import before_first, failure, returned
from lskel.runtime.image import Image
from lskel.runtime.request import Request, build_context
from lskel.skeleton.dynamic import collection_of, with_loader


def run(
    loader: Loader,
    options: Options = DEFAULTS,
    *,
    faults: Faults | None = None,
    kernel: SimulatedKernel | None = None,
    machine: SimulatedMachine | None = None,
    budget: int = limits.INSTRUCTIONS,
) -> Replay:
    """Run an lskel loader; options and their errors are those of `lskel.load`.

    `faults` are for the new kernel that is created if `kernel` is None; `machine` replaces the
    kernel's default machine. Pins are neither read nor created.
    """
    trace = loader.trace
    kernel = kernel or SimulatedKernel(trace.order, faults=faults)
    machine = machine or SimulatedMachine(kernel)
    bpf = collection_of(trace, loader, machine)
    with ExitStack() as held:
        apply(options, bpf, trace)
        request = bpf.request(held, held)
        replay = run_request(loader, request, kernel, budget=budget)
    if not replay.value:
        return replay
    error = _failure(loader, replay)
    advise(error, [made.created(machine) for made in bpf.maps], labels(trace))
    return replace(replay, failure=error)


def _failure(loader: Loader, replay: Replay) -> ReplayError:
    """Which operation was refused, as far as the loader's bytes tell."""
    said, number, code = labels(loader.trace), replay.failed_op(loader), -replay.value
    if loader.compared is Bytes.DIFFERENT:
        return returned(code)
    if number is None or number >= len(said):
        return before_first(code)
    return failure(number, said[number], code)


def run_request(
    loader: Loader,
    request: Request,
    kernel: SimulatedKernel,
    *,
    budget: int = limits.INSTRUCTIONS,
) -> Replay:
    """Run an lskel loader for a request without reused maps."""
    order = loader.trace.order

    def address_of(value: bytes | bytearray) -> int:
        return kernel.map_user("initial value", bytearray(value)).base

    context = bytes(build_context(request, order, address_of))
    image = with_loader(Image(loader.trace.name, order, tuple), loader)
    return simulate(
        image.insns,
        image.settled(request, address_of),
        context,
        order,
        kernel=kernel,
        budget=budget,
        status=None if loader.compared is Bytes.DIFFERENT else loader.status,
    )
