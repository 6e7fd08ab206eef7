"""The unrolled loader: straight-line code, a few instructions for each operation of the trace.

Registers
    r6  context
    r7  result of the last call
    r8  address of the blob
    r9  index of the operation under way, for the report of a failure
    r0 to r5 are scratch.

Blob, in this order
    fd_array   64 fds of maps, in the order of the context, then 256 for BTFs of kfuncs
    status     the operation that failed, all ones before
    fds        4 bytes for each other fd, 8 for each BTF id with its fd
    attrs      of all calls; so all that the code stores to lies near the blob's start
    data       BTF, values, instructions, ...

An fd is remembered in the blob as soon as it is made and forgotten when it is closed: on failure
every one that is remembered is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lskel.bpf import insn as i
from lskel.bpf.asm import MAX_JUMP, Assembler
from lskel.errors import LimitExceeded
from lskel.loader import context
from lskel.loader.blob import Blob, RegionKind
from lskel.loader.model import NO_OP, Form, Loader
from lskel.syscalls import Call, Data, FdArray, FdPointer, Part, call_of
from lskel.trace import BtfFind, BtfLoad, Close, MapCreate, MapUpdate, Op, ProgLoad, Trace

# Reserved slots of fd_array; the kernel's limits of the same names (kernel/bpf/verifier.c).
MAX_USED_MAPS = 64
MAX_KFUNC_DESCS = 256
FD_SIZE = 4

R0, R1, R2, R3, R4, R5, CTX, RESULT, BLOB, OP, _FP = range(11)


def unroll(trace: Trace) -> Loader:
    """Generate the unrolled loader of a trace; LimitExceeded names the ceiling it hits."""
    if len(trace.maps) > MAX_USED_MAPS:
        raise LimitExceeded(
            f"{len(trace.maps)} maps are more than the {MAX_USED_MAPS} of an unrolled loader",
            limit=MAX_USED_MAPS,
            actual=len(trace.maps),
        )
    size = context.size(len(trace.maps), len(trace.programs))
    if size > MAX_JUMP:
        raise LimitExceeded(
            f"{len(trace.programs)} programs need a context of {size} bytes, more than the "
            f"{MAX_JUMP} that an instruction reaches",
            limit=MAX_JUMP,
            actual=size,
        )
    return _Unroller(trace).loader()


class _Unroller:
    """Lays out the blob, then emits the code of each operation."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.order = trace.order
        self.blob = Blob()
        self.asm = Assembler(trace.order)
        self.labels = 0
        slots = MAX_USED_MAPS + MAX_KFUNC_DESCS
        self.fd_array = self.blob.add(b"", slots * FD_SIZE, RegionKind.FD_ARRAY)
        self.status = self.blob.add(
            NO_OP.to_bytes(4, self.order), 4, RegionKind.STATUS, field="failed op"
        )
        self.fds = self.place_fds()
        self.calls = [call_of(op, self.order) for op in trace.ops]
        self.attrs = [
            self.blob.add(call.attr, len(call.attr), RegionKind.ATTR, number) if call else 0
            for number, call in enumerate(self.calls)
        ]

    def place_fds(self) -> dict[int, int]:
        """Blob offset of the fd that each operation makes."""
        places = {}
        for number, op in enumerate(self.trace.ops):
            if isinstance(op, MapCreate) and op.slot is not None:
                places[number] = self.fd_array + FD_SIZE * op.slot
            elif isinstance(op, BtfFind):
                # The BTF's fd first, as with all others, then the BTF id.
                places[number] = self.blob.add(b"", 8, RegionKind.FDS, number)
            elif isinstance(op, _MAKES_FD):
                places[number] = self.blob.add(b"", FD_SIZE, RegionKind.FDS, number)
        return places

    def loader(self) -> Loader:
        self.prologue()
        for number, op in enumerate(self.trace.ops):
            self.operation(number, op)
        self.epilogue()
        self.failure()
        self.check_length()
        return Loader(
            form=Form.UNROLLED,
            trace=self.trace,
            insns=self.asm.assemble(),
            blob=bytes(self.blob.data),
            regions=tuple(self.blob.regions),
            status=self.status,
        )

    def check_length(self) -> None:
        if len(self.asm) > MAX_JUMP:
            programs = sum(program.op is not None for program in self.trace.programs)
            raise LimitExceeded(
                f"an unrolled loader of {programs} programs and {len(self.trace.maps)} maps has "
                f"{len(self.asm)} instructions, more than the {MAX_JUMP} that a jump spans",
                limit=MAX_JUMP,
                actual=len(self.asm),
            )

    # -- pieces of code; each names what it changes besides its result ------------------------

    def new_label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def address(self, reg: int, offset: int) -> None:
        """reg = blob + offset"""
        self.asm.mov(reg, BLOB)
        if offset:
            self.asm.alu_imm(i.ADD, reg, offset)

    def reach(self, offset: int, scratch: int) -> tuple[int, int]:
        """A base register and displacement for blob + offset; may change `scratch`."""
        if offset <= 0x7FFF:
            return BLOB, offset
        self.address(scratch, offset)
        return scratch, 0

    def load_blob(self, size: int, reg: int, offset: int) -> None:
        """reg = *(blob + offset)"""
        base, displacement = self.reach(offset, reg)
        self.asm.load(size, reg, base, displacement)

    def store_blob(self, size: int, offset: int, reg: int) -> None:
        """*(blob + offset) = reg; changes r5."""
        base, displacement = self.reach(offset, R5)
        self.asm.store(size, base, displacement, reg)

    def store_pointer(self, offset: int, target: int) -> None:
        """*(u64 *)(blob + offset) = blob + target; changes r1, r5."""
        self.address(R1, target)
        self.store_blob(8, offset, R1)

    def check(self) -> None:
        """r7 = r0; if (r7 < 0) goto fail."""
        self.asm.mov(RESULT, R0)
        self.asm.jump_if(i.JSLT, RESULT, 0, "fail")

    def close(self, offset: int) -> None:
        """if (*(u32 *)(blob + offset)) close it; changes r0 to r5."""
        label = self.new_label()
        self.load_blob(4, R1, offset)
        self.asm.jump_if(i.JEQ, R1, 0, label)
        self.asm.call("sys_close")
        self.asm.label(label)

    # -- the program ----------------------------------------------------------------------------

    def prologue(self) -> None:
        self.asm.mov(CTX, R1)
        self.asm.map_value(BLOB, 0, 0)

    def epilogue(self) -> None:
        """All went well: hand the fds to the caller, return 0."""
        count = len(self.trace.maps)
        for slot, program in enumerate(self.trace.programs):
            if program.op is not None:
                self.load_blob(4, R0, self.fds[program.op])
                self.asm.store(4, CTX, context.program_fd(count, slot), R0)
        for slot, made in enumerate(self.trace.maps):
            self.load_blob(4, R0, self.fds[made.op])
            self.asm.store(4, CTX, context.map_fd(slot), R0)
        self.asm.mov_imm(R0, 0)
        self.asm.exit()

    def failure(self) -> None:
        """Say which operation failed, close every fd that was made, return the error."""
        self.asm.label("fail")
        self.store_blob(4, self.status, OP)
        for offset in self.fds.values():
            self.close(offset)
        self.asm.mov(R0, RESULT)
        self.asm.exit()

    def operation(self, number: int, op: Op) -> None:
        self.asm.mov_imm(OP, number)
        call = self.calls[number]
        if call is not None:
            self.fill_attr(number, call)
            if isinstance(op, MapCreate) and op.slot is not None:
                self.override_max_entries(number, call, op.slot)
            self.sys_bpf(number, call)
        else:
            _EMITTERS[type(op)](self, number, op)
        if number in self.fds and call is not None:
            self.store_blob(4, self.fds[number], RESULT)

    def sys_bpf(self, number: int, call: Call) -> None:
        """r7 = bpf(cmd, attr, size), or goto fail."""
        self.asm.mov_imm(R1, call.cmd)
        self.address(R2, self.attrs[number])
        self.asm.mov_imm(R3, len(call.attr))
        self.asm.call("sys_bpf")
        self.check()

    def fill_attr(self, number: int, call: Call) -> None:
        """Store into the attr what is known only now: fds, addresses, the log's buffer."""
        attr = self.attrs[number]
        for value in call.numbers:
            # Of a BTF id and its BTF's fd, the fd comes first.
            source = self.fds[value.ref.op] + (4 if value.part is Part.BTF_ID else 0)
            self.load_blob(4, R0, source)
            self.store_blob(4, attr + call.layout[value.field][0], R0)
        for pointer in call.pointers:
            target = self.pointer_target(number, pointer)
            self.store_pointer(attr + call.layout[pointer.field][0], target)
        if call.log is not None:
            fields = (
                (call.log.level, context.LOG_LEVEL),
                (call.log.size, context.LOG_SIZE),
                (call.log.buffer, context.LOG_BUF),
            )
            for field, source in fields:
                offset, size = call.layout[field]
                self.asm.load(size, R0, CTX, source)
                self.store_blob(size, attr + offset, R0)

    def pointer_target(self, number: int, pointer: Data | FdPointer | FdArray) -> int:
        """The blob offset that a pointer of an attr points to."""
        if isinstance(pointer, FdArray):
            return self.fd_array
        if isinstance(pointer, FdPointer):
            return self.fds[pointer.ref.op]
        if not pointer.initial:
            return self.blob.share(pointer.content, number, pointer.field)
        value = self.blob.add(pointer.content, pointer.size, RegionKind.DATA, number, pointer.field)
        write = self.trace.ops[number]
        assert isinstance(write, MapUpdate)
        create = self.trace.ops[write.map.op]
        assert isinstance(create, MapCreate) and create.slot is not None
        self.override_value(create.slot, value, pointer.size)
        return value

    def override_max_entries(self, number: int, call: Call, slot: int) -> None:
        """if (ctx->maps[slot].max_entries) attr.max_entries = it; changes r0, r5."""
        label = self.new_label()
        self.asm.load(4, R0, CTX, context.max_entries(slot))
        self.asm.jump_if(i.JEQ, R0, 0, label)
        self.store_blob(4, self.attrs[number] + call.layout["max_entries"][0], R0)
        self.asm.label(label)

    def override_value(self, slot: int, value: int, size: int) -> None:
        """if (ctx->maps[slot].initial_value) copy `size` bytes from it; changes r0 to r5, r7."""
        kernel, done, copied = self.new_label(), self.new_label(), self.new_label()
        self.asm.load(8, R3, CTX, context.initial_value(slot))
        self.asm.jump_if(i.JEQ, R3, 0, done)
        self.address(R1, value)
        self.asm.mov_imm(R2, size)
        self.asm.load(4, R0, CTX, context.FLAGS)
        self.asm.jump_if(i.JSET, R0, context.F_KERNEL, kernel)
        self.asm.call("copy_from_user")
        self.asm.jump(copied)
        self.asm.label(kernel)
        self.asm.call("probe_read_kernel")
        self.asm.label(copied)
        self.check()
        self.asm.label(done)

    def find_btf(self, number: int, op: BtfFind) -> None:
        """Find a kernel type; its id and its module's BTF fd go to the blob."""
        name = op.name.encode() + b"\0"
        self.address(R1, self.blob.share(name, number, "name"))
        self.asm.mov_imm(R2, len(name))
        self.asm.mov_imm(R3, op.kind)
        self.asm.mov_imm(R4, 0)
        self.asm.call("btf_find_by_name_kind")
        self.check()
        self.store_blob(4, self.fds[number] + 4, RESULT)
        self.asm.alu_imm(i.RSH, RESULT, 32)
        self.store_blob(4, self.fds[number], RESULT)

    def close_ref(self, number: int, op: Close) -> None:
        """Close an fd and forget it."""
        offset = self.fds[op.ref.op]
        self.close(offset)
        self.asm.mov_imm(R0, 0)
        self.store_blob(4, offset, R0)


_MAKES_FD = (BtfLoad, MapCreate, ProgLoad)

_EMITTERS: dict[type, Callable[[_Unroller, int, Any], None]] = {
    BtfFind: _Unroller.find_btf,
    Close: _Unroller.close_ref,
}
