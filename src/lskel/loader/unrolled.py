"""The unrolled loader: straight-line code, a few instructions per record.

Registers
    r6  context
    r7  result of the last call
    r8  address of the blob
    r0 to r5 are scratch.

Blob, besides the regions of lower.py
    fd_array   has 64 slots for maps, then 256 for the BTFs of a program's kfuncs
    status     the current operation, all ones before the first
    slots      for a program's kfuncs past 256; their indexes count from the start of fd_array

All stores go to the start of the blob. An fd is stored in the blob when it is created, and cleared
when it is closed: on failure all stored fds are closed.
"""

from __future__ import annotations

from collections.abc import Callable

from lskel.bpf import context
from lskel.bpf import insn as i
from lskel.bpf.asm import MAX_JUMP, Assembler
from lskel.bpf.context import NO_OP
from lskel.bpf.limits import MAX_KFUNC_DESCS, MAX_USED_MAPS
from lskel.errors import LimitExceeded
from lskel.loader.blob import MAX_SIZE, Blob, RegionKind
from lskel.loader.kfuncs import number_kfuncs
from lskel.loader.lower import FD_SIZE, NO_SINGLE_OP, FdSlots, Lowering
from lskel.loader.model import Form, Loader, context_size
from lskel.loader.notes import Area, Emitter, Notes, Touch
from lskel.loader.records import JUMPS, Code, Condition, Record
from lskel.trace import Trace

# Places past any blob are fields of the context, which is read directly.
CONTEXT = 2 * MAX_SIZE
_SIGN = 1 << 31

R0, R1, R2, R3, R4, R5, CTX, RESULT, BLOB, _R9, _FP = range(11)


def unroll(trace: Trace, *, debug: bool = False, notes: Notes | None = None) -> Loader:
    """Generate the unrolled loader of a trace; LimitExceeded names the exceeded limit.

    With `debug` it prints the results of calls and lookups by bpf_trace_printk.
    """
    if len(trace.maps) > MAX_USED_MAPS:
        raise LimitExceeded(
            f"{len(trace.maps)} maps, an unrolled loader has at most {MAX_USED_MAPS}",
            limit=MAX_USED_MAPS,
            actual=len(trace.maps),
        )
    size = context_size(trace)
    if size > MAX_JUMP:
        raise LimitExceeded(
            f"{len(trace.programs)} programs need a context of {size} bytes, more than the "
            f"{MAX_JUMP} that an instruction can reach",
            limit=MAX_JUMP,
            actual=size,
        )
    blob = Blob()
    # fd_array has the maximum number of slots that the kernel accepts.
    place = blob.add(b"", (MAX_USED_MAPS + MAX_KFUNC_DESCS) * FD_SIZE, RegionKind.FD_ARRAY)
    status = blob.add(NO_OP.to_bytes(4, trace.order), 4, RegionKind.STATUS, field="op under way")
    slots = FdSlots(place, _kfunc_slots(trace, blob, place))
    low = Lowering(trace, blob, slots, CONTEXT, status=status, nowhere=CONTEXT, value_size=MAX_SIZE)
    return Loader(
        form=Form.UNROLLED,
        trace=trace,
        insns=_Unroller(low, debug, notes).program(),
        blob=bytes(blob.data),
        regions=tuple(blob.regions),
        status=status,
    )


def _kfunc_slots(trace: Trace, blob: Blob, fd_array: int) -> dict[int, int]:
    """The index in fd_array for each operation that finds a kfunc."""
    numbered = number_kfuncs(trace)
    more = max(numbered.values(), default=-1) + 1 - MAX_KFUNC_DESCS
    first = 0
    if more > 0:
        place = blob.add(b"", more * FD_SIZE, RegionKind.FD_ARRAY, field="more slots")
        first = (place - fd_array) // FD_SIZE
        if first + more - 1 > MAX_JUMP:
            raise LimitExceeded(
                f"a program with {more + MAX_KFUNC_DESCS} kfuncs needs more slots than the "
                f"{MAX_JUMP} that an instruction's offset can encode",
                limit=MAX_JUMP,
                actual=first + more - 1,
            )
    return {
        find: MAX_USED_MAPS + number
        if number < MAX_KFUNC_DESCS
        else first + number - MAX_KFUNC_DESCS
        for find, number in numbered.items()
    }


class _Unroller(Emitter):
    """Emits the code of each record; records are labels."""

    def __init__(self, low: Lowering, debug: bool, notes: Notes | None) -> None:
        super().__init__(Assembler(low.trace.order), notes)
        self.low = low
        self.trace = low.trace
        self.debug = debug
        self.op = NO_SINGLE_OP
        self.labels = 0

    def program(self) -> bytes:
        """All of it."""
        self.touch(Area.CONTEXT, 0, accesses=False)
        self.asm.mov(CTX, R1)
        self.touch(Area.BLOB, 0, accesses=False)
        self.asm.map_value(BLOB, 0, 0)
        targets = self.skip_targets()
        for index, (op, record) in enumerate(self.low.steps):
            if index in targets:
                self.asm.label(f"record {index}")
            if not index or op != self.op:
                self.begin(op)
            self.op = op
            _EMITTERS[record.code](self, record, index)
        if len(self.low.steps) in targets:
            self.asm.label(f"record {len(self.low.steps)}")
        self.hand_over()
        self.failure()
        self.check_length()
        return self.asm.assemble()

    def skip_targets(self) -> set[int]:
        """The records that others skip to."""
        return {
            index + 1 + record.c
            for index, (_, record) in enumerate(self.low.steps)
            if record.code is Code.SKIP_IF
        }

    def check_length(self) -> None:
        if len(self.asm) > MAX_JUMP:
            programs = sum(program.op is not None for program in self.trace.programs)
            raise LimitExceeded(
                f"an unrolled loader of {programs} programs and {len(self.trace.maps)} maps has "
                f"{len(self.asm)} instructions, more than the {MAX_JUMP} that a jump can span",
                limit=MAX_JUMP,
                actual=len(self.asm),
            )

    # -- pieces of code, with the registers they clobber --------------------------------------

    def new_label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def address(self, reg: int, place: int) -> None:
        """reg = blob + place"""
        self.asm.mov(reg, BLOB)
        if place:
            self.asm.alu_imm(i.ADD, reg, place)
        if self.notes is not None:
            self.notes.touches[len(self.asm) - 1] = Touch(Area.BLOB, place, False)

    def reach(self, place: int, scratch: int) -> tuple[int, int]:
        """A base register and displacement for the next access; may clobber `scratch`."""
        if place >= CONTEXT:
            if self.notes is not None:
                self.touch(Area.CONTEXT, place - CONTEXT, accesses=True)
            return CTX, place - CONTEXT
        base, displacement = BLOB, place
        if place > MAX_JUMP:
            self.address(scratch, place)
            base, displacement = scratch, 0
        if self.notes is not None:
            self.touch(Area.BLOB, place, accesses=True)
        return base, displacement

    def load(self, size: int, reg: int, place: int) -> None:
        """reg = *(place)"""
        base, displacement = self.reach(place, reg)
        self.asm.load(size, reg, base, displacement)

    def store(self, size: int, place: int, reg: int) -> None:
        """*(place) = reg; clobbers r5."""
        base, displacement = self.reach(place, R5)
        self.asm.store(size, base, displacement, reg)

    def result(self) -> None:
        """r7 = r0; with `debug`, print it; clobbers r0 to r5."""
        self.asm.mov(RESULT, R0)
        if self.debug:
            op = self.trace.ops[self.op]
            text = f"lskel: {type(op).__name__} {getattr(op, 'name', '')}: %ld".encode() + b"\0"
            self.address(R1, self.low.blob.share(text, -1, "message"))
            self.asm.mov_imm(R2, len(text))
            self.asm.mov(R3, RESULT)
            self.asm.call("trace_printk")

    def check(self) -> None:
        """if (r7 < 0) goto fail"""
        self.asm.jump_if(i.JSLT, RESULT, 0, "fail")

    # -- before and after the records -------------------------------------------------------------

    def hand_over(self) -> None:
        """Success: store the fds in the context, return 0."""
        self.begin("hand over")
        for offset, place in self.low.results():
            self.load(4, R0, place)
            self.store(4, CONTEXT + offset, R0)
        self.asm.mov_imm(R0, 0)
        self.asm.exit()

    def failure(self) -> None:
        """Close all fds, return the error."""
        if not self.asm.is_wanted("fail"):
            return  # the verifier rejects unreachable code
        self.asm.label("fail")
        self.begin("failure")
        for place in self.low.fds.values():
            label = self.new_label()
            self.load(4, R1, place)
            self.asm.jump_if(i.JSLE, R1, 0, label, bits=32)
            self.asm.call("sys_close")
            self.asm.label(label)
        self.asm.mov(R0, RESULT)
        self.asm.exit()

    # -- records: see Code ------------------------------------------------------------------------

    def copy(self, record: Record, _index: int) -> None:
        self.load(4, R0, record.b)
        self.store(4, record.a, R0)

    def set(self, record: Record, _index: int) -> None:
        base, displacement = self.reach(record.a, R5)
        # The same bits as a signed immediate.
        self.asm.store_imm(4, base, displacement, (record.c ^ _SIGN) - _SIGN)

    def point(self, record: Record, _index: int) -> None:
        self.address(R1, record.b)
        self.store(8, record.a, R1)

    def skip_if(self, record: Record, index: int) -> None:
        self.load(4, R0, record.b)
        condition = JUMPS[Condition(record.arg)]
        self.asm.jump_if(condition, R0, 0, f"record {index + 1 + record.c}", bits=32)

    def call(self, record: Record, _index: int) -> None:
        self.asm.mov_imm(R1, record.arg)
        self.address(R2, record.a)
        self.asm.mov_imm(R3, record.size)
        self.asm.call("sys_bpf")
        self.result()
        if not record.c:
            self.check()
        if record.b != self.low.nowhere:
            self.store(4, record.b, RESULT)

    def find(self, record: Record, _index: int) -> None:
        self.address(R1, record.a)
        self.asm.mov_imm(R2, record.size)
        self.asm.mov_imm(R3, record.arg)
        self.asm.mov_imm(R4, 0)
        self.asm.call("btf_find_by_name_kind")
        self.check_found(record)
        self.store(8, record.b, RESULT)

    def ksym(self, record: Record, _index: int) -> None:
        self.address(R1, record.a)
        self.asm.mov_imm(R2, record.size)
        self.asm.mov_imm(R3, 0)
        self.address(R4, record.b)
        self.asm.call("kallsyms_lookup_name")
        self.check_found(record)

    def check_found(self, record: Record) -> None:
        """r7 = r0, or 0 if missing and optional; else goto fail."""
        self.result()
        if record.c:
            label = self.new_label()
            self.asm.jump_if(i.JNE, RESULT, -record.c, label)
            self.asm.mov_imm(RESULT, 0)
            self.asm.label(label)
        self.check()

    def close(self, record: Record, _index: int) -> None:
        self.load(4, R1, record.b)
        self.asm.call("sys_close")
        base, displacement = self.reach(record.b, R5)
        self.asm.store_imm(4, base, displacement, 0)

    def value(self, record: Record, _index: int) -> None:
        kernel, copied = self.new_label(), self.new_label()
        self.load(8, R3, record.b)
        self.address(R1, record.a)
        self.asm.mov_imm(R2, record.size)
        self.load(4, R0, CONTEXT + context.FLAGS)
        self.asm.jump_if(i.JSET, R0, context.F_KERNEL, kernel)
        self.asm.call("copy_from_user")
        self.asm.jump(copied)
        self.asm.label(kernel)
        self.asm.call("probe_read_kernel")
        self.asm.label(copied)
        self.asm.mov(RESULT, R0)
        self.check()


_EMITTERS: dict[Code, Callable[[_Unroller, Record, int], None]] = {
    Code.COPY: _Unroller.copy,
    Code.SET: _Unroller.set,
    Code.POINT: _Unroller.point,
    Code.SKIP_IF: _Unroller.skip_if,
    Code.CALL: _Unroller.call,
    Code.CLOSE: _Unroller.close,
    Code.VALUE: _Unroller.value,
    Code.FIND: _Unroller.find,
    Code.KSYM: _Unroller.ksym,
}
