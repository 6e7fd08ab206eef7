"""The table loader of a trace: the records in the blob, and the walker with its constants.

Blob, besides the regions of lower.py
    state      error, pc (the next record), status (the current operation, all ones before)
    context    a copy of it
    records    16 bytes each; those of the trace, then those that close the fds
    padding    for the longest access at a variable place

The closing records are skipped if `error` is 0; a failure continues with them.
"""

from __future__ import annotations

from itertools import groupby

from lskel.bpf import context
from lskel.bpf.asm import MAX_JUMP
from lskel.bpf.context import NO_OP
from lskel.errors import LimitExceeded
from lskel.loader import records
from lskel.loader.blob import Blob, Region, RegionKind
from lskel.loader.kfuncs import number_kfuncs
from lskel.loader.lower import FD_SIZE, NO_SINGLE_OP, FdSlots, Lowering, Step
from lskel.loader.model import Form, Loader, context_size
from lskel.loader.notes import Notes
from lskel.loader.records import Code, Condition, Record
from lskel.loader.table.walker import Plan, walker
from lskel.trace import Trace

# Minimum size of an access at a variable place; an attr is not longer.
MIN_WINDOW = 256
# The field of the region with the closing records.
CLOSING = "closing"
MESSAGE = b"lskel: record %u: %ld\0"


def tabulate(trace: Trace, *, debug: bool = False, notes: Notes | None = None) -> Loader:
    """Generate the table loader of a trace; LimitExceeded names the exceeded limit.

    With `debug` it prints the result of each record that can fail by bpf_trace_printk.
    """
    size = context_size(trace)
    if size > MAX_JUMP:
        raise LimitExceeded(
            f"{len(trace.maps)} maps and {len(trace.programs)} programs need a context of {size} "
            f"bytes, more than the {MAX_JUMP} that an instruction can reach",
            limit=MAX_JUMP,
            actual=size,
        )
    blob = Blob()
    slots = _fd_slots(trace, blob)
    error = blob.add(b"", 8, RegionKind.STATE, field="error")
    pc = blob.add(b"", 4, RegionKind.STATE, field="pc")
    status = blob.add(NO_OP.to_bytes(4, trace.order), 4, RegionKind.STATUS, field="op under way")
    place = blob.add(b"", size, RegionKind.CONTEXT)
    if place + context.HEADER_SIZE > MAX_JUMP:
        raise LimitExceeded(
            f"after {place} bytes for kfunc fds, the loader's own fields are past the {MAX_JUMP} "
            "that an instruction can reach",
            limit=MAX_JUMP,
            actual=place + context.HEADER_SIZE,
        )
    message = blob.share(MESSAGE, -1, "message") if debug else None
    nowhere = blob.add(b"", FD_SIZE, RegionKind.STATE, field="results of no use")
    low = Lowering(
        trace,
        blob,
        slots,
        place,
        status=status,
        nowhere=nowhere,
        value_size=records.MAX_LENGTH,
    )
    closing = _closing(low, error)
    steps = [*low.steps, *closing]
    table = _records(low.steps, trace, blob)
    _records(closing, trace, blob, CLOSING)
    limit, window = len(blob.data), _window(steps)
    blob.add(b"", window, RegionKind.PADDING)
    made = walker(
        Plan(
            limit=limit,
            window=window,
            context=place,
            context_size=size,
            pc=pc,
            error=error,
            records=table,
            record_count=len(steps),
            closing=len(low.steps),
            codes=frozenset(step.record.code for step in steps),
            results=tuple(low.results()),
            message=message,
            message_size=len(MESSAGE),
        ),
        trace.order,
        notes,
    )
    return Loader(
        form=Form.TABLE,
        trace=trace,
        insns=made.insns,
        blob=bytes(blob.data),
        regions=tuple(blob.regions),
        status=status,
        btf=made.btf,
        func_info=made.func_info,
    )


def _fd_slots(trace: Trace, blob: Blob) -> FdSlots:
    """Slots for all maps, and for the kfuncs of the program with the most."""
    numbered = number_kfuncs(trace)
    # An offset of 0 in a call means vmlinux.
    first = max(len(trace.maps), 1)
    last = first + max(numbered.values(), default=-1)
    if numbered and last > MAX_JUMP:
        raise LimitExceeded(
            f"slot {last} for a kfunc is past the {MAX_JUMP} that an instruction's offset can "
            "encode",
            limit=MAX_JUMP,
            actual=last,
        )
    place = blob.add(b"", FD_SIZE * (last + 1), RegionKind.FD_ARRAY)
    return FdSlots(place, {find: first + number for find, number in numbered.items()})


def _closing(low: Lowering, error: int) -> list[Step]:
    """Close all open fds, unless there was no error."""
    closes = [record for place in low.fds.values() for record in low.close(place)]
    skip = Record(Code.SKIP_IF, Condition.ZERO, b=error, c=len(closes))
    return [Step(NO_SINGLE_OP, record) for record in (skip, *closes)]


def _records(steps: list[Step], trace: Trace, blob: Blob, field: str = "") -> int:
    """Records as one table, with a region per operation."""
    content = b"".join(step.record.encode(trace.order) for step in steps)
    table = blob.add(content, len(content), RegionKind.RECORDS)
    blob.regions.pop()
    for op, run in groupby(enumerate(steps), lambda item: item[1].op):
        indexes = [index for index, _ in run]
        offset, size = table + indexes[0] * records.SIZE, len(indexes) * records.SIZE
        blob.regions.append(Region(offset, size, RegionKind.RECORDS, op, field))
    return table


def _window(steps: list[Step]) -> int:
    """The longest access at a variable place, rounded up to a power of two."""
    widest = max((step.record.size for step in steps), default=0)
    if widest > records.MAX_LENGTH:
        raise LimitExceeded(
            f"a name of {widest} bytes is longer than {records.MAX_LENGTH}",
            limit=records.MAX_LENGTH,
            actual=widest,
        )
    return max(MIN_WINDOW, 1 << (widest - 1).bit_length())
