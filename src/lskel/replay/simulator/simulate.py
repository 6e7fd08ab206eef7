"""Running any loader program in a simulated kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from lskel import budget as limits
from lskel.bpf.context import NO_OP
from lskel.bpf.enums import MapType
from lskel.bpf.insn import Pseudo
from lskel.catalog.map_types import BY_TYPE
from lskel.cursor import ByteOrder
from lskel.errors import NotFound, ReplayError
from lskel.loader.model import Loader
from lskel.replay.simulator.addresses import Addresses
from lskel.replay.simulator.helpers import Env, helpers
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.machine import Interpreter, Resolve
from lskel.replay.simulator.record import CallRecord, FdRef
from lskel.replay.simulator.syscall.maps import SimulatedMap
from lskel.replay.simulator.syscall.storage import ArrayStorage
from lskel.runtime.failure import returned

_KEY = bytes(4)


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a loader run. `value` is its return value: 0, or minus an errno.

    `context` and `blob` are their final contents, `records` the calls of this run, `printed` its
    trace_printk output. `ops` are the current operations at each record, None before the first;
    empty if the loader does not report them. `failure` is its error, if known. The kernel keeps the
    objects and the fds.
    """

    value: int
    context: bytes
    blob: bytes
    records: tuple[CallRecord, ...]
    printed: tuple[str, ...]
    kernel: SimulatedKernel
    ops: tuple[int | None, ...] = ()
    failure: ReplayError | None = None

    @property
    def open_fds(self) -> Mapping[int, FdRef]:
        """The object of each open fd of the process."""
        return self.kernel.open_fds

    def check(self, name: str) -> None:
        """ReplayError if the loader `name` returned an error."""
        if self.value < 0:
            error = self.failure or returned(-self.value)
            error.places = [name]
            raise error

    def failed_op(self, loader: Loader) -> int | None:
        """The operation of the trace at which `loader`, of this replay, failed."""
        if self.value == 0:
            return None
        return _under_way(self.blob, loader.status, loader.trace.order)


def _under_way(blob: bytes | bytearray, status: int, order: ByteOrder) -> int | None:
    number = int.from_bytes(blob[status : status + 4], order)
    return None if number == NO_OP else number


def simulate(
    insns: bytes,
    blob: bytes,
    context: bytes,
    order: ByteOrder,
    *,
    kernel: SimulatedKernel | None = None,
    budget: int = limits.INSTRUCTIONS,
    status: int | None = None,
) -> Replay:
    """Run a SYSCALL program with a context and one map, whose value is `blob`.

    `status` is the offset in the blob at which an lskel loader keeps the number of its current
    operation. Addresses in the context are user memory, mapped by `kernel.map_user`. SimulatorFault
    for an operation that the verifier does not allow; the kernel's record has the calls so far.
    """
    kernel = kernel or SimulatedKernel(order)
    first, printed = len(kernel.records), len(kernel.printed)
    value, ctx = bytearray(blob), bytearray(context)
    with _mapped(kernel, ctx) as (addresses, address):
        blob_map = _blob_map(kernel, value)
        machine = Interpreter(
            insns,
            kernel.memory,
            helpers(Env(kernel, addresses)),
            resolve=_resolve(addresses, blob_map, value),
            budget=budget,
        )
        # BPF_PROG_RUN returns 32 bits.
        with _followed(kernel, value, status) as ops:
            returned = machine.run(address) & 0xFFFFFFFF
    return Replay(
        value=returned - (1 << 32) if returned >> 31 else returned,
        context=bytes(ctx),
        blob=bytes(value),
        records=tuple(kernel.records[first:]),
        printed=tuple(kernel.printed[printed:]),
        kernel=kernel,
        ops=tuple(ops),
    )


@contextmanager
def _followed(
    kernel: SimulatedKernel, blob: bytearray, status: int | None
) -> Iterator[list[int | None]]:
    """Collect the current operation at each call."""
    ops: list[int | None] = []
    if status is None:
        yield ops
        return

    def observe(_: CallRecord) -> None:
        ops.append(_under_way(blob, status, kernel.order))

    kernel.observers.append(observe)
    try:
        yield ops
    finally:
        kernel.observers.remove(observe)


@contextmanager
def _mapped(kernel: SimulatedKernel, context: bytearray) -> Iterator[tuple[Addresses, int]]:
    """The addresses of a run, and that of the context; all are removed afterwards."""
    addresses = Addresses(kernel.memory)
    region = kernel.memory.map("context", context)
    try:
        yield addresses, region.base
    finally:
        kernel.memory.unmap(region)
        addresses.close()


def _blob_map(kernel: SimulatedKernel, blob: bytearray) -> SimulatedMap:
    storage = ArrayStorage(1, kernel.order, len(blob), kernel.state.elements)
    storage.elements[0] = blob
    return SimulatedMap(
        row=BY_TYPE[MapType.ARRAY],
        key_size=len(_KEY),
        value_size=len(blob),
        max_entries=1,
        flags=0,
        name="__loader.map",
        element_size=len(blob),
        storage=storage,
    )


def _resolve(addresses: Addresses, blob_map: SimulatedMap, blob: bytearray) -> Resolve:
    """Resolve the only map, at index 0 of fd_array; the code has no fds and no kernel types."""

    def resolve(pseudo: Pseudo, number: int, offset: int) -> int:
        if number == 0 and pseudo is Pseudo.MAP_IDX:
            return addresses.of_map(blob_map)
        if number == 0 and pseudo is Pseudo.MAP_IDX_VALUE and offset < len(blob):
            return addresses.of_element(blob_map, _KEY, blob) + offset
        raise NotFound(
            f"{pseudo.name} {number}, offset {offset}, is outside the loader's one map, "
            f"of {len(blob)} bytes"
        )

    return resolve
