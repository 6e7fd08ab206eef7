"""Filling in the context that a loader is run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lskel.errors import UsageError
from lskel.loader import context
from lskel.trace import MapCreate, Trace


def build_context(
    trace: Trace,
    max_entries: Mapping[str, int],
    initial: Mapping[str, bytes],
    *,
    default_entries: Callable[[MapCreate], int],
    address_of: Callable[[bytes], int],
) -> bytearray:
    """The context of a trace's loader, with overrides by map name.

    `default_entries` is the size of a map that is not overridden, on the machine that the loader
    runs on. `address_of` says where a value lies that the loader shall read; the caller keeps it
    there until the loader has run. UsageError where an override does not fit.
    """
    slots = {made.name: slot for slot, made in enumerate(trace.maps)}
    for name in (*max_entries, *initial):
        if name not in slots:
            raise UsageError(f"there is no map '{name}'", hint=f"there is: {', '.join(slots)}")
    ctx = bytearray(context.size(len(trace.maps), len(trace.programs)))

    def store(offset: int, size: int, value: int) -> None:
        ctx[offset : offset + size] = value.to_bytes(size, trace.order)

    store(0, 4, len(ctx))
    for slot, made in enumerate(trace.maps):
        op = trace.map_create(slot)
        entries = max_entries.get(made.name, default_entries(op))
        if entries != op.max_entries:
            store(context.max_entries(slot), 4, entries)
    for name, value in initial.items():
        slot = slots[name]
        write = trace.initial_value(slot)
        if write is None:
            raise UsageError(f"map '{name}' is not global data: it has no initial value")
        if len(value) != write.size:
            raise UsageError(f"map '{name}' has {write.size} bytes, not {len(value)}")
        store(context.initial_value(slot), 8, address_of(value))
    return ctx
