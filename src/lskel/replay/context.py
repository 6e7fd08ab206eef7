"""Filling in the context that a loader is run with."""

from __future__ import annotations

from collections.abc import Callable

from lskel.loader import context
from lskel.trace import MapUpdate, Trace


def build_context(trace: Trace, changed: Trace, address_of: Callable[[bytes], int]) -> bytearray:
    """The context that makes the loader of `trace` do what `changed` says (see `override`).

    `address_of` says where a value lies that the loader shall read; the caller keeps it there
    until the loader has run.
    """
    ctx = bytearray(context.size(len(trace.maps), len(trace.programs)))

    def store(offset: int, size: int, value: int) -> None:
        ctx[offset : offset + size] = value.to_bytes(size, trace.order)

    store(0, 4, len(ctx))
    for slot in range(len(trace.maps)):
        entries = changed.map_create(slot).max_entries
        if entries != trace.map_create(slot).max_entries:
            store(context.max_entries(slot), 4, entries)
        number = trace.initial_value(slot)
        if number is not None and changed.ops[number] is not trace.ops[number]:
            write = changed.ops[number]
            assert isinstance(write, MapUpdate) and isinstance(write.value, bytes)
            store(context.initial_value(slot), 8, address_of(write.value))
    return ctx
