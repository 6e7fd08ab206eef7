"""The interpreter by itself: what the instructions do, and how it stops programs that go wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.cursor import ByteOrder
from lskel.errors import BadInput, LskelError, NotFound
from lskel.replay.simulator.interpreter.fault import BudgetSpent, SimulatorFault
from lskel.replay.simulator.machine import MAX_FRAMES, Helper, Interpreter, Resolve
from lskel.replay.simulator.memory import Memory, MemoryFault

ORDERS: tuple[ByteOrder, ...] = ("little", "big")
MASK = 2**64 - 1
MIN64, MAX64 = 2**63, 2**63 - 1
MIN32, MAX32 = 2**31, 2**31 - 1
SIZES = (1, 2, 4, 8)
EXIT = Insn(i.OP_EXIT)
FP = 10
CONTEXT_SIZE, STACK_SIZE = 32, 512
MOV, MOV_1 = (Insn(i.ALU64 | i.MOV, reg, imm=reg) for reg in (0, 1))

# (code, offset, r1, operand, 64-bit result, 32-bit result).
BINARY = [
    (i.ADD, 0, MASK, 1, 0, 0),
    (i.ADD, 0, 0xFFFF_FFFF, 1, 0x1_0000_0000, 0),
    (i.SUB, 0, 0, 1, MASK, 0xFFFF_FFFF),
    (i.MUL, 0, 0x1_0000_0001, 0x1_0000_0001, 0x2_0000_0001, 1),
    (i.MUL, 0, MASK, MASK, 1, 1),
    (i.DIV, 0, MASK, 2, MAX64, MAX32),
    (i.DIV, 0, 7, 0, 0, 0),
    (i.DIV, 1, -7 & MASK, 2, -3 & MASK, -3 & 0xFFFF_FFFF),
    (i.DIV, 1, 7, -2 & MASK, -3 & MASK, -3 & 0xFFFF_FFFF),
    (i.DIV, 1, MIN64, MASK, MIN64, 0),
    (i.DIV, 1, MIN32, MASK, -MIN32 & MASK, MIN32),
    (i.DIV, 1, -7 & MASK, 0, 0, 0),
    (i.MOD, 0, MASK, 10, 5, 5),
    (i.MOD, 0, 0x1_0000_0007, 0, 0x1_0000_0007, 7),
    (i.MOD, 1, -7 & MASK, 3, -1 & MASK, 0xFFFF_FFFF),
    (i.MOD, 1, 7, -3 & MASK, 1, 1),
    (i.MOD, 1, MIN64, MASK, 0, 0),
    (i.MOD, 1, -7 & MASK, 0, -7 & MASK, -7 & 0xFFFF_FFFF),
    (i.OR, 0, 0xF0_0000_00F0, 0x0F, 0xF0_0000_00FF, 0xFF),
    (i.AND, 0, MASK, 0xF_0000_000F, 0xF_0000_000F, 0xF),
    (i.XOR, 0, MASK, 1, MASK - 1, 0xFFFF_FFFE),
    (i.LSH, 0, 1, 63, MIN64, MIN32),
    (i.LSH, 0, 1, 65, 2, 2),
    (i.LSH, 0, 1, 33, 0x2_0000_0000, 2),
    (i.RSH, 0, MASK, 63, 1, 1),
    (i.RSH, 0, MIN64, 64, MIN64, 0),
    (i.ARSH, 0, MIN64, 63, MASK, 0),
    (i.ARSH, 0, MIN32, 31, 1, 0xFFFF_FFFF),
    (i.ARSH, 0, MASK, 67, MASK, 0xFFFF_FFFF),
    (i.MOV, 0, 0, 0xFEDC_BA98_7654_3210, 0xFEDC_BA98_7654_3210, 0x7654_3210),
    (i.MOV, 8, 0, 0x180, -0x80 & MASK, 0xFFFF_FF80),
    (i.MOV, 16, 0, 0x1_8000, -0x8000 & MASK, 0xFFFF_8000),
]

# (code, a, b, whether 64 bits say so, whether 32 bits do).
CONDITIONS = [
    (i.JEQ, 0x1_0000_0001, 1, False, True),
    (i.JNE, 0x1_0000_0001, 1, True, False),
    (i.JGT, MASK, 0, True, True),
    (i.JGT, 0x1_0000_0000, 1, True, False),
    (i.JGE, 3, 3, True, True),
    (i.JGE, 2, 3, False, False),
    (i.JLT, 2, 3, True, True),
    (i.JLT, 3, 3, False, False),
    (i.JLE, 3, 3, True, True),
    (i.JLE, MASK, 3, False, False),
    (i.JSET, 6, 3, True, True),
    (i.JSET, 4, 3, False, False),
    (i.JSET, 0x1_0000_0000, 0x1_0000_0000, True, False),
    (i.JSGT, 0, MASK, True, True),
    (i.JSGT, MIN32, 0, True, False),
    (i.JSGT, 5, 5, False, False),
    (i.JSGE, MASK, MASK, True, True),
    (i.JSGE, MIN64, 0, False, True),
    (i.JSLT, MASK, 0, True, True),
    (i.JSLT, MIN32, 0, False, True),
    (i.JSLT, MIN64, MIN64, False, False),
    (i.JSLE, MIN64, MAX64, True, False),
    (i.JSLE, MASK, MASK, True, True),
    (i.JSLE, 1, 0, False, False),
]


def wide(dst: int, value: int, pseudo: Pseudo = Pseudo.IMM64) -> list[Insn]:
    """dst = a 64-bit number; or the low half is what a pseudo names, the high half its offset."""
    low, high = (half - (half >> 31 << 32) for half in (value & 0xFFFF_FFFF, value >> 32))
    return [Insn(i.OP_LD_IMM64, dst, pseudo, imm=low), Insn(0, imm=high)]


def encode(insns: Iterable[Insn], order: ByteOrder) -> bytes:
    return b"".join(insn.encode(order) for insn in insns)


class Setup:
    """A machine for a few instructions, with a context and a read-only region."""

    def __init__(
        self,
        insns: Sequence[Insn],
        order: ByteOrder = "little",
        helpers: dict[int, Helper] | None = None,
        resolve: Resolve | None = None,
        budget: int = 1000,
    ) -> None:
        self.memory = Memory(order)
        self.context = self.memory.map("context", bytearray(CONTEXT_SIZE))
        self.constant = self.memory.map("constants", bytearray(b"constant"), writable=False)
        self.machine = Interpreter(
            encode(insns, order),
            self.memory,
            helpers or {},
            resolve=resolve or (lambda *_: self.constant.base),
            budget=budget,
        )

    def run(self) -> int:
        return self.machine.run(self.context)

    def fault(self) -> SimulatorFault:
        """The fault that ends the run."""
        with pytest.raises(SimulatorFault) as caught:
            self.run()
        return caught.value


def result(*insns: Insn, order: ByteOrder = "little") -> int:
    """What instructions leave in r0, unsigned."""
    return Setup([*insns, EXIT], order).run() & MASK


def imm_of(number: int) -> int | None:
    """The immediate that stands for a 64-bit operand, None where none does."""
    value = number - (number >> 63 << 64)
    return value if -(2**31) <= value < 2**31 else None


# -- computing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("code", "off", "a", "b", "whole", "half"), BINARY)
def test_arithmetic(
    code: int, off: int, a: int, b: int, whole: int, half: int, order: ByteOrder
) -> None:
    for cls, expected in ((i.ALU64, whole), (i.ALU, half)):
        values = [*wide(0, a), *wide(7, b)]
        assert result(*values, Insn(cls | code | i.X, 0, 7, off), order=order) == expected
        imm = imm_of(b)
        if imm is not None and (code != i.MOV or off == 0):
            number = Insn(cls | code | i.K, 0, 0, off, imm)
            assert result(*wide(0, a), number, order=order) == expected


def test_a_word_is_sign_extended_to_64_bits_only() -> None:
    values = wide(1, 0x1_8000_0000)
    assert result(*values, Insn(i.ALU64 | i.MOV | i.X, 0, 1, 32)) == -(2**31) & MASK
    fault = Setup([*values, Insn(i.ALU | i.MOV | i.X, 0, 1, 32), EXIT]).fault()
    assert "off 0x20" in fault.what


def test_negation() -> None:
    assert result(*wide(0, 1), Insn(i.ALU64 | i.NEG, 0)) == MASK
    assert result(*wide(0, 0x5_0000_0001), Insn(i.ALU | i.NEG, 0)) == 0xFFFF_FFFF
    assert result(*wide(0, MIN64), Insn(i.ALU64 | i.NEG, 0)) == MIN64


@pytest.mark.parametrize(
    ("bits", "cut", "swapped"),
    [
        (16, 0xCDEF, 0xEFCD),
        (32, 0x89AB_CDEF, 0xEFCD_AB89),
        (64, 0x0123_4567_89AB_CDEF, 0xEFCD_AB89_6745_2301),
    ],
)
def test_byte_swaps(bits: int, cut: int, swapped: int) -> None:
    value = wide(0, 0x0123_4567_89AB_CDEF)
    to_little, to_big = (Insn(i.ALU | i.END | source, 0, imm=bits) for source in (i.K, i.X))
    always = Insn(i.ALU64 | i.END, 0, imm=bits)
    assert result(*value, to_little, order="little") == cut
    assert result(*value, to_big, order="little") == swapped
    assert result(*value, to_little, order="big") == swapped
    assert result(*value, to_big, order="big") == cut
    assert {result(*value, always, order=order) for order in ORDERS} == {swapped}


def test_r0_is_given_back_signed() -> None:
    assert Setup([Insn(i.ALU64 | i.MOV, 0, imm=-22), EXIT]).run() == -22
    assert Setup([Insn(i.ALU | i.MOV, 0, imm=-22), EXIT]).run() == 2**32 - 22


# -- jumping --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "a", "b", "whole", "half"), CONDITIONS)
def test_conditions(code: int, a: int, b: int, whole: bool, half: bool) -> None:
    for cls, expected in ((i.JMP, whole), (i.JMP32, half)):
        start = [*wide(1, a), *wide(2, b), Insn(i.ALU64 | i.MOV, 0, imm=1)]
        otherwise = Insn(i.ALU64 | i.MOV, 0, imm=0)
        assert result(*start, Insn(cls | code | i.X, 1, 2, 1), otherwise) == expected
        imm = imm_of(b)
        if imm is not None:
            assert result(*start, Insn(cls | code | i.K, 1, 0, 1, imm), otherwise) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_long_jumps(order: ByteOrder) -> None:
    distance = 40_000
    add = Insn(i.ALU64 | i.ADD, 0, imm=1)
    # Forwards over all, then back to the last but one of what was jumped over.
    code = [
        Insn(i.ALU64 | i.MOV, 0),
        Insn(i.JMP32 | i.JA, imm=distance + 1),
        *[add] * distance,
        EXIT,
        Insn(i.JMP32 | i.JA, imm=-4),
    ]
    assert Setup(code, order).run() == 2


# -- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", SIZES)
def test_stores_and_loads(size: int, order: ByteOrder) -> None:
    code = i.SIZE_CODE[size]
    value = 0x8182_8384_8586_8788
    setup = Setup(
        [
            *wide(2, value),
            Insn(i.STX | i.MEM | code, 1, 2, 8),
            Insn(i.ST | i.MEM | code, 1, 0, 16, -2),
            Insn(i.LDX | i.MEM | code, 0, 1, 8),
            EXIT,
        ],
        order,
    )
    low = value & (1 << 8 * size) - 1
    assert setup.run() & MASK == low
    assert setup.context.data[8:16] == low.to_bytes(size, order) + bytes(8 - size)
    ones = (-2).to_bytes(size, order, signed=True)
    assert setup.context.data[16:] == ones + bytes(16 - size)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", SIZES[:-1])
def test_loads_extend_the_sign(size: int, order: ByteOrder) -> None:
    setup = Setup(
        [
            Insn(i.ST | i.MEM | i.SIZE_CODE[size], FP, 0, -8, -3),
            Insn(i.LDX | i.MEMSX | i.SIZE_CODE[size], 0, FP, -8),
            EXIT,
        ],
        order,
    )
    assert setup.run() == -3


# (operation, what memory then holds, what r2 and r0 then hold), at first memory: 0b1100, r2:
# 0b1010, r0: what is compared.
MEMORY, OPERAND = 0b1100, 0b1010
ATOMICS = [
    (i.ADD, MEMORY, 0b10110, OPERAND, MEMORY),
    (i.OR, MEMORY, 0b1110, OPERAND, MEMORY),
    (i.AND, MEMORY, 0b1000, OPERAND, MEMORY),
    (i.XOR, MEMORY, 0b0110, OPERAND, MEMORY),
    (i.ADD | 1, MEMORY, 0b10110, MEMORY, MEMORY),
    (i.OR | 1, MEMORY, 0b1110, MEMORY, MEMORY),
    (i.AND | 1, MEMORY, 0b1000, MEMORY, MEMORY),
    (i.XOR | 1, MEMORY, 0b0110, MEMORY, MEMORY),
    (0xE1, MEMORY, OPERAND, MEMORY, MEMORY),
    (0xF1, MEMORY, OPERAND, OPERAND, MEMORY),
    (0xF1, 1, MEMORY, OPERAND, MEMORY),
    (0xF1, 1 << 31 | MEMORY, MEMORY, OPERAND, MEMORY),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("imm", "compared", "stored", "operand", "r0"), ATOMICS)
def test_atomics(
    imm: int, compared: int, stored: int, operand: int, r0: int, order: ByteOrder
) -> None:
    for size in (4, 8):
        # What is beyond the operand's size must neither count nor change, but in fetched numbers.
        high = 0x5A5A_5A5A << 32 if size == 4 else 0
        setup = Setup(
            [
                *wide(2, OPERAND | high),
                *wide(0, compared | high),
                Insn(i.STX | i.ATOMIC | i.SIZE_CODE[size], 1, 2, 8, imm),
                Insn(i.STX | i.MEM | i.DW, 1, 2, 24),
                EXIT,
            ],
            order,
        )
        setup.context.data[8:16] = MEMORY.to_bytes(size, order).ljust(8, b"\xee")
        fetches_r0 = imm == 0xF1
        assert setup.run() & MASK == (r0 if fetches_r0 else compared | high)
        assert setup.context.data[8:16] == stored.to_bytes(size, order).ljust(8, b"\xee")
        fetches_operand = imm & 1 and not fetches_r0
        assert int.from_bytes(setup.context.data[24:], order) == (
            operand if fetches_operand else OPERAND | high
        )


@pytest.mark.parametrize("size", SIZES)
def test_ordered_accesses(size: int) -> None:
    op = i.STX | i.ATOMIC | i.SIZE_CODE[size]
    setup = Setup([*wide(2, MASK), Insn(op, 1, 2, 8, 0x110), Insn(op, 0, 1, 8, 0x100), EXIT])
    assert setup.run() & MASK == (1 << 8 * size) - 1
    assert setup.context.data[8:16] == (b"\xff" * size).ljust(8, b"\0")


def test_addresses_have_64_bits() -> None:
    fault = Setup([*wide(1, 0), Insn(i.LDX | i.MEM | i.B, 0, 1, -1), EXIT]).fault()
    assert f"invalid read of 1 bytes at {MASK:#x}" in fault.what


# -- wide immediates ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_wide_immediates(order: ByteOrder) -> None:
    for value in (0, 1, MASK, MIN64, 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_8000_0000):
        assert result(*wide(0, value), order=order) == value


@pytest.mark.parametrize(
    ("pseudo", "extra"),
    [
        (Pseudo.MAP_FD, 0),
        (Pseudo.MAP_VALUE, 0xFFFF_FFF0),
        (Pseudo.BTF_ID, 9),
        (Pseudo.MAP_IDX, 0),
        (Pseudo.MAP_IDX_VALUE, 24),
    ],
)
def test_addresses_are_asked_for_once(pseudo: Pseudo, extra: int) -> None:
    asked = []

    def resolve(*question: int) -> int:
        asked.append(question)
        return -1

    code = [Insn(i.JMP | i.JA), *wide(0, extra << 32 | 5, pseudo), EXIT]
    setup = Setup(code, resolve=resolve)
    assert asked == [(pseudo, 5, extra)]
    assert setup.run() == setup.run() == -1
    assert len(asked) == 1


def test_what_cannot_be_resolved_is_no_machine() -> None:
    code = encode([*wide(0, 5, Pseudo.MAP_FD), EXIT], "little")
    with pytest.raises(NotFound, match=r"instruction 0: .*MAP_FD 5"):
        Interpreter(code, Memory("little"), {})


# -- calls ----------------------------------------------------------------------------------------


def call(kind: CallKind, number: int, off: int = 0) -> Insn:
    return Insn(i.OP_CALL, 0, kind, off, number)


def test_helpers_get_arguments_and_return_r0() -> None:
    seen = []

    def helper(machine: Interpreter, *args: int) -> int:
        seen.append((machine, args))
        return -2

    arguments = [Insn(i.ALU64 | i.MOV, reg, imm=-reg) for reg in range(1, 6)]
    setup = Setup([*arguments, call(CallKind.HELPER, 77), EXIT], helpers={77: helper})
    assert setup.run() == -2
    assert seen == [(setup.machine, tuple(-reg & MASK for reg in range(1, 6)))]


def test_helpers_results_have_64_bits() -> None:
    seen = []

    def helper(_: Interpreter, *args: int) -> int:
        seen.append(args[0])
        return -2 if len(seen) == 1 else 3 << 64 | 7

    calls = [call(CallKind.HELPER, 1), Insn(i.ALU64 | i.MOV | i.X, 1, 0)] * 2
    assert Setup([MOV_1, *calls, *calls[:1], EXIT], helpers={1: helper}).run() == 7
    assert seen == [1, -2 & MASK, 7]


def test_kfuncs_go_by_id_and_module() -> None:
    code = encode([call(CallKind.KFUNC, 1234, 3), EXIT], "little")
    machine = Interpreter(code, Memory("little"), {}, kfuncs={(1234, 3): lambda *_: 5})
    assert machine.run(0) == 5


@pytest.mark.parametrize("kind", CallKind)
def test_calls_keep_only_r6_to_r10(kind: CallKind) -> None:
    keep = [Insn(i.ALU64 | i.MOV, reg, imm=reg) for reg in range(1, 10)]
    # A function of its own, whose end is reached only by the call.
    code = [
        *keep,
        call(kind, 3 if kind is CallKind.SUBPROGRAM else 1),
        Insn(i.LDX | i.MEM | i.B, 0, 0),
        EXIT,
        EXIT,
        *[Insn(i.ALU64 | i.MOV, reg, imm=0) for reg in (0, 6, 7, 8, 9)],
        EXIT,
    ]
    memory = Memory("little")
    machine = Interpreter(
        encode(code, "little"), memory, {1: lambda *_: 0}, kfuncs={(1, 0): lambda *_: 0}
    )
    with pytest.raises(SimulatorFault) as caught:
        machine.run(0)
    registers = caught.value.registers
    assert registers[0] == 0
    assert registers[6:10] == (6, 7, 8, 9)
    assert not set(registers[1:6]) & set(range(10))


def test_each_function_has_its_own_stack() -> None:
    store = [Insn(i.ST | i.MEM | i.DW, FP, 0, -STACK_SIZE, number) for number in (1, 2)]
    load = Insn(i.LDX | i.MEM | i.DW, 0, FP, -STACK_SIZE)
    code = [store[0], call(CallKind.SUBPROGRAM, 2), load, EXIT, store[1], load, EXIT]
    assert Setup(code).run() == 1


def test_a_function_gets_its_arguments_and_may_use_its_callers_stack() -> None:
    setup = Setup(
        [
            Insn(i.ALU64 | i.MOV | i.X, 1, FP),
            Insn(i.ALU64 | i.MOV, 5, imm=55),
            call(CallKind.SUBPROGRAM, 3),
            Insn(i.LDX | i.MEM | i.DW, 7, FP, -8),
            Insn(i.ALU64 | i.ADD | i.X, 0, 7),
            EXIT,
            Insn(i.STX | i.MEM | i.DW, 1, 5, -8),
            Insn(i.ALU64 | i.MOV, 0, imm=100),
            EXIT,
        ]
    )
    assert setup.run() == 155


def test_a_stack_is_gone_with_its_function() -> None:
    setup = Setup(
        [
            call(CallKind.SUBPROGRAM, 2),
            Insn(i.LDX | i.MEM | i.DW, 0, 0, -8),
            EXIT,
            Insn(i.ALU64 | i.MOV | i.X, 0, FP),
            EXIT,
        ]
    )
    fault = setup.fault()
    assert fault.place.index == 1
    # Nor does a fault leave stacks behind.
    assert setup.fault().registers[FP] > fault.registers[FP]
    with pytest.raises(MemoryFault):
        setup.memory.find(fault.registers[FP] - 8, 8)


def test_calls_are_nested_at_most_8_deep() -> None:
    code = [insn for _ in range(MAX_FRAMES - 1) for insn in (call(CallKind.SUBPROGRAM, 1), EXIT)]
    last = [Insn(i.ALU64 | i.MOV, 0, imm=3), EXIT]
    assert Setup([*code, *last]).run() == 3
    endless = [*code, call(CallKind.SUBPROGRAM, -1), EXIT]
    fault = Setup(endless).fault()
    assert "8 nested call frames" in fault.what
    assert [caller.index for caller in fault.callers] == list(range(0, 2 * (MAX_FRAMES - 1), 2))
    # A call that has returned does not count.
    assert Setup([call(CallKind.SUBPROGRAM, len(code)), *code, *last]).run() == 3
    fault = Setup([call(CallKind.SUBPROGRAM, len(endless)), *endless, *last]).fault()
    assert len(fault.callers) == MAX_FRAMES - 1


def looping(callback: Sequence[Insn]) -> list[Insn]:
    """r0 = helper 1(callback, r10), with a number in r10 - 8 that starts as 0; then that number."""
    return [
        Insn(i.ST | i.MEM | i.DW, FP, 0, -8, 0),
        *wide(1, 7, Pseudo.FUNC),
        Insn(i.ALU64 | i.MOV | i.X, 2, FP),
        call(CallKind.HELPER, 1),
        Insn(i.STX | i.MEM | i.DW, FP, 0, -16),
        Insn(i.LDX | i.MEM | i.DW, 0, FP, -8),
        EXIT,
        Insn(i.JMP | i.JA),
        *callback,
    ]


def call_five_times(machine: Interpreter, *args: int) -> int:
    function, data, *_ = args
    return sum(machine.call(function, number, data) for number in range(5))


def test_callbacks() -> None:
    adds = [
        Insn(i.LDX | i.MEM | i.DW, 3, 2, -8),
        Insn(i.ALU64 | i.ADD | i.X, 3, 1),
        Insn(i.STX | i.MEM | i.DW, 2, 3, -8),
        Insn(i.ALU64 | i.MOV, 0, imm=1),
        EXIT,
    ]
    assert Setup(looping(adds), helpers={1: call_five_times}).run() == 0 + 1 + 2 + 3 + 4


def test_a_fault_in_a_callback_names_the_caller() -> None:
    setup = Setup(looping([Insn(i.LDX | i.MEM | i.W, 0, 1), EXIT]), helpers={1: call_five_times})
    fault = setup.fault()
    assert fault.place.index == 9
    assert [caller.text for caller in fault.callers] == ["call bpf_map_lookup_elem#1"]
    assert str(fault).startswith("instruction 4: call bpf_map_lookup_elem#1: instruction 9: r0 = ")


@pytest.mark.parametrize("address", [0, 4, MASK])
def test_callbacks_to_nowhere(address: int) -> None:
    setup = Setup([*wide(1, address), call(CallKind.HELPER, 1), EXIT], helpers={1: call_five_times})
    fault = setup.fault()
    assert (fault.place.index, fault.callers) == (2, ())
    assert "no instruction at" in fault.what


def test_a_helpers_miss_is_the_calls() -> None:
    setup = Setup(
        [Insn(i.ALU64 | i.MOV, 1, imm=0), call(CallKind.HELPER, 1), EXIT],
        helpers={1: lambda machine, *args: machine.memory.load(args[0], 4)},
    )
    fault = setup.fault()
    assert fault.place.index == 1
    assert isinstance(fault.__cause__, MemoryFault)


def test_other_errors_of_helpers_come_out_as_they_are() -> None:
    error = LskelError("the simulated kernel gives up")

    def helper(*_: object) -> int:
        raise error

    with pytest.raises(LskelError) as caught:
        Setup([call(CallKind.HELPER, 1), EXIT], helpers={1: helper}).run()
    assert caught.value is error


# -- faults ---------------------------------------------------------------------------------------


def test_a_fault_tells_all() -> None:
    setup = Setup(
        [Insn(i.ALU64 | i.MOV, 7, imm=-1), Insn(i.STX | i.MEM | i.W, 1, 7, CONTEXT_SIZE - 2), EXIT]
    )
    fault = setup.fault()
    assert (fault.place.index, fault.place.text) == (1, "*(u32 *)(r1 +30) = r7")
    assert fault.region is setup.context
    assert fault.registers[1] == setup.context.base
    assert fault.registers[7] == MASK
    assert len(fault.registers) == 11
    text = str(fault)
    assert text.startswith(
        "instruction 1: *(u32 *)(r1 +30) = r7: invalid write of 4 bytes at 0x10000001e: "
    )
    assert "context has 32 bytes, this is offset 30" in text
    assert "r1=0x100000000 " in text
    assert "r7=0xffffffffffffffff " in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("insn", "region"),
    [
        (Insn(i.LDX | i.MEM | i.DW, 0, FP, 0), "stack of frame 0"),
        (Insn(i.LDX | i.MEM | i.DW, 0, FP, -STACK_SIZE - 1), "constants"),
        (Insn(i.LDX | i.MEMSX | i.B, 0, 1, CONTEXT_SIZE), "context"),
        (Insn(i.ST | i.MEM | i.B, 6, 0, 0), "constants"),
        (Insn(i.STX | i.ATOMIC | i.W, 6, 7, 0, i.ADD), "constants"),
        (Insn(i.STX | i.ATOMIC | i.DW, 6, 7, 0, 0xF1), "constants"),
        (Insn(i.STX | i.ATOMIC | i.B, 6, 7, 0, 0x110), "constants"),
        (Insn(i.STX | i.ATOMIC | i.H, 0, 1, CONTEXT_SIZE - 1, 0x100), "context"),
        (Insn(i.STX | i.ATOMIC | i.W, FP, 7, -2, 0xE1), "stack of frame 0"),
    ],
)
def test_accesses_outside(insn: Insn, region: str) -> None:
    setup = Setup([*wide(6, 0, Pseudo.MAP_IDX_VALUE), insn, EXIT])
    before = bytes(setup.constant.data)
    fault = setup.fault()
    assert fault.place.index == 2
    assert fault.region is not None
    assert fault.region.name == region
    assert setup.constant.data == before


@pytest.mark.parametrize(
    ("code", "index", "what"),
    [
        ([Insn(0xFF), EXIT], 0, "unknown opcode"),
        ([Insn(i.LD | i.ABS | i.W, imm=4), EXIT], 0, "unknown opcode"),
        ([Insn(i.LDX | i.MEMSX | i.DW, 0, 1), EXIT], 0, "unknown opcode"),
        ([Insn(i.ALU64 | i.ADD | i.X, 0, 1, 1), EXIT], 0, "with off 0x1"),
        ([Insn(i.ALU | i.END, 0, imm=24), EXIT], 0, "with imm 0x18"),
        ([Insn(i.STX | i.ATOMIC | i.H, 1, 0, 0, i.ADD), EXIT], 0, "with imm 0x0"),
        ([Insn(i.OP_CALL, 0, 3, 0, 1), EXIT], 0, "with src 0x3"),
        ([Insn(i.ALU64 | i.MOV, 0, 1), EXIT], 0, "reserved src is 0x1"),
        ([Insn(i.LDX | i.MEM | i.W, 0, 1, 0, 5), EXIT], 0, "reserved imm is 0x5"),
        ([Insn(i.OP_EXIT, 0, 0, 0, 1)], 0, "reserved imm is 0x1"),
        ([Insn(i.JMP | i.JA, 1), EXIT], 0, "reserved dst is 0x1"),
        ([Insn(i.ALU64 | i.MOV, 11), EXIT], 0, "no r11"),
        ([Insn(i.ALU64 | i.MOV | i.X, 0, 15), EXIT], 0, "no r15"),
        ([Insn(i.ALU64 | i.MOV, 10), EXIT], 0, "r10 is read only"),
        ([Insn(i.STX | i.ATOMIC | i.DW, 1, 10, 0, 0xE1), EXIT], 0, "r10 is read only"),
        ([Insn(i.OP_LD_IMM64, 0, 9), Insn(0), EXIT], 0, "with src 0x9"),
        ([Insn(i.OP_LD_IMM64, 0), EXIT], 0, "second slot missing"),
        ([MOV, Insn(i.OP_LD_IMM64, 0)], 1, "second slot missing"),
        ([Insn(i.OP_LD_IMM64, 0), Insn(0, 1), EXIT], 0, "fields of the second slot"),
        ([Insn(i.OP_LD_IMM64, 0, Pseudo.MAP_IDX), Insn(0, imm=1), EXIT], 0, "of the second slot"),
        ([MOV], 0, "falls through"),
        ([*wide(0, 0x123 << 32)], 0, "r0 = 0x12300000000: is the last instruction, but falls"),
        ([Insn(i.JMP | i.JEQ | i.X, 1, 1, -2), EXIT], 0, "jumps to -1"),
        ([Insn(i.JMP | i.JA, off=1), EXIT], 0, "jumps to 2"),
        ([MOV, Insn(i.JMP32 | i.JA, imm=2**31 - 1), EXIT], 1, "jumps to 2147483649"),
        ([Insn(i.JMP | i.JNE, 0, off=1), *wide(0, 0), EXIT], 0, "jumps to 2"),
        ([Insn(i.JMP | i.JA, off=1), *wide(0, 0), EXIT], 0, "jumps to 2"),
        ([call(CallKind.SUBPROGRAM, 1), EXIT], 0, "no function at instruction 2"),
        ([call(CallKind.SUBPROGRAM, 2), EXIT, *wide(0, 0), EXIT], 0, "at instruction 3"),
        ([call(CallKind.HELPER, 999), EXIT], 0, "unknown helper"),
        ([call(CallKind.KFUNC, 999), EXIT], 0, "unknown kfunc"),
    ],
)
def test_what_is_no_program(code: list[Insn], index: int, what: str) -> None:
    fault = Setup(code).fault()
    assert (fault.place.index, fault.region) == (index, None)
    assert what in str(fault)


def test_what_is_not_reached_does_not_matter() -> None:
    bad = [Insn(0xFF), Insn(i.JMP | i.JA, off=99), call(CallKind.HELPER, 999), MOV]
    assert Setup([MOV, EXIT, *bad]).run() == 0
    # A jump that is not taken may go anywhere.
    assert Setup([MOV, Insn(i.JMP | i.JNE, 0, off=99), EXIT]).run() == 0


@pytest.mark.parametrize("size", [0, 7, 12])
def test_code_is_whole_instructions(size: int) -> None:
    with pytest.raises(BadInput, match=f"{size} bytes"):
        Interpreter(bytes(size), Memory("little"), {})


# -- the budget -----------------------------------------------------------------------------------


def test_endless_loops_end() -> None:
    fault = Setup([Insn(i.JMP | i.JA, off=-1), EXIT], budget=500).fault()
    assert isinstance(fault, BudgetSpent)
    assert fault.budget == 500
    assert fault.place.index == 0
    assert "still running after 500 instructions" in str(fault)


def test_the_budget_is_what_may_be_executed_in_each_run() -> None:
    subprogram = [MOV, call(CallKind.SUBPROGRAM, 1), EXIT, MOV, EXIT]
    setup = Setup(subprogram, budget=5)
    assert setup.run() == setup.run() == 0
    for budget, index, callers in ((4, 2, []), (3, 4, [1])):
        fault = Setup(subprogram, budget=budget).fault()
        assert isinstance(fault, BudgetSpent)
        assert (fault.place.index, [caller.index for caller in fault.callers]) == (index, callers)


def test_callbacks_count_too() -> None:
    def call_for_ever(machine: Interpreter, *args: int) -> int:
        while True:
            machine.call(args[0])

    setup = Setup(looping([MOV, EXIT]), helpers={1: call_for_ever}, budget=100)
    assert isinstance(setup.fault(), BudgetSpent)
