"""A trace prepared for one load: with the sizes, values and inputs of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lskel.runtime.objects import Fd
from lskel.runtime.patch import without_maps
from lskel.runtime.request import MapRequest, ProgramRequest, Request
from lskel.trace import Input, MapCreate, MapUpdate, ProgLoad, Subject, Trace


class VerifierLog(NamedTuple):
    """A buffer for the verifier's log of a program, at this level."""

    level: int
    buffer: bytearray


@dataclass(frozen=True, slots=True)
class PreparedTrace:
    """The data that a replay needs besides the loader.

    `trace` has the final sizes, values and settings. `loads`: whether each program is loaded.
    `inputs` are the values of `trace.inputs`. `given` are reused maps, by slot. `unneeded` are
    operations whose results nothing uses; `logs` are requested verifier logs, by operation.
    """

    trace: Trace
    loads: tuple[bool, ...]
    inputs: tuple[int, ...] = ()
    given: Mapping[int, Fd] = field(default_factory=dict)
    uncreated: frozenset[int] = frozenset()
    unneeded: frozenset[int] = frozenset()
    logs: Mapping[int, VerifierLog] = field(default_factory=dict)

    def skips(self, number: int) -> bool:
        """Whether an operation is skipped."""
        if number in self.trace.unwritten or number in self.unneeded:
            return True
        guard = self.trace.guards.get(number)
        if guard is None:
            return False
        if guard.subject is Subject.MAP:
            return guard.slot in self.given or guard.slot in self.uncreated
        return not self.loads[guard.slot]


def prepare_trace(trace: Trace, request: Request) -> PreparedTrace:
    """Apply a request to a trace: as `lskel.runtime.patch` does to a loader's blob."""
    ops = list(trace.ops)
    inputs = list(request.inputs)
    unneeded: set[int] = set()
    logs: dict[int, VerifierLog] = {}
    for slot, asked in enumerate(request.maps):
        number = trace.maps[slot].op
        create = ops[number] = _with_map(trace.map_create(slot), asked)
        if asked.inner and create.inner is not None:
            inner = ops[create.inner.op]
            assert isinstance(inner, MapCreate)
            ops[create.inner.op] = replace(inner, **asked.inner)
        write = trace.initial_value(slot)
        if asked.initial is not None and write is not None:
            op = ops[write]
            assert isinstance(op, MapUpdate)
            ops[write] = replace(op, value=bytes(asked.initial))
    for slot, wanted in enumerate(request.programs):
        load, place = trace.prog_load(slot), trace.programs[slot].op
        if load is None or place is None:
            continue
        if wanted.target is not None and load.attach_btf is not None:
            unneeded.add(load.attach_btf.op)
        ops[place] = _with_program(load, wanted, request.uncreated, trace, inputs)
        if wanted.log is not None:
            logs[place] = VerifierLog(wanted.log_level, wanted.log)
    return PreparedTrace(
        replace(trace, ops=tuple(ops)),
        tuple(program.loads for program in request.programs),
        tuple(inputs),
        {slot: asked.fd for slot, asked in enumerate(request.maps) if asked.fd is not None},
        request.uncreated,
        frozenset(unneeded),
        logs,
    )


def _with_map(create: MapCreate, asked: MapRequest) -> MapCreate:
    entries = asked.max_entries or create.max_entries
    made = replace(create, **{"max_entries": entries, **asked.attr})
    # A struct_ops map has BTF, but no types of its own.
    return replace(made, btf=None) if asked.attr.get("value_type") == 0 else made


def _with_program(
    load: ProgLoad,
    wanted: ProgramRequest,
    uncreated: frozenset[int],
    trace: Trace,
    inputs: list[int],
) -> ProgLoad:
    """The operation with its settings; an attach target is appended to `inputs`."""
    made = replace(load, **wanted.attr)
    if wanted.target is not None:
        fd, btf_id = Input(len(inputs)), Input(len(inputs) + 1)
        inputs += wanted.target
        made = replace(made, attach_btf=None, attach_btf_id=btf_id, attach_fd=fd)
    if uncreated:
        made = replace(made, insns=without_maps(made.insns, uncreated, trace.order))
    return made
