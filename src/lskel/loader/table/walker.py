"""The program that walks the records: its text is the same for every object.

Only sizes and places differ, which are immediates, and at the end two instructions for each map
and program, which hand its fd to the caller: a context takes no stores at variable offsets.

The main program copies the context into the blob, makes addresses of the pointers' offsets, walks
the records, and closes what was made if one of them failed. The three loops are callbacks of
bpf_loop (Linux 5.17), and share nothing but the blob, so that the verifier sees each of them once.
"""

from __future__ import annotations

from errno import EFAULT, ENOENT
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.btf.types import FuncLinkage, Kind
from lskel.cursor import ByteOrder
from lskel.loader import context, records
from lskel.loader.records import JUMPS, Code

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP = range(11)
# Names of what the registers hold, wherever it is always the same.
CODE, CTX, RECORD, RESULT, BLOB, PLACE_B = R5, R6, R6, R7, R8, R9


class Plan(NamedTuple):
    """The numbers in the walker's text: places are offsets in the blob, counts are of elements.

    An access at a variable place is up to `window` bytes, so places are below `limit`. `results`
    are offsets in the context and places of what goes there.
    """

    limit: int
    window: int
    context: int
    context_size: int
    pc: int
    error: int
    status: int
    pointers: int
    pointer_count: int
    records: int
    record_count: int
    ops: int
    fds: int
    fd_count: int
    results: tuple[tuple[int, int], ...]
    message: int | None
    message_size: int


class Walker(NamedTuple):
    """The program, and the BTF without which the kernel takes no callbacks."""

    insns: bytes
    btf: bytes
    func_info: bytes


def walker(plan: Plan, order: ByteOrder) -> Walker:
    """The program for these numbers."""
    asm = Assembler(order)
    text = _Text(asm, plan)
    starts = []
    for function in FUNCTIONS.values():
        starts.append(len(asm))
        function(text)
    btf = _btf(len(starts), order)
    func_info = b"".join(
        start.to_bytes(4, order) + (_FIRST_FUNC + number).to_bytes(4, order)
        for number, start in enumerate(starts)
    )
    return Walker(asm.assemble(), btf, func_info)


class _Text:
    def __init__(self, asm: Assembler, plan: Plan) -> None:
        self.asm = asm
        self.plan = plan

    # -- main -----------------------------------------------------------------------------------

    def main(self) -> None:
        """r6 = context, r8 = blob"""
        asm, plan = self.asm, self.plan
        asm.mov(CTX, R1)
        asm.map_value(BLOB, 0, 0)
        self.copy_context()
        if plan.pointer_count:
            self.loop(plan.pointer_count, "point")
        self.loop(plan.record_count, "walk")
        asm.load(8, RESULT, BLOB, plan.error)
        asm.jump_if(i.JNE, RESULT, 0, "failed")
        self.hand_over()
        asm.mov_imm(R0, 0)
        asm.exit()
        asm.label("failed")
        self.report()
        self.loop(plan.fd_count, "close")
        asm.label("end")
        asm.mov(R0, RESULT)
        asm.exit()

    def copy_context(self) -> None:
        """A context cannot be read at variable offsets; a helper reads all of it."""
        asm, plan = self.asm, self.plan
        asm.mov(R1, BLOB)
        asm.alu_imm(i.ADD, R1, plan.context)
        asm.mov_imm(R2, plan.context_size)
        asm.mov(R3, CTX)
        asm.call("probe_read_kernel")
        asm.mov(RESULT, R0)
        asm.jump_if(i.JNE, RESULT, 0, "end")

    def loop(self, count: int, callback: str) -> None:
        """bpf_loop(count, callback, NULL, 0)"""
        self.asm.mov_imm(R1, count)
        self.asm.function(R2, callback)
        self.asm.mov_imm(R3, 0)
        self.asm.mov_imm(R4, 0)
        self.asm.call("loop")

    def hand_over(self) -> None:
        """The fds go to the context."""
        asm, plan = self.asm, self.plan
        for offset, place in plan.results:
            asm.load(4, R0, BLOB, place)
            asm.store(4, CTX, offset, R0)

    def report(self) -> None:
        """status = ops[pc - 1]: the operation whose record failed"""
        asm, plan = self.asm, self.plan
        asm.load(4, R1, BLOB, plan.pc)
        asm.alu_imm(i.SUB, R1, 1)
        asm.jump_if(i.JGE, R1, plan.record_count, "reported")
        asm.alu_imm(i.LSH, R1, 2)
        asm.alu_imm(i.ADD, R1, plan.ops)
        asm.alu_reg(i.ADD, R1, BLOB)
        asm.load(4, R0, R1, 0)
        asm.store(4, BLOB, plan.status, R0)
        asm.label("reported")

    # -- callbacks: r1 = index; return 0 to go on, 1 to stop ------------------------------------

    def element(self, count: int, start: int, end: str) -> None:
        """r8 = blob, r1 = address of element r1 of the 32-bit numbers at `start`"""
        asm = self.asm
        asm.map_value(BLOB, 0, 0)
        asm.jump_if(i.JGE, R1, count, end)
        asm.alu_imm(i.LSH, R1, 2)
        asm.alu_imm(i.ADD, R1, start)
        asm.alu_reg(i.ADD, R1, BLOB)

    def point(self) -> None:
        """An offset becomes an address: *(u64 *)(blob + pointers[r1]) += blob"""
        asm, plan = self.asm, self.plan
        asm.label("point")
        self.element(plan.pointer_count, plan.pointers, "pointed")
        asm.load(4, R1, R1, 0)
        asm.jump_if(i.JGT, R1, plan.limit, "pointed")
        asm.alu_reg(i.ADD, R1, BLOB)
        asm.load(8, R2, R1, 0)
        asm.jump_if(i.JGT, R2, plan.limit, "pointed")
        asm.alu_reg(i.ADD, R2, BLOB)
        asm.store(8, R1, 0, R2)
        asm.label("pointed")
        asm.mov_imm(R0, 0)
        asm.exit()

    def close(self) -> None:
        """Close fds[r1], if it was made."""
        asm, plan = self.asm, self.plan
        asm.label("close")
        self.element(plan.fd_count, plan.fds, "closed")
        asm.load(4, R1, R1, 0)
        asm.jump_if(i.JEQ, R1, 0, "closed")
        asm.call("sys_close")
        asm.label("closed")
        asm.mov_imm(R0, 0)
        asm.exit()

    def walk(self) -> None:
        """The next record.

        r6 = record, r7 = result, r8 = blob, r9 = blob + b; r1 = blob + a, r2 = size, r3 = c,
        r4 = arg
        """
        asm = self.asm
        asm.label("walk")
        self.fetch()
        for code in _FREQUENT_FIRST:
            asm.jump_if(i.JEQ, CODE, code, code.name)
        asm.label("bad")
        asm.mov_imm(RESULT, -EFAULT)
        self.failure()
        for code, emit in _EMITTERS.items():
            asm.label(code.name)
            emit(self)
        asm.label("skip")
        asm.load(4, R1, BLOB, self.plan.pc)
        asm.alu_reg(i.ADD, R1, R3)
        asm.store(4, BLOB, self.plan.pc, R1)
        asm.label("next")
        asm.mov_imm(R0, 0)
        asm.exit()

    def fetch(self) -> None:
        """Read the record at pc, and step on."""
        asm, plan = self.asm, self.plan
        asm.map_value(BLOB, 0, 0)
        asm.load(4, RECORD, BLOB, plan.pc)
        asm.jump_if(i.JGE, RECORD, plan.record_count, "stop")
        asm.mov(R1, RECORD)
        asm.alu_imm(i.ADD, R1, 1)
        asm.store(4, BLOB, plan.pc, R1)
        asm.alu_imm(i.LSH, RECORD, 4)
        asm.alu_imm(i.ADD, RECORD, plan.records)
        asm.alu_reg(i.ADD, RECORD, BLOB)
        self.place(R1, records.A)
        self.place(PLACE_B, records.B)
        asm.load(2, R2, RECORD, records.LENGTH)
        asm.alu_imm(i.AND, R2, plan.window - 1)
        asm.alu_imm(i.ADD, R2, 1)
        asm.load(4, R3, RECORD, records.C)
        asm.load(1, R4, RECORD, records.ARG)
        asm.load(1, CODE, RECORD, records.CODE)

    def place(self, reg: int, field: int) -> None:
        """reg = blob + a field of the record"""
        self.asm.load(4, reg, RECORD, field)
        self.asm.jump_if(i.JGT, reg, self.plan.limit, "bad")
        self.asm.alu_reg(i.ADD, reg, BLOB)

    def failure(self) -> None:
        """Leave r7 as the error, and stop."""
        asm = self.asm
        asm.label("failure")
        asm.store(8, BLOB, self.plan.error, RESULT)
        asm.label("stop")
        asm.mov_imm(R0, 1)
        asm.exit()

    def result(self) -> None:
        """r7 = r0; with a message, print it"""
        asm, plan = self.asm, self.plan
        asm.mov(RESULT, R0)
        if plan.message is not None:
            asm.load(4, R3, BLOB, plan.pc)
            asm.mov(R1, BLOB)
            asm.alu_imm(i.ADD, R1, plan.message)
            asm.mov_imm(R2, plan.message_size)
            asm.mov(R4, RESULT)
            asm.call("trace_printk")

    # -- records ----------------------------------------------------------------------------------

    def copy(self) -> None:
        self.asm.load(4, R0, PLACE_B, 0)
        self.asm.store(4, R1, 0, R0)
        self.asm.jump("next")

    def copy_set(self) -> None:
        self.asm.load(4, R0, PLACE_B, 0)
        self.asm.jump_if(i.JEQ, R0, 0, "next")
        self.asm.store(4, R1, 0, R0)
        self.asm.jump("next")

    def zero(self) -> None:
        self.asm.store_imm(4, R1, 0, 0)
        self.asm.jump("next")

    def set_if(self) -> None:
        self.asm.load(4, R0, PLACE_B, 0)
        self.asm.jump_if(i.JEQ, R0, 0, "next")
        self.asm.store(4, R1, 0, R3)
        self.asm.jump("next")

    def skip_if(self) -> None:
        asm = self.asm
        asm.load(4, R0, PLACE_B, 0)
        for condition in JUMPS:
            asm.jump_if(i.JEQ, R4, condition, f"if {condition.name}")
        asm.jump("bad")
        for condition, code in JUMPS.items():
            asm.label(f"if {condition.name}")
            asm.jump_if(code, R0, 0, "skip", bits=32)
            asm.jump("next")

    def call(self) -> None:
        asm = self.asm
        asm.mov(R3, R2)
        asm.mov(R2, R1)
        asm.mov(R1, R4)
        asm.call("sys_bpf")
        self.result()
        asm.jump_if(i.JSLT, RESULT, 0, "refused")
        asm.store(4, PLACE_B, 0, RESULT)
        asm.load(4, R3, RECORD, records.C)
        asm.jump("skip")
        asm.label("refused")
        asm.load(2, R1, RECORD, records.LENGTH)
        asm.jump_if(i.JSET, R1, records.MAY_FAIL, "next")
        asm.jump("failure")

    def find(self) -> None:
        asm = self.asm
        asm.mov(R3, R4)
        asm.mov_imm(R4, 0)
        asm.call("btf_find_by_name_kind")
        self.result()
        self.may_be_missing("found")
        self.place(R1, records.C)
        asm.store(4, R1, 0, RESULT)
        asm.alu_imm(i.RSH, RESULT, 32)
        asm.store(4, PLACE_B, 0, RESULT)
        asm.jump("next")

    def ksym(self) -> None:
        asm = self.asm
        asm.store_imm(8, FP, -8, 0)
        asm.mov_imm(R3, 0)
        asm.mov(R4, FP)
        asm.alu_imm(i.ADD, R4, -8)
        asm.call("kallsyms_lookup_name")
        self.result()
        self.may_be_missing("known")
        asm.load(8, R0, FP, -8)
        asm.store(8, PLACE_B, 0, R0)
        asm.jump("next")

    def may_be_missing(self, label: str) -> None:
        """r7 = 0 where it is missing and may be; other errors are failures."""
        asm = self.asm
        asm.jump_if(i.JSGE, RESULT, 0, label)
        asm.load(2, R1, RECORD, records.LENGTH)
        asm.alu_imm(i.AND, R1, records.MAY_FAIL)
        asm.jump_if(i.JEQ, R1, 0, "failure")
        asm.jump_if(i.JNE, RESULT, -ENOENT, "failure")
        asm.mov_imm(RESULT, 0)
        asm.label(label)

    def close_fd(self) -> None:
        asm = self.asm
        asm.load(4, R1, PLACE_B, 0)
        asm.store_imm(4, PLACE_B, 0, 0)
        asm.jump_if(i.JEQ, R1, 0, "next")
        asm.call("sys_close")
        asm.jump("next")

    def kfunc(self) -> None:
        asm = self.asm
        asm.load(4, R0, PLACE_B, 0)
        asm.store(4, R1, 4, R0)
        asm.load(4, R0, PLACE_B, 4)
        asm.store(2, R1, 2, R0)
        asm.jump("next")

    def plain(self) -> None:
        asm = self.asm
        asm.load(4, R0, PLACE_B, 0)
        asm.jump_if(i.JNE, R0, 0, "next")
        asm.store(1, R1, 1, R4)
        asm.jump("next")

    def value(self) -> None:
        asm = self.asm
        asm.load(8, R0, PLACE_B, 0)
        asm.alu_reg(i.ADD, R3, R0)
        asm.load(4, R0, BLOB, self.plan.context + context.FLAGS)
        asm.jump_if(i.JSET, R0, context.F_KERNEL, "of the kernel")
        asm.call("copy_from_user")
        asm.jump("copied")
        asm.label("of the kernel")
        asm.call("probe_read_kernel")
        asm.label("copied")
        asm.mov(RESULT, R0)
        asm.jump_if(i.JSLT, RESULT, 0, "failure")
        asm.jump("next")


# In the order of the text, and of func_info.
FUNCTIONS = {
    "main": _Text.main,
    "point": _Text.point,
    "walk": _Text.walk,
    "close": _Text.close,
}
_EMITTERS = {
    Code.COPY: _Text.copy,
    Code.COPY_SET: _Text.copy_set,
    Code.ZERO: _Text.zero,
    Code.SET_IF: _Text.set_if,
    Code.CALL: _Text.call,
    Code.FIND: _Text.find,
    Code.KSYM: _Text.ksym,
    Code.CLOSE: _Text.close_fd,
    Code.KFUNC: _Text.kfunc,
    Code.PLAIN: _Text.plain,
    Code.VALUE: _Text.value,
    Code.SKIP_IF: _Text.skip_if,
}
_FREQUENT_FIRST = (
    *(Code.COPY, Code.CALL, Code.SKIP_IF, Code.KFUNC),
    *(code for code in Code if code not in (Code.COPY, Code.CALL, Code.SKIP_IF, Code.KFUNC)),
)

# -- BTF: int (void) and one function of it for each of the program's -----------------------------

_INT, _PROTO, _FIRST_FUNC = 1, 2, 3
_BTF_MAGIC, _BTF_VERSION, _HEADER_SIZE = 0xEB9F, 1, 24


def _btf(functions: int, order: ByteOrder) -> bytes:
    """The least BTF that describes so many functions; the kernel wants names."""
    names = ["int", *(f"f{number}" for number in range(functions))]
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)

    def word(value: int) -> bytes:
        return value.to_bytes(4, order)

    def type_(name: str, kind: Kind, info: int, last: int) -> bytes:
        offset = strings.index(b"\0" + name.encode() + b"\0") + 1 if name else 0
        return word(offset) + word(kind << 24 | info) + word(last)

    types = type_("int", Kind.INT, 0, 4) + word(1 << 24 | 32)
    types += type_("", Kind.FUNC_PROTO, 0, _INT)
    for name in names[1:]:
        types += type_(name, Kind.FUNC, FuncLinkage.STATIC, _PROTO)
    header = _BTF_MAGIC.to_bytes(2, order) + bytes((_BTF_VERSION, 0)) + word(_HEADER_SIZE)
    header += word(0) + word(len(types)) + word(len(types)) + word(len(strings))
    return header + types + strings
