"""Hypothesis strategies: programs that the verifier accepts, whatever they compute.

They jump forwards only. A program gets its numbers from the context, and what it computes goes
back there: nothing in it is constant for the verifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from hypothesis import strategies as st

from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Insn, Pseudo
from tests.simulator.both import ORDER, VALUE_SIZE, Program

EDGES = (
    *(0, 1, 2, 31, 32, 63, 64, 0x80, 0x7FFF, 0x8000),
    *(0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000, 0x0123_4567_89AB_CDEF),
    *(0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_8000_0000),
    *(0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFF),
)
IMMEDIATES = (
    *(0, 1, 2, 7, 15, 31, 32, 63, 64, 0x7F, 0x80, 0xFFFF, 0x1234_5678),
    *(0x7FFF_FFFF, -0x8000_0000, -0x8000, -64, -7, -2, -1),
)

WIDTHS = {i.ALU64: 64, i.ALU: 32, i.JMP: 64, i.JMP32: 32}
SHIFTS = (i.LSH, i.RSH, i.ARSH)
DIVISIONS = (i.DIV, i.MOD)
_PLAIN = (i.ADD, i.SUB, i.MUL, i.OR, i.AND, i.XOR, i.MOV, *SHIFTS)
# (class, code, offset) of all arithmetic with a register, and with an immediate.
WITH_IMMEDIATE = [
    *((cls, code, 0) for cls in (i.ALU64, i.ALU) for code in _PLAIN),
    *((cls, code, off) for cls in (i.ALU64, i.ALU) for code in DIVISIONS for off in (0, 1)),
]
MOVSX = [(cls, i.MOV, off) for cls, off in ((i.ALU64, 32), (i.ALU64, 16), (i.ALU64, 8))] + [
    (i.ALU, i.MOV, 16),
    (i.ALU, i.MOV, 8),
]
WITH_REGISTER = [*WITH_IMMEDIATE, *MOVSX]
SWAPS = [
    (op, bits)
    for op in (i.ALU | i.END | i.K, i.ALU | i.END | i.X, i.ALU64 | i.END | i.K)
    for bits in (16, 32, 64)
]
CONDITIONS = (
    *(i.JEQ, i.JGT, i.JGE, i.JSET, i.JNE, i.JSGT, i.JSGE),
    *(i.JLT, i.JLE, i.JSLT, i.JSLE),
)
ATOMICS = (
    *(i.ADD, i.OR, i.AND, i.XOR),
    *(i.ADD | 1, i.OR | 1, i.AND | 1, i.XOR | 1, 0xE1, 0xF1),
)
LOAD_ACQUIRE, STORE_RELEASE = 0x100, 0x110

WORD = 8
CONTEXT, VALUE, FRAME = 6, 7, 10


def refused_immediate(code: int, imm: int, bits: int) -> bool:
    """Whether the verifier refuses the immediate: a division by 0, a shift by too much."""
    if code in DIVISIONS:
        return imm == 0
    return code in SHIFTS and not 0 <= imm < bits


@dataclass(frozen=True, slots=True)
class Item:
    """A few instructions; the last one jumps over the `over` next items, unless that is None."""

    insns: tuple[Insn, ...]
    over: int | None = None


def words() -> st.SearchStrategy[int]:
    """Unsigned numbers of 64 bits, often edges."""
    return st.sampled_from(EDGES) | st.integers(0, 2**64 - 1)


def contexts(count: int) -> st.SearchStrategy[list[bytes]]:
    """A few contexts of `count` words."""
    one = st.lists(words(), min_size=count, max_size=count).map(
        lambda numbers: b"".join(number.to_bytes(WORD, ORDER) for number in numbers)
    )
    return st.lists(one, min_size=1, max_size=4)


def assemble(*parts: Sequence[Insn | Item]) -> bytes:
    """Put together the code; a jump over more items than its part has left goes to its end."""
    return b"".join(insn.encode(ORDER) for part in parts for insn in _place(part))


def _place(part: Sequence[Insn | Item]) -> list[Insn]:
    items = [Item((one,)) if isinstance(one, Insn) else one for one in part]
    starts = [0]
    for item in items:
        starts.append(starts[-1] + len(item.insns))
    placed: list[Insn] = []
    for number, item in enumerate(items):
        *insns, last = item.insns
        if item.over is not None:
            target = min(number + 1 + item.over, len(items))
            distance = starts[target] - starts[number + 1]
            far = last.op == i.JMP32 | i.JA
            last = last._replace(imm=distance) if far else last._replace(off=distance)
        placed += [*insns, last]
    return placed


# -- arithmetic and jumps ---------------------------------------------------------------------

NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 9)


def _immediates() -> st.SearchStrategy[int]:
    return st.sampled_from(IMMEDIATES) | st.integers(-(2**31), 2**31 - 1)


# Those named twice come twice as often.
_ARITHMETIC_KINDS = ("register", "register", "immediate", "immediate", "unary", "wide")
_ACCESS_KINDS = ("load", "signed", "store", "number", "atomic")
_ORDERED_KINDS = ("acquire", "release")


@st.composite
def arithmetic(draw: st.DrawFn, registers: Sequence[int]) -> Item:
    """One instruction that changes one of `registers`."""
    dst, src = draw(st.sampled_from(registers)), draw(st.sampled_from(registers))
    kind = draw(st.sampled_from(_ARITHMETIC_KINDS))
    if kind == "register":
        cls, code, off = draw(st.sampled_from(WITH_REGISTER))
        return Item((Insn(cls | code | i.X, dst, src, off),))
    if kind == "immediate":
        cls, code, off = draw(st.sampled_from(WITH_IMMEDIATE))
        imm = draw(
            _immediates().filter(lambda imm: not refused_immediate(code, imm, WIDTHS[cls]))
            if code not in SHIFTS
            else st.integers(0, WIDTHS[cls] - 1)
        )
        return Item((Insn(cls | code | i.K, dst, 0, off, imm),))
    if kind == "unary":
        op, imm = draw(st.sampled_from([*SWAPS, (i.ALU64 | i.NEG, 0), (i.ALU | i.NEG, 0)]))
        return Item((Insn(op, dst, imm=imm),))
    low, high = draw(_immediates()), draw(_immediates())
    return Item((Insn(i.OP_LD_IMM64, dst, Pseudo.IMM64, imm=low), Insn(0, imm=high)))


@st.composite
def jumps(draw: st.DrawFn, registers: Sequence[int]) -> Item:
    """A jump on a condition, or one around an unconditional jump."""
    dst, src = draw(st.sampled_from(registers)), draw(st.sampled_from(registers))
    op = draw(st.sampled_from((i.JMP, i.JMP32))) | draw(st.sampled_from(CONDITIONS))
    if draw(st.booleans()):
        condition = Insn(op | i.X, dst, src)
    else:
        condition = Insn(op | i.K, dst, imm=draw(_immediates()))
    over = draw(st.integers(0, 6))
    if draw(st.integers(0, 3)):
        return Item((condition,), over)
    # So what follows can be reached, as the verifier demands.
    jump = Insn(draw(st.sampled_from((i.JMP, i.JMP32))) | i.JA)
    return Item((condition._replace(off=1), jump), over)


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Program, list[bytes]]:
    """Arithmetic and jumps, with contexts."""
    item = arithmetic(NUMBERS) | arithmetic(NUMBERS) | jumps(NUMBERS)
    body = draw(st.lists(item, min_size=1, max_size=30))
    code = assemble(load_all(NUMBERS), body, store_all(NUMBERS), EXIT)
    return Program(code), draw(contexts(len(NUMBERS)))


def load_all(registers: Sequence[int], at: int = 0) -> list[Insn]:
    """r6 = context; each of `registers` is a word of it, from word `at` on."""
    return [Insn(i.ALU64 | i.MOV | i.X, CONTEXT, 1)] + [
        Insn(i.LDX | i.MEM | i.DW, reg, CONTEXT, WORD * (at + number))
        for number, reg in enumerate(registers)
    ]


def store_all(registers: Sequence[int], at: int = 0) -> list[Insn]:
    """The reverse."""
    return [
        Insn(i.STX | i.MEM | i.DW, CONTEXT, reg, WORD * (at + number))
        for number, reg in enumerate(registers)
    ]


EXIT = [Insn(i.OP_EXIT)]

# -- memory -----------------------------------------------------------------------------------

SCALARS = (0, 1, 2, 3, 4, 5)
STACK_WORDS = 8
STACK = -WORD * STACK_WORDS
VALUE_ADDRESS = [Insn(i.OP_LD_IMM64, VALUE, Pseudo.MAP_IDX_VALUE), Insn(0)]


@st.composite
def accesses(draw: st.DrawFn, ordered: bool) -> Item:
    """One load, store or atomic instruction, on the stack or in the map's value.

    `ordered`: Linux's ordered ones too.
    """
    base = draw(st.sampled_from((FRAME, VALUE)))
    scalar = draw(st.sampled_from(SCALARS))
    kind = draw(st.sampled_from((*_ACCESS_KINDS, *(_ORDERED_KINDS if ordered else ()))))
    sizes = {"signed": (1, 2, 4), "atomic": (4, 8)}
    size = draw(st.sampled_from(sizes.get(kind, (1, 2, 4, 8))))
    # Only a map's value may be accessed unaligned, and not by atomics.
    step = 1 if base == VALUE and kind in ("load", "signed", "store", "number") else size
    first, end = (STACK, 0) if base == FRAME else (0, VALUE_SIZE)
    off = first + step * draw(st.integers(0, (end - first - size) // step))
    code = i.SIZE_CODE[size]
    if kind in ("load", "signed"):
        mode = i.MEM if kind == "load" else i.MEMSX
        return Item((Insn(i.LDX | mode | code, scalar, base, off),))
    if kind == "number":
        return Item((Insn(i.ST | i.MEM | code, base, 0, off, draw(_immediates())),))
    if kind == "store":
        return Item((Insn(i.STX | i.MEM | code, base, scalar, off),))
    if kind == "acquire":
        return Item((Insn(i.STX | i.ATOMIC | code, scalar, base, off, LOAD_ACQUIRE),))
    imm = STORE_RELEASE if kind == "release" else draw(st.sampled_from(ATOMICS))
    return Item((Insn(i.STX | i.ATOMIC | code, base, scalar, off, imm),))


@st.composite
def memory_sequences(draw: st.DrawFn, ordered: bool) -> tuple[Program, list[bytes], bytes]:
    """Accesses, some arithmetic and jumps, with contexts and the value of the map at first."""
    access = accesses(ordered)
    item = access | access | access | arithmetic(SCALARS) | jumps(SCALARS)
    body = draw(st.lists(item, min_size=1, max_size=30))
    stack = range(STACK, 0, WORD)
    fill = [
        insn
        for number, off in enumerate(stack, len(SCALARS))
        for insn in (
            Insn(i.LDX | i.MEM | i.DW, 0, CONTEXT, WORD * number),
            Insn(i.STX | i.MEM | i.DW, FRAME, 0, off),
        )
    ]
    drain = [
        insn
        for number, off in enumerate(stack, len(SCALARS))
        for insn in (
            Insn(i.LDX | i.MEM | i.DW, 0, FRAME, off),
            Insn(i.STX | i.MEM | i.DW, CONTEXT, 0, WORD * number),
        )
    ]
    code = assemble(
        [Insn(i.ALU64 | i.MOV | i.X, CONTEXT, 1)],
        fill,
        load_all(SCALARS)[1:],
        VALUE_ADDRESS,
        body,
        store_all(SCALARS),
        drain,
        EXIT,
    )
    value = draw(st.binary(min_size=VALUE_SIZE, max_size=VALUE_SIZE))
    return Program(code), draw(contexts(len(SCALARS) + STACK_WORDS)), value


# -- functions --------------------------------------------------------------------------------

ARGS = (1, 2, 3, 4, 5)
SAVED = (6, 7, 8, 9)


@st.composite
def function_trees(draw: st.DrawFn) -> tuple[Program, list[bytes]]:
    """A program and functions that call those after them, each with a stack of its own."""
    last = draw(st.integers(1, 4))
    bodies = [
        [*_prologue(number), *draw(_body(number, last)), *_epilogue(number)]
        for number in range(last + 1)
    ]
    starts = [0, *accumulate(len(body) for body in bodies)]
    code = [
        # Until here a call's immediate is the number of the function.
        insn._replace(imm=starts[insn.imm] - at - 1) if insn.op == i.OP_CALL else insn
        for at, insn in enumerate(insn for body in bodies for insn in body)
    ]
    return Program(assemble(code)), draw(contexts(len(ARGS)))


@st.composite
def _body(draw: st.DrawFn, number: int, last: int) -> list[Insn]:
    """Arithmetic, and calls of functions up to `last`; of the next one always."""
    registers = (0, *_saved(number))
    parts = [item.insns for item in draw(st.lists(arithmetic(registers), min_size=1, max_size=6))]
    if number < last:
        later = draw(st.lists(st.integers(number + 1, last), max_size=2))
        for callee in (number + 1, *later):
            call = draw(_call(callee, registers))
            parts.insert(draw(st.integers(0, len(parts))), call)
    return [insn for part in parts for insn in part]


@st.composite
def _call(draw: st.DrawFn, callee: int, registers: Sequence[int]) -> tuple[Insn, ...]:
    moves = [Insn(i.ALU64 | i.MOV | i.X, arg, draw(st.sampled_from(registers))) for arg in ARGS]
    return (*moves, Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=callee))


def _saved(number: int) -> tuple[int, ...]:
    """The registers that hold numbers of its own in a function; in the first, r6 is the context."""
    return SAVED if number else SAVED[1:]


def _prologue(number: int) -> list[Insn]:
    """The arguments, in the first function words of the context, to r0, r6 to r9 and the stack."""
    if number == 0:
        start = [*load_all(ARGS[1:]), *load_all((0, *_saved(0)))[1:]]
    else:
        start = [
            Insn(i.ALU64 | i.MOV | i.X, reg, arg)
            for reg, arg in zip((0, *SAVED), ARGS, strict=True)
        ]
    return [*start, Insn(i.STX | i.MEM | i.DW, FRAME, 5, -WORD)]


def _epilogue(number: int) -> list[Insn]:
    """Mixes all into r0; the first function stores it too."""
    mixed = [
        insn
        for reg in (*_saved(number), 1)
        for insn in (Insn(i.ALU64 | i.MUL | i.K, 0, imm=31), Insn(i.ALU64 | i.ADD | i.X, 0, reg))
    ]
    reload = Insn(i.LDX | i.MEM | i.DW, 1, FRAME, -WORD)
    return [reload, *mixed, *(store_all((0,)) if number == 0 else ()), *EXIT]
