"""The table loader of a trace: its operations become records, and the walker gets its numbers.

Blob, in this order
    fds        4 bytes for each fd that is made, closed on failure
    fd_array   the maps' fds, in the order of the context, then those of kfuncs' BTFs, which each
               program uses anew
    found      for each BTF id that and, for a kfunc, the offset of its calls; 8 bytes an address
    state      error, pc (the next record), status (the operation that failed, all ones before)
    context    a copy of it
    attrs      of all calls
    data       BTF, values, instructions, ...
    pointers   the places of pointers, which hold offsets till the loader runs
    records    16 bytes each
    ops        the operation of each record, for the report of a failure
    padding    an access at a variable place may be that long
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from lskel.bpf import insn as i
from lskel.bpf.asm import MAX_JUMP
from lskel.errors import LimitExceeded
from lskel.loader import context
from lskel.loader.blob import Blob, Region, RegionKind
from lskel.loader.kfuncs import number_kfuncs
from lskel.loader.model import NO_OP, Form, Loader
from lskel.loader.table import records
from lskel.loader.table.records import Code, Condition, Record
from lskel.loader.table.walker import Plan, walker
from lskel.syscalls import Call, Data, FdArray, FdPointer, Given, Part, call_of
from lskel.trace import (
    BtfFind,
    BtfLoad,
    Close,
    ExternReloc,
    Guard,
    KsymFind,
    MapCreate,
    MapUpdate,
    Op,
    ProgLoad,
    Ref,
    Subject,
    Trace,
)

FD_SIZE = 4
FOUND_SIZE = 8
# The widest access that every blob has room for: an attr.
MIN_WINDOW = 256
# Where an instruction has its registers and its immediate (RFC 9669 section 3).
INSN_REGS, INSN_IMM = 1, 4
MESSAGE = b"lskel: record %u: %ld\0"
_MAKES_FD = (BtfLoad, MapCreate, BtfFind, ProgLoad)


def tabulate(trace: Trace, *, debug: bool = False) -> Loader:
    """Generate the table loader of a trace; LimitExceeded names the ceiling it hits.

    With `debug` it prints the result of each record that can fail by bpf_trace_printk.
    """
    size = context.size(len(trace.maps), len(trace.programs), len(trace.inputs))
    if size > MAX_JUMP:
        raise LimitExceeded(
            f"{len(trace.maps)} maps and {len(trace.programs)} programs need a context of {size} "
            f"bytes, more than the {MAX_JUMP} that an instruction reaches",
            limit=MAX_JUMP,
            actual=size,
        )
    return _Table(trace, debug).loader()


class _Table:
    """Lowers the operations to records, which name places in parts of the blob laid out before."""

    def __init__(self, trace: Trace, debug: bool) -> None:
        self.trace = trace
        self.order = trace.order
        self.blob = Blob()
        self.calls = [call_of(op, self.order) for op in trace.ops]
        self.pointers: list[int] = []
        self.window = MIN_WINDOW
        self.place_fds()
        self.error = self.blob.add(b"", 8, RegionKind.STATE, field="error")
        self.pc = self.blob.add(b"", 4, RegionKind.STATE, field="pc")
        no_op = NO_OP.to_bytes(4, self.order)
        self.status = self.blob.add(no_op, 4, RegionKind.STATUS, field="failed op")
        size = context.size(len(trace.maps), len(trace.programs), len(trace.inputs))
        self.context_size = size
        self.context = self.blob.add(b"", size, RegionKind.CONTEXT)
        self.message = self.blob.share(MESSAGE, -1, "message") if debug else None
        self.attrs = [
            self.blob.add(call.attr, len(call.attr), RegionKind.ATTR, number) if call else 0
            for number, call in enumerate(self.calls)
        ]

    def place_fds(self) -> None:
        trace = self.trace
        made = [number for number, op in enumerate(trace.ops) if isinstance(op, _MAKES_FD)]
        self.fd_count = len(made)
        self.fd_start = self.blob.add(b"", FD_SIZE * len(made), RegionKind.FDS)
        self.fds = {number: self.fd_start + FD_SIZE * n for n, number in enumerate(made)}
        numbered = number_kfuncs(trace)
        # An offset of 0 in a call means vmlinux.
        first = max(len(trace.maps), 1)
        slots = first + max(numbered.values(), default=-1) + 1
        if numbered and slots - 1 > MAX_JUMP:
            raise LimitExceeded(
                f"{slots} slots for maps and kfuncs are more than the {MAX_JUMP} that an "
                "instruction's offset can say",
                limit=MAX_JUMP,
                actual=slots,
            )
        self.kfunc_slots = {find: first + number for find, number in numbered.items()}
        self.fd_array = self.blob.add(b"", FD_SIZE * slots, RegionKind.FD_ARRAY)
        # What a call returns that makes no fd.
        self.nowhere = self.blob.add(b"", 4, RegionKind.STATE, field="results of no use")
        self.found = {
            number: self.blob.add(b"", FOUND_SIZE, RegionKind.FOUND, number)
            for number, op in enumerate(trace.ops)
            if isinstance(op, BtfFind | KsymFind)
        }

    def loader(self) -> Loader:
        lowered = [*self.log_fields(), *self.operations()]
        pointers = self.numbers(self.pointers, RegionKind.POINTERS)
        table = self.blob.add(b"", 0, RegionKind.RECORDS)
        for _, record in lowered:
            self.blob.data += record.encode(self.order)
        self.regions(table, lowered)
        ops = self.numbers([number for number, _ in lowered], RegionKind.OPS)
        limit = len(self.blob.data)
        self.blob.add(b"", self.window, RegionKind.PADDING)
        made = walker(
            Plan(
                limit=limit,
                window=self.window,
                context=self.context,
                context_size=self.context_size,
                pc=self.pc,
                error=self.error,
                status=self.status,
                pointers=pointers,
                pointer_count=len(self.pointers),
                records=table,
                record_count=len(lowered),
                ops=ops,
                fds=self.fd_start,
                fd_count=self.fd_count,
                map_fds=tuple(self.map_fd(slot) for slot in range(len(self.trace.maps))),
                program_fds=tuple(
                    None if program.op is None else self.fds[program.op]
                    for program in self.trace.programs
                ),
                message=self.message,
                message_size=len(MESSAGE),
            ),
            self.order,
        )
        return Loader(
            form=Form.TABLE,
            trace=self.trace,
            insns=made.insns,
            blob=bytes(self.blob.data),
            regions=tuple(self.blob.regions),
            status=self.status,
            btf=made.btf,
            func_info=made.func_info,
        )

    def numbers(self, values: list[int], kind: RegionKind) -> int:
        content = b"".join((value & 0xFFFFFFFF).to_bytes(4, self.order) for value in values)
        return self.blob.add(content, len(content), kind)

    def regions(self, table: int, lowered: list[tuple[int, Record]]) -> None:
        """Which records are whose."""
        self.blob.regions.pop()
        for op, run in groupby(enumerate(lowered), lambda item: item[1][0]):
            indexes = [index for index, _ in run]
            offset, size = table + indexes[0] * records.SIZE, len(indexes) * records.SIZE
            self.blob.regions.append(Region(offset, size, RegionKind.RECORDS, op))

    # -- places -----------------------------------------------------------------------------------

    def map_fd(self, slot: int) -> int:
        return self.fd_array + FD_SIZE * slot

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
        self.pointers.append(place)

    def widen(self, size: int) -> int:
        """The size of an access at a variable place, for which the window must be wide enough."""
        if size > records.MAX_LENGTH:
            raise LimitExceeded(
                f"a name of {size} bytes is longer than {records.MAX_LENGTH}",
                limit=records.MAX_LENGTH,
                actual=size,
            )
        while self.window < size:
            self.window *= 2
        return size

    # -- operations -------------------------------------------------------------------------------

    def log_fields(self) -> Iterator[tuple[int, Record]]:
        """Where the caller wants a log, every call that can write one gets its buffer."""
        copies: list[tuple[int, Record]] = []
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
                    copies.append((number, Record(Code.COPY, a=a, b=b)))
        if copies:
            level = self.context + context.LOG_LEVEL
            yield copies[0][0], Record(Code.SKIP_IF, Condition.ZERO, b=level, c=len(copies))
            yield from copies

    def operations(self) -> Iterator[tuple[int, Record]]:
        for guard, run in groupby(range(len(self.trace.ops)), self.trace.guards.get):
            numbers = list(run)
            lowered = [(n, record) for n in numbers for record in self.operation(n)]
            if guard is not None:
                yield from ((numbers[0], record) for record in self.guard(guard, numbers, lowered))
            yield from lowered

    def guard(
        self, guard: Guard, numbers: list[int], lowered: list[tuple[int, Record]]
    ) -> Iterator[Record]:
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
            size = self.widen(len(op.name) + 1)
            found = self.found[number]
            yield Record(Code.KSYM, 0, size, name, found, may_fail=op.is_weak)
        elif isinstance(op, Close):
            yield Record(Code.CLOSE, b=self.fds[op.ref.op])
            if op.ref.op in self.kfunc_slots:
                yield Record(Code.ZERO, a=self.slot(op.ref.op))

    def name(self, number: int, name: str) -> int:
        return self.blob.share(name.encode() + b"\0", number, "name")

    def slot(self, find: int) -> int:
        return self.fd_array + FD_SIZE * self.kfunc_slots[find]

    def find(self, number: int, op: BtfFind) -> Iterator[Record]:
        size = self.widen(len(op.name) + 1)
        name, fd, found = self.name(number, op.name), self.fds[number], self.found[number]
        yield Record(Code.FIND, op.kind, size, name, fd, found, may_fail=op.is_weak)
        if number in self.kfunc_slots:
            # The slot, and the offset of its calls: 0 where it is vmlinux's.
            yield Record(Code.COPY, a=self.slot(number), b=fd)
            yield Record(Code.SET_IF, a=found + 4, b=fd, c=self.kfunc_slots[number])

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
            self.point(number, pointer.field, self.fd_array)
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
                size=self.widen(min(records.MAX_LENGTH, size - start)),
                a=place + start,
                b=address,
                c=start,
            )
            for start in range(0, size, records.MAX_LENGTH)
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
            self.widen(len(call.attr)),
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
