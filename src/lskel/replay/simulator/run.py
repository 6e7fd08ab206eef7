"""Replay of an lskel loader in the simulator."""

from __future__ import annotations

from contextlib import ExitStack

from lskel import budget as limits
from lskel.loader.model import Bytes, Loader
from lskel.replay.options import DEFAULTS, Options, apply
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.local import SimulatedMachine
from lskel.replay.simulator.simulate import Replay, simulate
from lskel.runtime.request import Request, build_context
from lskel.skeleton.dynamic import collection_of


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
    bpf = collection_of(trace, loader, machine or SimulatedMachine(kernel))
    with ExitStack() as held:
        apply(options, bpf, trace)
        request = bpf.request(held, held)
    return run_request(loader, request, kernel, budget=budget)


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
    return simulate(
        loader.insns,
        loader.blob,
        context,
        order,
        kernel=kernel,
        budget=budget,
        status=None if loader.compared is Bytes.DIFFERENT else loader.status,
    )
