"""What whoever loads a trace may change: sizes of maps, and values of global data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lskel.errors import UsageError
from lskel.replay.target import Target
from lskel.trace import MapUpdate, Trace


def override(
    trace: Trace,
    max_entries: Mapping[str, int] | None,
    initial: Mapping[str, bytes] | None,
    target: Target,
) -> Trace:
    """The trace with sizes and whole initial values replaced, by map name.

    Sizes that depend on the `target` become what they are there. UsageError where an override
    does not fit.
    """
    ops = list(trace.ops)
    slots = {made.name: slot for slot, made in enumerate(trace.maps)}
    for name in (*(max_entries or {}), *(initial or {})):
        if name not in slots:
            raise UsageError(f"there is no map '{name}'", hint=f"there is: {', '.join(slots)}")
    for slot, made in enumerate(trace.maps):
        create = trace.map_create(slot)
        wanted = (max_entries or {}).get(made.name, create.max_entries)
        if made.name in (max_entries or {}) and not 0 < wanted < 1 << 32:
            raise UsageError(f"map '{made.name}' cannot have {wanted} entries")
        sized = replace(create, max_entries=wanted)
        ops[made.op] = replace(sized, max_entries=target.max_entries(sized))
    for name, value in (initial or {}).items():
        number = trace.initial_value(slots[name])
        if number is None:
            raise UsageError(f"map '{name}' is not global data: it has no initial value")
        write = ops[number]
        assert isinstance(write, MapUpdate)
        if len(value) != write.size:
            raise UsageError(f"map '{name}' has {write.size} bytes, not {len(value)}")
        ops[number] = replace(write, value=value)
    return replace(trace, ops=tuple(ops))
