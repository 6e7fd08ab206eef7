"""A trace prepared for one load: with the sizes, values and inputs of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from lskel.btf.btf import Btf
from lskel.btf.sections import last_array
from lskel.btf.types import TypeId
from lskel.runtime.objects import Fd
from lskel.runtime.patch import without_maps
from lskel.runtime.request import MapRequest, ProgramRequest, Request
from lskel.trace import BtfLoad, Input, MapCreate, MapUpdate, Op, ProgLoad, Subject, Trace

_Op = TypeVar("_Op", MapCreate, ProgLoad)


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
            ops[create.inner.op] = _with_fields(inner, asked.inner)
        write = trace.initial_value(slot)
        if write is not None:
            ops[write] = _with_value(ops[write], create, asked)
            _resize(ops, trace.map_create(slot), create)
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


def _with_fields(op: _Op, fields: Mapping[str, int]) -> _Op:
    """An operation with these fields, by the names in `lskel.bpf.settable`."""
    changed: dict[str, Any] = {**fields}
    return replace(op, **changed)


def _with_value(op: Op, create: MapCreate, asked: MapRequest) -> MapUpdate:
    """The operation that writes the value of global data, in its size."""
    assert isinstance(op, MapUpdate) and isinstance(op.value, bytes)
    assert isinstance(create.value_size, int)
    value = op.value if asked.initial is None else bytes(asked.initial)
    return replace(op, value=value[: create.value_size], size=create.value_size)


def _resize(ops: list[Op], before: MapCreate, create: MapCreate) -> None:
    """Give a section of another size its type, which is that of its last variable too."""
    loads = [number for number, op in enumerate(ops) if isinstance(op, BtfLoad)]
    if create.value_size == before.value_size or not create.value_type or not loads:
        return
    load, size = ops[loads[0]], create.value_size
    assert isinstance(load, BtfLoad) and isinstance(size, int)
    btf = Btf(load.data)
    array = last_array(btf, TypeId(create.value_type))
    length = None if array is None else array.length(size)
    if array is not None and length is not None:
        data = array.resized(load.data, size, length, btf.order)
        ops[loads[0]] = replace(load, data=data)


def _with_map(create: MapCreate, asked: MapRequest) -> MapCreate:
    sized = replace(create, max_entries=asked.max_entries or create.max_entries)
    made = _with_fields(sized, asked.attr)
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
    made = _with_fields(load, wanted.attr)
    if wanted.target is not None:
        fd, btf_id = Input(len(inputs)), Input(len(inputs) + 1)
        inputs += wanted.target
        made = replace(made, attach_btf=None, attach_btf_id=btf_id, attach_fd=fd)
    if uncreated:
        made = replace(made, insns=without_maps(made.insns, uncreated, trace.order))
    return made
