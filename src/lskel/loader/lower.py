"""Lowering: converts the operations of a trace to records, and lays out the blob.

Both loader forms are generated from records: the table form stores them in the blob and walks them,
the unrolled form has a few instructions for each.

Blob, in this order; a form adds regions before and after
    fd_array   the maps' fds, in the order of the context, then those of kfuncs' BTFs, which each
               program uses anew
    fds        4 bytes per fd, except those that come with BTF ids
    found      per BTF id, the id and the fd of its BTF; 8 bytes per address; then per kfunc the
               first half of its calls
    attrs      of all calls
    data       BTF, values, instructions, ...
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from errno import ENOENT
from itertools import groupby
from typing import NamedTuple

from lskel.bpf import context
from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Insn
from lskel.loader.blob import Blob, Region, RegionKind
from lskel.loader.records import ANY_ERRNO, Code, Condition, Record
from lskel.syscalls import Call, Data, FdArray, FdPointer, InputNumber, Number, Part, call_of
from lskel.trace import (
    BtfFind,
    BtfLoad,
    Close,
    ExternReloc,
    Guard,
    Input,
    KsymFind,
    LinkCreate,
    MapCreate,
    MapUpdate,
    Op,
    ProgLoad,
    RawTracepointOpen,
    Ref,
    Subject,
    Trace,
)

FD_SIZE = 4
FOUND_SIZE = 8
# Offset of the immediate in an instruction; after opcode, registers and offset (RFC 9669 section
# 3).
INSN_IMM = 4
# For steps that do not belong to a single operation.
NO_SINGLE_OP = -1
_MAKES_FD = (BtfLoad, MapCreate, ProgLoad, RawTracepointOpen, LinkCreate)


class FdSlots(NamedTuple):
    """fd_array: its place, and the indexes for kfunc BTFs by the operation that finds them.

    Maps have the first indexes, in context order.
    """

    place: int
    kfuncs: dict[int, int]


class Step(NamedTuple):
    """A record, and its operation or NO_SINGLE_OP."""

    op: int
    record: Record


class Lowering:
    """Lays out the blob and lowers each operation to `steps`.

    The current operation is stored at `status`. Places from `context_place` on are fields of the
    context. Values that the caller may override are copied in chunks of `value_size` bytes. Results
    of calls that create no fd go to `nowhere`.
    """

    def __init__(
        self,
        trace: Trace,
        blob: Blob,
        slots: FdSlots,
        context_place: int,
        *,
        status: int,
        nowhere: int,
        value_size: int,
    ) -> None:
        self.trace = trace
        self.order = trace.order
        self.blob = blob
        self.slots = slots
        self.context = context_place
        self.value_size = value_size
        self.calls = [
            None if number in trace.unwritten else call_of(op, self.order)
            for number, op in enumerate(trace.ops)
        ]
        self.btf_users: defaultdict[int, list[int]] = defaultdict(list)
        for number, op in enumerate(trace.ops):
            if isinstance(op, MapCreate | ProgLoad) and op.btf is not None:
                self.btf_users[op.btf.op].append(number)
        self.target_users = {
            op.attach_btf.op: number
            for number, op in enumerate(trace.ops)
            if isinstance(op, ProgLoad) and _has_settable_target(op) and op.attach_btf is not None
        }
        self.status = status
        self.nowhere = nowhere
        self.fds = self.place_fds()
        self.found = dict(self.place_found())
        self.kfunc_calls = {
            number: blob.add(self.kfunc_call(0), INSN_IMM, RegionKind.FOUND, number, "call")
            for number in slots.kfuncs
        }
        self.attrs = [
            blob.add(call.attr, len(call.attr), RegionKind.ATTR, number) if call else 0
            for number, call in enumerate(self.calls)
        ]
        self.steps = [*self.log_fields(), *self.operations()]

    def place_fds(self) -> dict[int, int]:
        """Contiguous, within reach of the hand-over."""
        made = [number for number, op in enumerate(self.trace.ops) if isinstance(op, _MAKES_FD)]
        start = self.blob.add(b"", FD_SIZE * len(made), RegionKind.FDS)
        self.blob.regions.pop()
        places = {number: start + FD_SIZE * index for index, number in enumerate(made)}
        self.blob.regions += (
            Region(place, FD_SIZE, RegionKind.FDS, number) for number, place in places.items()
        )
        return places

    def place_found(self) -> Iterator[tuple[int, int]]:
        """For the result of each find; an id and the fd of its BTF are halves of one number."""
        for number, op in enumerate(self.trace.ops):
            if isinstance(op, KsymFind):
                found = self.blob.add(b"", FOUND_SIZE, RegionKind.FOUND, number, "address")
                yield number, found
            elif isinstance(op, BtfFind):
                low = self.blob.add(b"", FOUND_SIZE, RegionKind.FOUND, number)
                self.blob.regions.pop()
                high = low + FD_SIZE
                found, fd = (low, high) if self.order == "little" else (high, low)
                self.blob.regions += (
                    Region(found, FD_SIZE, RegionKind.FOUND, number, "BTF id"),
                    Region(fd, FD_SIZE, RegionKind.FDS, number),
                )
                self.fds[number] = fd
                yield number, found

    def kfunc_call(self, slot: int) -> bytes:
        """The first half of a kfunc call; the immediate follows."""
        return Insn(i.OP_CALL, 0, CallKind.KFUNC, slot).encode(self.order)[:INSN_IMM]

    # -- places -----------------------------------------------------------------------------------

    def results(self) -> Iterator[tuple[int, int]]:
        """Offsets in the context for the fds of maps, programs and links, with their places."""
        trace = self.trace
        maps, programs, inputs = len(trace.maps), len(trace.programs), len(trace.inputs)
        for slot in range(maps):
            yield context.map_fd(slot), self.map_fd(slot)
        for slot, program in enumerate(trace.programs):
            if program.op is not None:
                yield context.program_fd(maps, slot), self.fds[program.op]
        for number, link in enumerate(trace.links):
            yield context.link_fd(maps, programs, inputs, number), self.fds[link.op]

    def map_fd(self, slot: int) -> int:
        return self.slots.place + FD_SIZE * slot

    def input(self, number: int) -> int:
        maps, programs = len(self.trace.maps), len(self.trace.programs)
        return self.context + context.input_value(maps, programs, number)

    def field(self, number: int, field: str) -> int:
        """The place of a field of an operation's attr."""
        call = self.calls[number]
        assert call is not None
        return self.attrs[number] + call.layout[field][0]

    def fd(self, ref: Ref) -> int:
        """The place of an fd for other operations: for a map, that of a possibly reused one."""
        op = self.trace.ops[ref.op]
        if isinstance(op, MapCreate) and op.slot is not None:
            return self.map_fd(op.slot)
        return self.fds[ref.op]

    # -- operations -------------------------------------------------------------------------------

    def log_fields(self) -> Iterator[Step]:
        """If the caller requests a log, every call that can write one gets its buffer."""
        copies: list[Step] = []
        for number, call in enumerate(self.calls):
            if call is None or call.log is None:
                continue
            for field, source in (
                (call.log.level, context.LOG_LEVEL),
                (call.log.size, context.LOG_SIZE),
                (call.log.buffer, context.LOG_BUF),
            ):
                for part in range(0, call.layout[field][1], 4):
                    a, b = self.field(number, field) + part, self.context + source + part
                    copies.append(Step(NO_SINGLE_OP, Record(Code.COPY, a=a, b=b)))
        if copies:
            level = self.context + context.LOG_LEVEL
            skip = Record(Code.SKIP_IF, Condition.ZERO, b=level, c=len(copies))
            yield Step(NO_SINGLE_OP, skip)
            yield from copies

    def operations(self) -> Iterator[Step]:
        for guard, run in groupby(range(len(self.trace.ops)), self.trace.guards.get):
            numbers = list(run)
            first, *lowered = (Step(n, record) for n in numbers for record in self.operation(n))
            yield first
            if guard is not None:
                for record in self.guard(guard, numbers, lowered):
                    yield Step(numbers[0], record)
            yield from lowered

    def guard(self, guard: Guard, numbers: list[int], lowered: list[Step]) -> Iterator[Record]:
        """Skip the records of a reused map, or of a program with autoload disabled."""
        if guard.subject is Subject.MAP:
            given = self.context + context.map_fd(guard.slot)
            if self.trace.maps[guard.slot].op in numbers:
                yield Record(Code.COPY, a=self.map_fd(guard.slot), b=given)
            yield Record(Code.SKIP_IF, Condition.NOT_ZERO, b=given, c=len(lowered))
            return
        wanted = self.context + context.program_fd(len(self.trace.maps), guard.slot)
        is_on = self.trace.programs[guard.slot].autoload
        condition = Condition.NEGATIVE if is_on else Condition.NOT_POSITIVE
        yield Record(Code.SKIP_IF, condition, b=wanted, c=len(lowered))

    def operation(self, number: int) -> Iterator[Record]:
        """The first record stores the number of the operation."""
        op, call = self.trace.ops[number], self.calls[number]
        yield Record(Code.SET, a=self.status, c=number)
        if call is not None:
            yield from self.fill(number, op, call)
            yield from self.call(number, op, call)
        elif isinstance(op, BtfFind):
            yield from self.find(number, op)
        elif isinstance(op, KsymFind):
            name = self.name(number, op.name)
            size = len(op.name.encode()) + 1
            missing = ENOENT if op.is_weak else 0
            yield Record(Code.KSYM, 0, size, name, self.found[number], missing)
        elif isinstance(op, Close):
            yield from self.close(self.fds[op.ref.op])
            if op.ref.op in self.slots.kfuncs:
                yield Record(Code.SET, a=self.slot(op.ref.op), c=0)

    def close(self, place: int) -> Iterator[Record]:
        """Close an fd if it is valid, and clear it; a failed call may have left an errno."""
        yield Record(Code.SKIP_IF, Condition.NOT_POSITIVE, b=place, c=1)
        yield Record(Code.CLOSE, b=place)

    def name(self, number: int, name: str) -> int:
        return self.blob.share(name.encode() + b"\0", number, "name")

    def slot(self, find: int) -> int:
        return self.slots.place + FD_SIZE * self.slots.kfuncs[find]

    def find(self, number: int, op: BtfFind) -> Iterator[Record]:
        size = len(op.name.encode()) + 1
        name, fd, found = self.name(number, op.name), self.fds[number], self.found[number]
        missing = ENOENT if op.is_weak else 0
        if number in self.target_users:
            yield from self.unless_set(self.target_users[number], 1)
        records = [Record(Code.FIND, op.kind, size, name, min(found, fd), missing)]
        if number in self.slots.kfuncs:
            # Calls of a vmlinux kfunc have no slot.
            records.append(Record(Code.COPY, a=self.slot(number), b=fd))
            call = int.from_bytes(self.kfunc_call(self.slots.kfuncs[number]), self.order)
            records.append(Record(Code.SKIP_IF, Condition.ZERO, b=fd, c=1))
            records.append(Record(Code.SET, a=self.kfunc_calls[number], c=call))
        if op.is_weak and op.mismatch is not None:
            given = self.input(op.mismatch.number)
            yield Record(Code.SKIP_IF, Condition.NOT_ZERO, b=given, c=len(records))
        yield from records

    def unless_set(self, number: int, skipped: int) -> Iterator[Record]:
        """Skip records if the attr of a program has its attach target: the caller has set it."""
        target = self.field(number, "attach_btf_id")
        yield Record(Code.SKIP_IF, Condition.NOT_ZERO, b=target, c=skipped)

    def fill(self, number: int, op: Op, call: Call) -> Iterator[Record]:
        """Run-time fields of the attr: fds, ids, sizes and overridden values."""
        found = []
        for value in call.numbers:
            if isinstance(value, InputNumber):
                source = self.input(value.input.number)
            else:
                is_id = value.part is Part.BTF_ID
                source = self.found[value.ref.op] if is_id else self.fd(value.ref)
            copy = Record(Code.COPY, a=self.field(number, value.field), b=source)
            if isinstance(value, Number) and value.ref.op in self.target_users:
                found.append(copy)
            else:
                yield copy
        if found:
            yield from self.unless_set(number, len(found))
            yield from found
        if call.if_module is not None:
            flags = call.if_module
            yield Record(Code.SKIP_IF, Condition.ZERO, b=self.fd(flags.ref), c=1)
            yield Record(Code.SET, a=self.field(number, flags.field), c=flags.value)
        if isinstance(op, MapCreate) and op.slot is not None:
            entries = self.context + context.max_entries(op.slot)
            yield Record(Code.SKIP_IF, Condition.ZERO, b=entries, c=1)
            yield Record(Code.COPY, a=self.field(number, "max_entries"), b=entries)
        for pointer in call.pointers:
            yield from self.pointer(number, op, pointer)

    def pointer(self, number: int, op: Op, pointer: Data | FdPointer | FdArray) -> Iterator[Record]:
        target = self.target(number, op, pointer)
        yield Record(Code.POINT, a=self.field(number, pointer.field), b=target)
        if not isinstance(pointer, Data):
            return
        for extern in _externs(op, pointer):
            place = target + extern.insn * i.SIZE
            yield from self.relocate(pointer.content, extern, place)
        if pointer.initial:
            yield from self.value(op, target, pointer.size)

    def target(self, number: int, op: Op, pointer: Data | FdPointer | FdArray) -> int:
        """The place that a pointer points to; writable data is not shared."""
        if isinstance(pointer, FdArray):
            return self.slots.place
        if isinstance(pointer, FdPointer):
            return self.fd(pointer.ref)
        content, size, field = pointer.content, pointer.size, pointer.field
        if pointer.initial or _externs(op, pointer):
            return self.blob.add(content, size, RegionKind.DATA, number, field)
        return self.blob.share(content.ljust(size, b"\0"), number, field)

    def value(self, op: Op, place: int, size: int) -> Iterator[Record]:
        """Global data, read from the address in the context if set."""
        assert isinstance(op, MapUpdate)
        create = self.trace.ops[op.map.op]
        assert isinstance(create, MapCreate) and create.slot is not None
        address = self.context + context.initial_value(create.slot)
        copies = [
            Record(
                Code.VALUE,
                size=min(self.value_size, size - start),
                a=place + start,
                b=address,
                c=start,
            )
            for start in range(0, size, self.value_size)
        ]
        # An address is not 0 if one of its halves is not.
        yield Record(Code.SKIP_IF, Condition.NOT_ZERO, b=address, c=1)
        yield Record(Code.SKIP_IF, Condition.ZERO, b=address + 4, c=len(copies))
        yield from copies

    def relocate(self, insns: bytes, extern: ExternReloc, insn: int) -> Iterator[Record]:
        """Patch the instruction at blob + insn."""
        find = self.trace.ops[extern.find.op]
        low, high = insn + INSN_IMM, insn + i.SIZE + INSN_IMM
        if isinstance(find, MapCreate):
            yield Record(Code.COPY, a=low, b=self.fd(extern.find))
            return
        found = self.found[extern.find.op]
        if extern.is_call:
            yield Record(Code.COPY, a=insn, b=self.kfunc_calls[extern.find.op])
            yield Record(Code.COPY, a=low, b=found)
        elif isinstance(find, KsymFind):
            first, second = (low, high) if self.order == "little" else (high, low)
            yield Record(Code.COPY, a=first, b=found)
            yield Record(Code.COPY, a=second, b=found + 4)
        else:
            yield Record(Code.COPY, a=low, b=found)
            yield Record(Code.COPY, a=high, b=self.fd(extern.find))
            if isinstance(find, BtfFind) and find.is_weak:
                code = i.read(insns, extern.insn, self.order)
                plain = code._replace(src=i.Pseudo.IMM64).encode(self.order)[:INSN_IMM]
                yield Record(Code.SKIP_IF, Condition.NOT_ZERO, b=found, c=1)
                yield Record(Code.SET, a=insn, c=int.from_bytes(plain, self.order))

    def call(self, number: int, op: Op, call: Call) -> Iterator[Record]:
        """The call; one that may fail because of its BTF is retried without BTF, or skipped."""
        result = self.fds.get(number, self.nowhere)
        made = Record(Code.CALL, call.cmd, len(call.attr), self.attrs[number], result)
        if isinstance(op, BtfLoad) and not op.needed_by:
            zeros = [zero for user in self.btf_users[number] for zero in self.zeros(user)]
            yield from self.attempt(made, zeros)
        elif isinstance(op, MapCreate) and op.btf_is_optional:
            yield from self.attempt(made, [*self.zeros(number), made])
        else:
            yield made
        if isinstance(op, MapCreate) and op.slot is not None:
            yield Record(Code.COPY, a=self.map_fd(op.slot), b=self.fds[number])

    def attempt(self, call: Record, otherwise: list[Record]) -> Iterator[Record]:
        """A call that may fail; without an fd, the `otherwise` records are executed."""
        refused = [Record(Code.SET, a=call.b, c=0), *otherwise]
        yield call._replace(c=ANY_ERRNO)
        yield Record(Code.SKIP_IF, Condition.NOT_NEGATIVE, b=call.b, c=len(refused))
        yield from refused

    def zeros(self, number: int) -> Iterator[Record]:
        """Clear the BTF fields of an attr."""
        call = self.calls[number]
        for field in call.btf_fields if call is not None else ():
            yield Record(Code.SET, a=self.field(number, field), c=0)


def _has_settable_target(op: ProgLoad) -> bool:
    """Whether the caller may set another attach target; that of struct_ops is their member."""
    return not isinstance(op.expected_attach_type, Input)


def _externs(op: Op, data: Data) -> tuple[ExternReloc, ...]:
    """The externs of the data, if it is a program's instructions."""
    return op.externs if isinstance(op, ProgLoad) and data.content is op.insns else ()
