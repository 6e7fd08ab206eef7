"""Filling in the context that a loader is run with."""

from __future__ import annotations

from collections.abc import Callable

from lskel.bpf import context
from lskel.loader.model import context_size
from lskel.replay.prepare import Prepared
from lskel.trace import MapUpdate, Trace


def build_context(
    trace: Trace, prepared: Prepared, address_of: Callable[[bytes], int]
) -> bytearray:
    """The context that makes the loader of `trace` do what `prepared` says.

    `address_of` says where a value lies that the loader shall read; the caller keeps it there
    until the loader has run.
    """
    changed = prepared.trace
    maps, programs = len(trace.maps), len(trace.programs)
    ctx = bytearray(context_size(trace))

    def store(offset: int, size: int, value: int) -> None:
        ctx[offset : offset + size] = value.to_bytes(size, trace.order, signed=value < 0)

    store(0, 4, len(ctx))
    for slot in range(maps):
        entries = changed.map_create(slot).max_entries
        if entries != trace.map_create(slot).max_entries:
            store(context.max_entries(slot), 4, entries)
        number = trace.initial_value(slot)
        if number is not None and changed.ops[number] is not trace.ops[number]:
            write = changed.ops[number]
            assert isinstance(write, MapUpdate) and isinstance(write.value, bytes)
            store(context.initial_value(slot), 8, address_of(write.value))
    for slot, fd in prepared.given.items():
        store(context.map_fd(slot), 4, fd.fileno())
    for slot, (program, loads) in enumerate(zip(trace.programs, prepared.loads, strict=True)):
        if loads != program.autoload:
            wanted = context.LOAD if loads else context.LEAVE_OUT
            store(context.program_fd(maps, slot), 4, wanted)
    for number, value in enumerate(prepared.inputs):
        store(context.input_value(maps, programs, number), 4, value)
    return ctx
