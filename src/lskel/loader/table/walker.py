"""The program that walks the records: its code is the same for every object.

Only immediates (sizes and places) differ, and at the end two instructions per map and program,
which store its fd in the context: a context allows no stores at variable offsets. Code for record
kinds that an object does not use is omitted.

The main program copies the context to the blob and walks the records in a callback of bpf_loop
(Linux 5.17), which is verified once, for any number of records.

Verification time depends on conditional jumps, each of which saves a verifier state. So the walker
uses arithmetic, and helper records, instead of conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EFAULT
from typing import NamedTuple

from lskel.bpf import context
from lskel.bpf import insn as i
from lskel.bpf.asm import MAX_JUMP, Assembler
from lskel.btf.build import BtfBuilder
from lskel.btf.kinds import Kind
from lskel.btf.types import FuncLinkage
from lskel.cursor import ByteOrder
from lskel.loader import records
from lskel.loader.notes import Area, Emitter, Notes
from lskel.loader.records import Code

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP = range(11)
# Names for registers with a fixed meaning.
CODE, CTX, RECORD, RESULT, BLOB, PLACE_B = R5, R6, R6, R7, R8, R9


class Plan(NamedTuple):
    """The constants in the walker: places are offsets in the blob, counts are elements.

    An access at a variable place has up to `window` bytes, so places are below `limit`. After a
    failure, execution continues at record `closing`; `codes` are those of all records. `results`
    are offsets in the context and the places to copy there.
    """

    limit: int
    window: int
    context: int
    context_size: int
    pc: int
    error: int
    records: int
    record_count: int
    closing: int
    codes: frozenset[Code]
    results: tuple[tuple[int, int], ...]
    message: int | None
    message_size: int


class Walker(NamedTuple):
    """The program, and the BTF that the kernel requires for callbacks."""

    insns: bytes
    btf: bytes
    func_info: bytes


def walker(plan: Plan, order: ByteOrder, notes: Notes | None) -> Walker:
    """The program for these constants."""
    asm = Assembler(order)
    text = _Text(asm, plan, notes)
    starts = []
    for name, function in FUNCTIONS.items():
        starts.append(len(asm))
        text.begin(name)
        function(text)
    # Minimal BTF: each function is int (void); names are required.
    btf = BtfBuilder(order)
    proto = btf.add(Kind.FUNC_PROTO, "", 0, btf.add_int())
    func_info = b""
    for number, start in enumerate(starts):
        function_id = btf.add(Kind.FUNC, f"f{number}", FuncLinkage.STATIC, proto)
        func_info += start.to_bytes(4, order) + function_id.to_bytes(4, order)
    return Walker(asm.assemble(), btf.raw(), func_info)


class _Text(Emitter):
    def __init__(self, asm: Assembler, plan: Plan, notes: Notes | None) -> None:
        super().__init__(asm, notes)
        self.plan = plan

    # -- accesses -------------------------------------------------------------------------------

    def blob(self) -> None:
        """r8 = blob"""
        self.touch(Area.BLOB, 0, accesses=False)
        self.asm.map_value(BLOB, 0, 0)

    def address(self, reg: int, place: int) -> None:
        """reg = blob + place"""
        self.asm.mov(reg, BLOB)
        self.touch(Area.BLOB, place, accesses=False)
        self.asm.alu_imm(i.ADD, reg, place)

    def load(self, size: int, reg: int, place: int) -> None:
        """reg = *(blob + place)"""
        self.touch(Area.BLOB, place, accesses=True)
        self.asm.load(size, reg, BLOB, place)

    def store(self, size: int, place: int, reg: int) -> None:
        """*(blob + place) = reg"""
        self.touch(Area.BLOB, place, accesses=True)
        self.asm.store(size, BLOB, place, reg)

    def load_field(self, size: int, reg: int, field: int) -> None:
        """reg = a field of the record"""
        self.touch(Area.RECORD, field, accesses=True)
        self.asm.load(size, reg, RECORD, field)

    def load_b(self, size: int, reg: int) -> None:
        """reg = *(blob + b)"""
        self.touch(Area.POINTED, records.B, accesses=True)
        self.asm.load(size, reg, PLACE_B, 0)

    def store_b(self, size: int, reg: int) -> None:
        """*(blob + b) = reg"""
        self.touch(Area.POINTED, records.B, accesses=True)
        self.asm.store(size, PLACE_B, 0, reg)

    def store_a(self, size: int, reg: int) -> None:
        """*(blob + a) = reg"""
        self.touch(Area.POINTED, records.A, accesses=True)
        self.asm.store(size, R1, 0, reg)

    # -- main -----------------------------------------------------------------------------------

    def main(self) -> None:
        """r6 = context, r8 = blob"""
        asm, plan = self.asm, self.plan
        self.touch(Area.CONTEXT, 0, accesses=False)
        asm.mov(CTX, R1)
        self.blob()
        self.copy_context()
        asm.mov_imm(R1, plan.record_count)
        asm.function(R2, "walk")
        asm.mov_imm(R3, 0)
        asm.mov_imm(R4, 0)
        asm.call("loop")
        self.load(8, RESULT, plan.error)
        asm.jump_if(i.JNE, RESULT, 0, "end")
        self.hand_over()
        asm.label("end")
        asm.mov(R0, RESULT)
        asm.exit()

    def copy_context(self) -> None:
        """A context cannot be read at variable offsets; a helper copies it.

        If that fails, only the closing records are walked.
        """
        asm, plan = self.asm, self.plan
        self.address(R1, plan.context)
        asm.mov_imm(R2, plan.context_size)
        self.touch(Area.CONTEXT, 0, accesses=False)
        asm.mov(R3, CTX)
        asm.call("probe_read_kernel")
        self.store(8, plan.error, R0)
        asm.alu_imm(i.ARSH, R0, 63)
        asm.alu_imm(i.AND, R0, plan.closing)
        self.store(4, plan.pc, R0)

    def hand_over(self) -> None:
        """Store the fds in the context. (After very many kfunc slots they are out of reach.)"""
        if self.plan.results:
            self.begin("hand over")
        for offset, place in self.plan.results:
            if place <= MAX_JUMP:
                self.load(4, R0, place)
            else:
                self.address(R1, place)
                self.touch(Area.BLOB, place, accesses=True)
                self.asm.load(4, R0, R1, 0)
            self.touch(Area.CONTEXT, offset, accesses=True)
            self.asm.store(4, CTX, offset, R0)

    # -- the callback -----------------------------------------------------------------------------

    def walk(self) -> None:
        """Execute the next record.

        r6 = record, r7 = result, r8 = blob, r9 = blob + b; r1 = blob + a, r2 = size, r3 = c,
        r4 = arg
        """
        asm, plan = self.asm, self.plan
        emitters = {code: emit for code, emit in _EMITTERS.items() if code in plan.codes}
        asm.label("walk")
        self.fetch()
        for code in emitters:
            asm.jump_if(i.JEQ, CODE, code, code.name)
        asm.label("bad")
        self.begin("bad record")
        asm.mov_imm(RESULT, -EFAULT)
        self.judge()
        for code, emit in emitters.items():
            asm.label(code.name)
            self.begin(code.name)
            emit(self)
        self.settle()
        asm.label("next")
        asm.mov_imm(R0, 0)
        asm.exit()

    def fetch(self) -> None:
        """Fetch the record at pc, and advance; after the last do nothing."""
        asm, plan = self.asm, self.plan
        self.blob()
        self.load(4, RECORD, plan.pc)
        asm.jump_if(i.JGE, RECORD, plan.record_count, "next")
        asm.mov(R1, RECORD)
        asm.alu_imm(i.ADD, R1, 1)
        self.store(4, plan.pc, R1)
        asm.alu_imm(i.LSH, RECORD, 4)
        asm.alu_imm(i.ADD, RECORD, plan.records)
        self.touch(Area.RECORD, 0, accesses=False)
        asm.alu_reg(i.ADD, RECORD, BLOB)
        self.place(R1, records.A)
        self.place(PLACE_B, records.B)
        self.load_field(2, R2, records.LENGTH)
        asm.alu_imm(i.AND, R2, plan.window - 1)
        asm.alu_imm(i.ADD, R2, 1)
        self.load_field(4, R3, records.C)
        self.load_field(1, R4, records.ARG)
        self.load_field(1, CODE, records.CODE)

    def place(self, reg: int, field: int) -> None:
        """reg = blob + a field of the record"""
        self.load_field(4, reg, field)
        self.asm.jump_if(i.JGT, reg, self.plan.limit, "bad")
        self.touch(Area.POINTED, field, accesses=False)
        self.asm.alu_reg(i.ADD, reg, BLOB)

    def settle(self) -> None:
        """If r3 is negative: error = r7, and pc = the closing records."""
        asm, plan = self.asm, self.plan
        asm.label("settle")
        self.begin("settle")
        asm.alu_imm(i.ARSH, R3, 63)
        asm.alu_reg(i.AND, RESULT, R3)
        self.store(8, plan.error, RESULT)
        self.load(4, R1, plan.pc)
        asm.mov_imm(R2, plan.closing)
        asm.alu_reg(i.SUB, R2, R1)
        asm.alu_reg(i.AND, R2, R3)
        asm.alu_reg(i.ADD, R1, R2)
        self.store(4, plan.pc, R1)

    def judge(self) -> None:
        """A negative r7 is a failure."""
        self.asm.mov(R3, RESULT)
        self.asm.jump("settle")

    def result(self) -> None:
        """r7 = r0; with a message, print it"""
        asm, plan = self.asm, self.plan
        asm.mov(RESULT, R0)
        if plan.message is not None:
            self.load(4, R3, plan.pc)
            self.address(R1, plan.message)
            asm.mov_imm(R2, plan.message_size)
            asm.mov(R4, RESULT)
            asm.call("trace_printk")

    # -- records ----------------------------------------------------------------------------------

    def copy(self) -> None:
        self.load_b(4, R0)
        self.store_a(4, R0)
        self.asm.jump("next")

    def set(self) -> None:
        self.store_a(4, R3)
        self.asm.jump("next")

    def point(self) -> None:
        self.store_a(8, PLACE_B)
        self.asm.jump("next")

    def skip_if(self) -> None:
        """pc += c * (arg >> n & 1), where n is 0, 1, 2 of a number that is 0, negative, positive"""
        asm, plan = self.asm, self.plan
        self.load_b(4, R0)
        asm.alu_imm(i.LSH, R0, 32)
        asm.alu_imm(i.ARSH, R0, 32)
        asm.mov(R1, R0)
        asm.alu_imm(i.RSH, R1, 63)
        asm.alu_imm(i.NEG, R0, 0)
        asm.alu_imm(i.RSH, R0, 63)
        asm.alu_imm(i.LSH, R0, 1)
        asm.alu_reg(i.ADD, R0, R1)
        asm.alu_reg(i.RSH, R4, R0)
        asm.alu_imm(i.AND, R4, 1)
        asm.alu_reg(i.MUL, R4, R3)
        self.load(4, R1, plan.pc)
        asm.alu_reg(i.ADD, R1, R4)
        self.store(4, plan.pc, R1)
        asm.jump("next")

    def call(self) -> None:
        asm = self.asm
        asm.mov(R3, R2)
        self.touch(Area.POINTED, records.A, accesses=False)
        asm.mov(R2, R1)
        asm.mov(R1, R4)
        asm.call("sys_bpf")
        self.result()
        self.load_field(4, R3, records.C)
        asm.alu_reg(i.ADD, R3, RESULT)
        self.store_b(4, RESULT)
        asm.jump("settle")

    def close(self) -> None:
        asm = self.asm
        self.load_b(4, R1)
        asm.call("sys_close")
        self.touch(Area.POINTED, records.B, accesses=True)
        asm.store_imm(4, PLACE_B, 0, 0)
        asm.jump("next")

    def find(self) -> None:
        asm = self.asm
        asm.mov(R3, R4)
        asm.mov_imm(R4, 0)
        asm.call("btf_find_by_name_kind")
        self.result()
        self.check_found("found")
        self.store_b(8, RESULT)
        self.judge()

    def ksym(self) -> None:
        asm = self.asm
        asm.store_imm(8, FP, -8, 0)
        asm.mov_imm(R3, 0)
        asm.mov(R4, FP)
        asm.alu_imm(i.ADD, R4, -8)
        asm.call("kallsyms_lookup_name")
        self.result()
        self.check_found("known")
        asm.load(8, R0, FP, -8)
        self.store_b(8, R0)
        self.judge()

    def check_found(self, label: str) -> None:
        """For errno c, r7 = 0; others are failures. c = 0 matches no errno."""
        asm = self.asm
        self.load_field(4, R3, records.C)
        asm.alu_reg(i.ADD, R3, RESULT)
        asm.jump_if(i.JNE, R3, 0, label)
        asm.mov_imm(RESULT, 0)
        asm.label(label)

    def value(self) -> None:
        asm = self.asm
        self.load_b(8, R0)
        asm.alu_reg(i.ADD, R3, R0)
        self.load(4, R0, self.plan.context + context.FLAGS)
        asm.jump_if(i.JSET, R0, context.F_KERNEL, "of the kernel")
        asm.call("copy_from_user")
        asm.jump("copied")
        asm.label("of the kernel")
        asm.call("probe_read_kernel")
        asm.label("copied")
        asm.mov(RESULT, R0)
        self.judge()


# In the order of the code, and of func_info.
FUNCTIONS: dict[str, Callable[[_Text], None]] = {"main": _Text.main, "walk": _Text.walk}
# In this order, the verifier prunes most states at the end of the code.
_EMITTERS: dict[Code, Callable[[_Text], None]] = {
    Code.KSYM: _Text.ksym,
    Code.FIND: _Text.find,
    Code.VALUE: _Text.value,
    Code.CLOSE: _Text.close,
    Code.CALL: _Text.call,
    Code.SKIP_IF: _Text.skip_if,
    Code.POINT: _Text.point,
    Code.SET: _Text.set,
    Code.COPY: _Text.copy,
}
