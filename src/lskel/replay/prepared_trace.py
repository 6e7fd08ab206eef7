"""A trace prepared for one load: with the sizes, values and inputs of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lskel.runtime.objects import Fd
from lskel.runtime.request import Request
from lskel.trace import MapUpdate, Subject, Trace


@dataclass(frozen=True, slots=True)
class PreparedTrace:
    """The data that a replay needs besides the loader.

    `trace` has the final sizes and values. `loads`: whether each program is loaded. `inputs` are
    the values of `trace.inputs`. `given` are reused maps, by slot.
    """

    trace: Trace
    loads: tuple[bool, ...]
    inputs: tuple[int, ...] = ()
    given: Mapping[int, Fd] = field(default_factory=dict)

    def skips(self, number: int) -> bool:
        """Whether an operation is skipped."""
        if number in self.trace.unwritten:
            return True
        guard = self.trace.guards.get(number)
        if guard is None:
            return False
        if guard.subject is Subject.MAP:
            return guard.slot in self.given
        return not self.loads[guard.slot]


def prepare_trace(trace: Trace, request: Request) -> PreparedTrace:
    """Apply a request to a trace."""
    ops = list(trace.ops)
    for slot, asked in enumerate(request.maps):
        if asked.max_entries:
            number = trace.maps[slot].op
            ops[number] = replace(trace.map_create(slot), max_entries=asked.max_entries)
        write = trace.initial_value(slot)
        if asked.initial is not None and write is not None:
            op = ops[write]
            assert isinstance(op, MapUpdate)
            ops[write] = replace(op, value=bytes(asked.initial))
    return PreparedTrace(
        replace(trace, ops=tuple(ops)),
        tuple(program.loads for program in request.programs),
        request.inputs,
        {slot: asked.fd for slot, asked in enumerate(request.maps) if asked.fd is not None},
    )
