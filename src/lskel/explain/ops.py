"""The operations as data: what each creates and uses, when it is skipped, and its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lskel.describe.labels import label
from lskel.describe.regions import operation
from lskel.describe.requirements import inputs
from lskel.describe.tables import TableRecord
from lskel.explain.report import BlobRegion, Op, SimulatedCall, Use
from lskel.trace import (
    MAKES,
    Guard,
    MapCreate,
    ProgLoad,
    Subject,
    Trace,
    inputs_of,
    references,
)
from lskel.trace import Op as TraceOp


def explain_ops(
    trace: Trace,
    regions: tuple[BlobRegion, ...],
    calls: dict[int, list[SimulatedCall]],
    steps: dict[int, list[TableRecord]],
    insns: dict[int, tuple[int, int]],
) -> tuple[Op, ...]:
    """All operations; the other arguments are by operation number."""
    stays = {made.op for made in trace.maps} | {program.op for program in trace.programs}
    stays |= {link.op for link in trace.links}
    asked = inputs(trace)
    uses = [tuple(_uses(trace, op)) for op in trace.ops]
    used_by: dict[int, list[int]] = {}
    for number, used in enumerate(uses):
        for other in dict.fromkeys(use.op for use in used):
            used_by.setdefault(other, []).append(number)
    owned: dict[int, list[int]] = {}
    for index, region in enumerate(regions):
        for number in dict.fromkeys(use.op for use in region.uses):
            owned.setdefault(number, []).append(index)
    return tuple(
        Op(
            number,
            type(op).__name__,
            operation(trace, number),
            str(label(trace, op)),
            _map(trace, op),
            _program(trace, op),
            MAKES[type(op)],
            number in stays,
            uses[number],
            tuple(used_by.get(number, ())),
            _guard(trace, trace.guards.get(number)),
            tuple(asked[given.number] for given in inputs_of(op)),
            tuple(owned.get(number, ())),
            tuple(calls.get(number, ())),
            tuple(steps.get(number, ())),
            insns.get(number),
        )
        for number, op in enumerate(trace.ops)
    )


def _uses(trace: Trace, op: TraceOp) -> Iterator[Use]:
    for _, takes, ref in references(op):
        if takes.role != "extern":  # a symbol may be used many times
            yield Use(ref.op, takes.role, 1)
    if isinstance(op, ProgLoad):
        slots = Counter(trace.maps_in_code(op))
        made = Counter({trace.maps[slot].op: times for slot, times in slots.items()})
        yield from (Use(number, "map in code", made[number]) for number in sorted(made))
        finds = Counter(extern.find.op for extern in op.externs)
        # All uses of a symbol have the same role.
        is_call = {extern.find.op: extern.is_call for extern in reversed(op.externs)}
        for number in sorted(finds):
            if isinstance(trace.ops[number], MapCreate):  # a jump table
                yield Use(number, "map in code", finds[number])
            else:
                yield Use(number, "kfunc" if is_call[number] else "ksym", finds[number])


def _map(trace: Trace, op: TraceOp) -> int | None:
    subject = trace.subject(op)
    return subject.slot if isinstance(subject, MapCreate) else None


def _program(trace: Trace, op: TraceOp) -> int | None:
    subject = trace.subject(op)
    return subject.slot if isinstance(subject, ProgLoad) else None


def _guard(trace: Trace, guard: Guard | None) -> str:
    if guard is None:
        return ""
    if guard.subject is Subject.MAP:
        return f"skipped if map '{trace.maps[guard.slot].name}' is reused"
    program = trace.programs[guard.slot]
    if program.autoload:
        return f"skipped if autoload of program '{program.name}' is disabled"
    return f"skipped unless autoload of program '{program.name}' is enabled"
