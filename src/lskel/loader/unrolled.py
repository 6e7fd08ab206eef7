"""The unrolled loader: straight-line code, a few instructions for each operation of the trace.

Registers
    r6  context
    r7  result of the last call
    r8  address of the blob
    r9  index of the operation under way, for the report of a failure
    r0 to r5 are scratch.

Blob, in this order
    fd_array   64 fds of maps, in the order of the context, then 256 for BTFs of kfuncs, which each
               program uses anew
    status     the operation that failed, all ones before
    slots      fds for a program's kfuncs past 256; their indexes count from the start of fd_array
    fds        for each other fd 4 bytes; for each BTF id that and its BTF's fd, and for a kfunc
               what goes into the offset of calls; for an address 8 bytes
    attrs      of all calls; so all that the code stores to lies near the blob's start
    data       BTF, values, instructions, ...

An fd is remembered in the blob as soon as it is made and forgotten when it is closed: on failure
every one that is remembered is closed, but for those of maps that the caller gave.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOENT
from itertools import groupby
from typing import Any

from lskel.bpf import insn as i
from lskel.bpf.asm import MAX_JUMP, Assembler
from lskel.errors import LimitExceeded
from lskel.loader import context
from lskel.loader.blob import Blob, RegionKind
from lskel.loader.model import NO_OP, Form, Loader
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

# Reserved slots of fd_array; the kernel's limits of the same names (kernel/bpf/verifier.c).
MAX_USED_MAPS = 64
MAX_KFUNC_DESCS = 256
FD_SIZE = 4
# Where an instruction has its registers, offset and immediate (RFC 9669 section 3).
INSN_REGS, INSN_OFF, INSN_IMM = 1, 2, 4

R0, R1, R2, R3, R4, R5, CTX, RESULT, BLOB, OP, _FP = range(11)


def unroll(trace: Trace, *, debug: bool = False) -> Loader:
    """Generate the unrolled loader of a trace; LimitExceeded names the ceiling it hits.

    With `debug` it prints the result of each operation by bpf_trace_printk.
    """
    if len(trace.maps) > MAX_USED_MAPS:
        raise LimitExceeded(
            f"{len(trace.maps)} maps are more than the {MAX_USED_MAPS} of an unrolled loader",
            limit=MAX_USED_MAPS,
            actual=len(trace.maps),
        )
    size = context.size(len(trace.maps), len(trace.programs), len(trace.inputs))
    if size > MAX_JUMP:
        raise LimitExceeded(
            f"{len(trace.programs)} programs need a context of {size} bytes, more than the "
            f"{MAX_JUMP} that an instruction reaches",
            limit=MAX_JUMP,
            actual=size,
        )
    return _Unroller(trace, debug).loader()


class _Unroller:
    """Lays out the blob, then emits the code of each operation."""

    def __init__(self, trace: Trace, debug: bool) -> None:
        self.trace = trace
        self.debug = debug
        self.order = trace.order
        self.blob = Blob()
        self.asm = Assembler(trace.order)
        self.labels = 0
        slots = MAX_USED_MAPS + MAX_KFUNC_DESCS
        self.fd_array = self.blob.add(b"", slots * FD_SIZE, RegionKind.FD_ARRAY)
        self.status = self.blob.add(
            NO_OP.to_bytes(4, self.order), 4, RegionKind.STATUS, field="failed op"
        )
        self.kfunc_slots = self.place_kfuncs()
        self.fds: dict[int, int] = {}
        self.found: dict[int, int] = {}
        self.place_fds()
        self.calls = [call_of(op, self.order) for op in trace.ops]
        self.attrs = [
            self.blob.add(call.attr, len(call.attr), RegionKind.ATTR, number) if call else 0
            for number, call in enumerate(self.calls)
        ]

    def place_kfuncs(self) -> dict[int, int]:
        """The index in fd_array for each operation that finds a kfunc."""
        counts: list[int] = []
        numbered: dict[int, int] = {}
        for op in self.trace.ops:
            if isinstance(op, ProgLoad):
                used = dict.fromkeys(
                    extern.find.op
                    for extern in op.externs
                    if i.read(op.insns, extern.insn, self.order).op == i.OP_CALL
                )
                numbered.update((find, number) for number, find in enumerate(used))
                counts.append(len(used))
        more = max(0, *counts, 0) - MAX_KFUNC_DESCS
        if more <= 0:
            return {find: MAX_USED_MAPS + number for find, number in numbered.items()}
        offset = self.blob.add(b"", more * FD_SIZE, RegionKind.FD_ARRAY, field="more slots")
        first = (offset - self.fd_array) // FD_SIZE
        if first + more - 1 > MAX_JUMP:
            raise LimitExceeded(
                f"a program with {more + MAX_KFUNC_DESCS} kfuncs needs more slots than the "
                f"{MAX_JUMP} that an instruction's offset can say",
                limit=MAX_JUMP,
                actual=first + more - 1,
            )
        return {
            find: (
                MAX_USED_MAPS + number
                if number < MAX_KFUNC_DESCS
                else first + number - MAX_KFUNC_DESCS
            )
            for find, number in numbered.items()
        }

    def place_fds(self) -> None:
        """Blob offsets of the fd that each operation makes, and of what it finds."""
        for number, op in enumerate(self.trace.ops):
            slot = op.slot if isinstance(op, MapCreate) else self.kfunc_slots.get(number)
            if slot is not None:
                self.fds[number] = self.fd_array + FD_SIZE * slot
            elif isinstance(op, _MAKES_FD):
                self.fds[number] = self.blob.add(b"", FD_SIZE, RegionKind.FDS, number)
            if isinstance(op, _FINDS):
                self.found[number] = self.blob.add(b"", 8, RegionKind.FDS, number, _FOUND[type(op)])

    def loader(self) -> Loader:
        self.prologue()
        for guard, numbers in groupby(range(len(self.trace.ops)), self.trace.guards.get):
            self.guarded(guard, list(numbers))
        self.epilogue()
        self.failure()
        self.no_btf()
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
        """if (r7 < 0) goto fail"""
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
        if not self.asm.is_wanted("fail"):
            return  # the verifier takes no code that cannot be reached
        self.asm.label("fail")
        self.store_blob(4, self.status, OP)
        # Programs share the slots of kfuncs; each is closed once.
        for offset, number in {place: made for made, place in self.fds.items()}.items():
            op = self.trace.ops[number]
            if isinstance(op, MapCreate) and op.slot is not None:
                self.close_map(offset, op.slot)
            else:
                self.close(offset)
        self.asm.mov(R0, RESULT)
        self.asm.exit()

    def close_map(self, offset: int, slot: int) -> None:
        """Close a map's fd, if there is one that the caller has not given."""
        label = self.new_label()
        self.load_blob(4, R1, offset)
        self.asm.jump_if(i.JEQ, R1, 0, label)
        self.asm.load(4, R2, CTX, context.map_fd(slot))
        self.asm.jump_if_reg(i.JEQ, R1, R2, label)
        self.asm.call("sys_close")
        self.asm.label(label)

    def no_btf(self) -> None:
        """Out of line: go on without BTF, which nothing needs. Calls must not speak of it then."""
        for number, op in enumerate(self.trace.ops):
            if not isinstance(op, BtfLoad) or op.needed_by:
                continue
            self.asm.label(f"without {number}")
            self.asm.mov_imm(RESULT, 0)
            for user, call in enumerate(self.calls):
                if call is not None and getattr(self.trace.ops[user], "btf", None) == Ref(number):
                    self.clear(user, call)
            self.asm.jump(f"with {number}")

    def clear(self, number: int, call: Call) -> None:
        """What speaks of BTF in an attr = 0; changes r5."""
        for field in call.btf_fields:
            offset, size = call.layout[field]
            base, displacement = self.reach(self.attrs[number] + offset, R5)
            self.asm.store_imm(size, base, displacement, 0)

    def guarded(self, guard: Guard | None, numbers: list[int]) -> None:
        """Operations that are left out together."""
        if guard is None:
            for number in numbers:
                self.operation(number, self.trace.ops[number])
            return
        end = self.new_label()
        if guard.subject is Subject.MAP:
            # If the caller gave the map, its fd is taken instead.
            made = self.trace.maps[guard.slot].op
            self.asm.load(4, R0, CTX, context.map_fd(guard.slot))
            if made in numbers:
                self.store_blob(4, self.fds[made], R0)
            self.asm.jump_if(i.JNE, R0, 0, end)
        else:
            program = self.trace.programs[guard.slot]
            self.asm.load(4, R0, CTX, context.program_fd(len(self.trace.maps), guard.slot))
            condition = i.JSLT if program.autoload else i.JSLE
            self.asm.jump_if(condition, R0, 0, end, bits=32)
        for number in numbers:
            self.operation(number, self.trace.ops[number])
        self.asm.label(end)

    def operation(self, number: int, op: Op) -> None:
        self.asm.mov_imm(OP, number)
        call = self.calls[number]
        if call is None:
            _EMITTERS[type(op)](self, number, op)
            self.print_result(op)
            return
        self.fill_attr(number, call)
        if isinstance(op, MapCreate) and op.slot is not None:
            self.override_max_entries(number, call, op.slot)
        self.sys_bpf(number, call)
        self.print_result(op)
        if isinstance(op, BtfLoad) and not op.needed_by:
            self.asm.jump_if(i.JSLT, RESULT, 0, f"without {number}")
            self.asm.label(f"with {number}")
        elif isinstance(op, MapCreate) and op.btf_is_optional:
            self.again_without_btf(number, call)
        else:
            self.check()
        if number in self.fds:
            self.store_blob(4, self.fds[number], RESULT)

    def sys_bpf(self, number: int, call: Call) -> None:
        """r7 = bpf(cmd, attr, size)"""
        self.asm.mov_imm(R1, call.cmd)
        self.address(R2, self.attrs[number])
        self.asm.mov_imm(R3, len(call.attr))
        self.asm.call("sys_bpf")
        self.asm.mov(RESULT, R0)

    def again_without_btf(self, number: int, call: Call) -> None:
        """If that failed, do it without BTF, which the kernel may refuse for this map."""
        label = self.new_label()
        self.asm.jump_if(i.JSGE, RESULT, 0, label)
        self.clear(number, call)
        self.sys_bpf(number, call)
        self.check()
        self.asm.label(label)

    def print_result(self, op: Op) -> None:
        """With `debug`, print what the operation returned."""
        if self.debug:
            text = f"lskel: {type(op).__name__} {getattr(op, 'name', '')}: %ld".encode() + b"\0"
            self.address(R1, self.blob.share(text, -1, "message"))
            self.asm.mov_imm(R2, len(text))
            self.asm.mov(R3, RESULT)
            self.asm.call("trace_printk")

    def fill_attr(self, number: int, call: Call) -> None:
        """Store into the attr what is known only now: fds, addresses, the log's buffer."""
        attr = self.attrs[number]
        for value in call.numbers:
            if isinstance(value, Given):
                maps, programs = len(self.trace.maps), len(self.trace.programs)
                source = context.input_value(maps, programs, value.input.number)
                self.asm.load(4, R0, CTX, source)
            else:
                places = self.found if value.part is Part.BTF_ID else self.fds
                self.load_blob(4, R0, places[value.ref.op])
            self.store_blob(4, attr + call.layout[value.field][0], R0)
        if call.if_module is not None:
            label = self.new_label()
            self.load_blob(4, R0, self.fds[call.if_module.ref.op])
            self.asm.jump_if(i.JEQ, R0, 0, label)
            self.asm.mov_imm(R0, call.if_module.value)
            self.store_blob(4, attr + call.layout[call.if_module.field][0], R0)
            self.asm.label(label)
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
        op = self.trace.ops[number]
        if isinstance(op, ProgLoad) and pointer.content is op.insns and op.externs:
            code = self.blob.add(
                pointer.content, pointer.size, RegionKind.DATA, number, pointer.field
            )
            for extern in op.externs:
                self.relocate(op, extern, code + extern.insn * i.SIZE)
            return code
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
        self.asm.mov(RESULT, R0)
        self.check()
        self.asm.label(done)

    def relocate(self, op: ProgLoad, extern: ExternReloc, insn: int) -> None:
        """Fill in the instruction at blob + insn; changes r0, r1."""
        number = extern.find.op
        found = self.found[number]
        self.address(R1, insn)
        if number in self.kfunc_slots and i.read(op.insns, extern.insn, self.order).op == i.OP_CALL:
            self.load_blob(4, R0, found)
            self.asm.store(4, R1, INSN_IMM, R0)
            self.load_blob(4, R0, found + 4)
            self.asm.store(2, R1, INSN_OFF, R0)
        elif isinstance(self.trace.ops[number], KsymFind):
            self.load_blob(8, R0, found)
            self.asm.store(4, R1, INSN_IMM, R0)
            self.asm.alu_imm(i.RSH, R0, 32)
            self.asm.store(4, R1, i.SIZE + INSN_IMM, R0)
        else:
            self.relocate_typed(op, extern, found)

    def relocate_typed(self, op: ProgLoad, extern: ExternReloc, found: int) -> None:
        """Fill in the 64-bit load at r1. If the kernel has no such type, it loads a plain 0."""
        find = self.trace.ops[extern.find.op]
        assert isinstance(find, BtfFind)
        self.load_blob(4, R0, found)
        self.asm.store(4, R1, INSN_IMM, R0)
        if find.is_weak:
            label = self.new_label()
            self.asm.jump_if(i.JNE, R0, 0, label)
            plain = i.read(op.insns, extern.insn, self.order)._replace(src=i.Pseudo.IMM64)
            self.asm.store_imm(1, R1, INSN_REGS, plain.encode(self.order)[INSN_REGS])
            self.asm.label(label)
        self.load_blob(4, R0, self.fds[extern.find.op])
        self.asm.store(4, R1, i.SIZE + INSN_IMM, R0)

    def find_btf(self, number: int, op: BtfFind) -> None:
        """Find a kernel type; its id and its module's BTF fd go to the blob."""
        name = op.name.encode() + b"\0"
        self.address(R1, self.blob.share(name, number, "name"))
        self.asm.mov_imm(R2, len(name))
        self.asm.mov_imm(R3, op.kind)
        self.asm.mov_imm(R4, 0)
        self.asm.call("btf_find_by_name_kind")
        self.check_found(op.is_weak)
        self.store_blob(4, self.found[number], RESULT)
        self.asm.alu_imm(i.RSH, RESULT, 32)
        self.store_blob(4, self.fds[number], RESULT)
        if number in self.kfunc_slots:
            # The offset of its calls: 0 where it is vmlinux's.
            label = self.new_label()
            self.asm.jump_if(i.JEQ, RESULT, 0, label)
            self.asm.mov_imm(RESULT, self.kfunc_slots[number])
            self.asm.label(label)
            self.store_blob(4, self.found[number] + 4, RESULT)

    def find_address(self, number: int, op: KsymFind) -> None:
        """Find a symbol; its address goes to the blob."""
        name = op.name.encode() + b"\0"
        self.address(R1, self.blob.share(name, number, "name"))
        self.asm.mov_imm(R2, len(name))
        self.asm.mov_imm(R3, 0)
        self.address(R4, self.found[number])
        self.asm.call("kallsyms_lookup_name")
        self.check_found(op.is_weak)

    def check_found(self, is_weak: bool) -> None:
        """r7 = r0, or 0 for what may be missing and is; or goto fail."""
        self.asm.mov(RESULT, R0)
        if is_weak:
            label = self.new_label()
            self.asm.jump_if(i.JNE, RESULT, -ENOENT, label)
            self.asm.mov_imm(RESULT, 0)
            self.asm.label(label)
        self.check()

    def close_ref(self, number: int, op: Close) -> None:
        """Close an fd and forget it."""
        offset = self.fds[op.ref.op]
        self.close(offset)
        self.asm.mov_imm(R0, 0)
        self.store_blob(4, offset, R0)


_MAKES_FD = (BtfLoad, MapCreate, BtfFind, ProgLoad)
_FINDS = (BtfFind, KsymFind)
_FOUND = {BtfFind: "BTF id", KsymFind: "address"}

_EMITTERS: dict[type, Callable[[_Unroller, int, Any], None]] = {
    BtfFind: _Unroller.find_btf,
    KsymFind: _Unroller.find_address,
    Close: _Unroller.close_ref,
}
