"""The operations as data: what each makes and uses, when it is left out, and its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lskel.describe.asks import inputs
from lskel.describe.labels import label
from lskel.describe.regions import operation
from lskel.describe.tables import Step
from lskel.explain.report import Call, Op, Region, Use
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
    regions: tuple[Region, ...],
    calls: dict[int, list[Call]],
    steps: dict[int, list[Step]],
    insns: dict[int, tuple[int, int]],
) -> tuple[Op, ...]:
    """All operations; what is given besides is by their number."""
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
        if takes.role != "extern":  # there may be many of one symbol
            yield Use(ref.op, takes.role, 1)
    if isinstance(op, ProgLoad):
        slots = Counter(trace.maps_in_code(op))
        made = Counter({trace.maps[slot].op: times for slot, times in slots.items()})
        yield from (Use(number, "map in code", made[number]) for number in sorted(made))
        finds = Counter(extern.find.op for extern in op.externs)
        # A symbol is used in one way; its first use says which.
        is_call = {extern.find.op: extern.is_call for extern in reversed(op.externs)}
        for number in sorted(finds):
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
        return f"left out where map '{trace.maps[guard.slot].name}' is given"
    program = trace.programs[guard.slot]
    if program.autoload:
        return f"left out where program '{program.name}' is switched off"
    return f"left out unless program '{program.name}' is switched on"
