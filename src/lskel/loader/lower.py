"""Lowering: the operations of a trace become records, whose places in the blob are laid out.

Both forms of loaders are made from them: the table form keeps the records in the blob and walks
them, the unrolled form has a few instructions for each.

Blob, in this order; a form adds its own before and after
    fd_array   the maps' fds, in the order of the context, then those of kfuncs' BTFs, which each
               program uses anew
    fds        4 bytes for each fd that is made, closed on failure
    found      for each BTF id that and, for a kfunc, the offset of its calls; 8 bytes an address
    attrs      of all calls; pointers in them are offsets in the blob until the loader runs
    data       BTF, values, instructions, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.loader import context
from lskel.loader.blob import Blob, Region, RegionKind
from lskel.loader.records import Code, Condition, Record
from lskel.syscalls import Call, Data, FdArray, FdPointer, Given, Part, call_of
from lskel.trace import (
    BtfFind,
    BtfLoad,
    Close,
    ExternReloc,
    Guard,
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
# Where an instruction has its registers, offset and immediate (RFC 9669 section 3).
INSN_REGS, INSN_OFF, INSN_IMM = 1, 2, 4
# Of steps that belong to no single operation.
NO_SINGLE_OP = -1
_MAKES_FD = (BtfLoad, MapCreate, BtfFind, ProgLoad, RawTracepointOpen, LinkCreate)
_FOUND = {BtfFind: "BTF id", KsymFind: "address"}


class FdSlots(NamedTuple):
    """fd_array: its place, and the indexes in it for the BTFs of kfuncs, by the op that finds them.

    Maps have the first indexes, in the order of the context.
    """

    place: int
    kfuncs: dict[int, int]


class Step(NamedTuple):
    """A record, and the operation that it is part of, or NO_SINGLE_OP."""

    op: int
    record: Record


class Pointer(NamedTuple):
    """A pointer in the attr of operation `op`: the places of it, and of what it points to."""

    op: int
    place: int
    target: int


class Lowering:
    """Lays out the blob and lowers each operation.

    Places from `context_place` on are fields of the context. Values that the
    caller may override are copied in parts of `value_size` bytes. What calls return that make no
    fd goes to `nowhere`.
    """

    def __init__(
        self,
        trace: Trace,
        blob: Blob,
        slots: FdSlots,
        context_place: int,
        *,
        nowhere: int,
        value_size: int,
    ) -> None:
        self.trace = trace
        self.order = trace.order
        self.blob = blob
        self.slots = slots
        self.context = context_place
        self.value_size = value_size
        self.calls = [call_of(op, self.order) for op in trace.ops]
        self.pointers: list[Pointer] = []
        self.fds = self.place_fds()
        self.nowhere = nowhere
        self.found = {
            number: blob.add(b"", FOUND_SIZE, RegionKind.FOUND, number, _FOUND[type(op)])
            for number, op in enumerate(trace.ops)
            if isinstance(op, BtfFind | KsymFind)
        }
        self.attrs = [
            blob.add(call.attr, len(call.attr), RegionKind.ATTR, number) if call else 0
            for number, call in enumerate(self.calls)
        ]
        self.steps = [*self.log_fields(), *self.operations()]

    def place_fds(self) -> dict[int, int]:
        """One after the other, so that a loop can close them."""
        made = [number for number, op in enumerate(self.trace.ops) if isinstance(op, _MAKES_FD)]
        self.fd_start = self.blob.add(b"", FD_SIZE * len(made), RegionKind.FDS)
        self.blob.regions.pop()
        places = {}
        for index, number in enumerate(made):
            places[number] = self.fd_start + FD_SIZE * index
            self.blob.regions.append(Region(places[number], FD_SIZE, RegionKind.FDS, number))
        return places

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
        """The place of an fd as others take it: of a map, that which may have been given."""
        op = self.trace.ops[ref.op]
        if isinstance(op, MapCreate) and op.slot is not None:
            return self.map_fd(op.slot)
        return self.fds[ref.op]

    def point(self, number: int, field: str, target: int) -> None:
        """A pointer: the offset for now, and its place among the pointers."""
        place = self.field(number, field)
        self.blob.data[place : place + 8] = target.to_bytes(8, self.order)
        self.pointers.append(Pointer(number, place, target))

    # -- operations -------------------------------------------------------------------------------

    def log_fields(self) -> Iterator[Step]:
        """Where the caller wants a log, every call that can write one gets its buffer."""
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
            lowered = [Step(n, record) for n in numbers for record in self.operation(n)]
            if guard is not None:
                for record in self.guard(guard, numbers, lowered):
                    yield Step(numbers[0], record)
            yield from lowered

    def guard(self, guard: Guard, numbers: list[int], lowered: list[Step]) -> Iterator[Record]:
        """Leave the records out for a map that was given, or a program that is switched off."""
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
        op, call = self.trace.ops[number], self.calls[number]
        if call is not None:
            yield from self.fill(number, op, call)
            yield from self.call(number, op, call)
        elif isinstance(op, BtfFind):
            yield from self.find(number, op)
        elif isinstance(op, KsymFind):
            name = self.name(number, op.name)
            size = len(op.name.encode()) + 1
            found = self.found[number]
            yield Record(Code.KSYM, 0, size, name, found, may_fail=op.is_weak)
        elif isinstance(op, Close):
            yield Record(Code.CLOSE, b=self.fds[op.ref.op])
            if op.ref.op in self.slots.kfuncs:
                yield Record(Code.ZERO, a=self.slot(op.ref.op))

    def name(self, number: int, name: str) -> int:
        return self.blob.share(name.encode() + b"\0", number, "name")

    def slot(self, find: int) -> int:
        return self.slots.place + FD_SIZE * self.slots.kfuncs[find]

    def find(self, number: int, op: BtfFind) -> Iterator[Record]:
        size = len(op.name.encode()) + 1
        name, fd, found = self.name(number, op.name), self.fds[number], self.found[number]
        yield Record(Code.FIND, op.kind, size, name, fd, found, may_fail=op.is_weak)
        if number in self.slots.kfuncs:
            # The slot, and the offset of its calls: 0 where it is vmlinux's.
            yield Record(Code.COPY, a=self.slot(number), b=fd)
            yield Record(Code.SET_IF, a=found + 4, b=fd, c=self.slots.kfuncs[number])

    def fill(self, number: int, op: Op, call: Call) -> Iterator[Record]:
        """What goes into the attr when it is made: fds, ids, sizes and values that are given."""
        for value in call.numbers:
            if isinstance(value, Given):
                source = self.input(value.input.number)
            else:
                is_id = value.part is Part.BTF_ID
                source = self.found[value.ref.op] if is_id else self.fd(value.ref)
            yield Record(Code.COPY, a=self.field(number, value.field), b=source)
        if call.if_module is not None:
            flags = call.if_module
            place = self.field(number, flags.field)
            yield Record(Code.SET_IF, a=place, b=self.fd(flags.ref), c=flags.value)
        if isinstance(op, MapCreate) and op.slot is not None:
            entries = self.context + context.max_entries(op.slot)
            yield Record(Code.COPY_SET, a=self.field(number, "max_entries"), b=entries)
        for pointer in call.pointers:
            yield from self.pointer(number, op, pointer)

    def pointer(self, number: int, op: Op, pointer: Data | FdPointer | FdArray) -> Iterator[Record]:
        if isinstance(pointer, FdArray):
            self.point(number, pointer.field, self.slots.place)
        elif isinstance(pointer, FdPointer):
            self.point(number, pointer.field, self.fd(pointer.ref))
        elif isinstance(op, ProgLoad) and pointer.content is op.insns and op.externs:
            code = self.data(number, pointer)
            for extern in op.externs:
                yield from self.relocate(op, extern, code + extern.insn * i.SIZE)
        elif pointer.initial:
            yield from self.value(op, self.data(number, pointer), pointer.size)
        else:
            place = self.blob.share(pointer.content, number, pointer.field)
            self.point(number, pointer.field, place)

    def data(self, number: int, pointer: Data) -> int:
        """Data that is written to before the call, so that no other may share it."""
        place = self.blob.add(pointer.content, pointer.size, RegionKind.DATA, number, pointer.field)
        self.point(number, pointer.field, place)
        return place

    def value(self, op: Op, place: int, size: int) -> Iterator[Record]:
        """Global data, read from the address in the context if there is one."""
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
        # An address is not 0 where one of its halves is not.
        yield Record(Code.SKIP_IF, Condition.NOT_ZERO, b=address, c=1)
        yield Record(Code.SKIP_IF, Condition.ZERO, b=address + 4, c=len(copies))
        yield from copies

    def relocate(self, op: ProgLoad, extern: ExternReloc, insn: int) -> Iterator[Record]:
        """Fill in the instruction at blob + insn."""
        find, found = self.trace.ops[extern.find.op], self.found[extern.find.op]
        code = i.read(op.insns, extern.insn, self.order)
        low, high = insn + INSN_IMM, insn + i.SIZE + INSN_IMM
        if code.op == i.OP_CALL:
            yield Record(Code.KFUNC, a=insn, b=found)
        elif isinstance(find, KsymFind):
            first, second = (low, high) if self.order == "little" else (high, low)
            yield Record(Code.COPY, a=first, b=found)
            yield Record(Code.COPY, a=second, b=found + 4)
        else:
            yield Record(Code.COPY, a=low, b=found)
            yield Record(Code.COPY, a=high, b=self.fd(extern.find))
            if isinstance(find, BtfFind) and find.is_weak:
                plain = code._replace(src=i.Pseudo.IMM64).encode(self.order)[INSN_REGS]
                yield Record(Code.PLAIN, plain, a=insn, b=found)

    def call(self, number: int, op: Op, call: Call) -> Iterator[Record]:
        """The call; one that may fail for its BTF is made again without, or given up."""
        made = Record(
            Code.CALL,
            call.cmd,
            len(call.attr),
            self.attrs[number],
            self.fds.get(number, self.nowhere),
        )
        if isinstance(op, BtfLoad) and not op.needed_by:
            users = [
                n for n, o in enumerate(self.trace.ops) if getattr(o, "btf", None) == Ref(number)
            ]
            zeros = [zero for user in users for zero in self.zeros(user)]
            yield made._replace(c=len(zeros), may_fail=True)
            yield from zeros
        elif isinstance(op, MapCreate) and op.btf_is_optional:
            zeros = list(self.zeros(number))
            yield made._replace(c=len(zeros) + 1, may_fail=True)
            yield from zeros
            yield made
        else:
            yield made
        if isinstance(op, MapCreate) and op.slot is not None:
            yield Record(Code.COPY, a=self.map_fd(op.slot), b=self.fds[number])

    def zeros(self, number: int) -> Iterator[Record]:
        """What speaks of BTF in an attr becomes 0."""
        call = self.calls[number]
        for field in call.btf_fields if call is not None else ():
            yield Record(Code.ZERO, a=self.field(number, field))
