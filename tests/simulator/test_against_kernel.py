"""The interpreter against the kernel: the same programs, run in both, leave the same."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.bpf.enums import MapType
from lskel.bpf.helpers import HELPER_IDS
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.btf.kinds import Kind
from lskel.catalog.map_types import INSN_ENTRY_SIZE
from lskel.replay.simulator.interpreter.fault import SimulatorFault
from lskel.replay.simulator.machine import MAX_FRAMES, Interpreter
from lskel.replay.simulator.memory import Memory
from lskel.runtime.syscall import BpfError
from tests.conftest import lacking
from tests.runtime.programs import create_map, kernel_btf
from tests.simulator import generated
from tests.simulator.both import ORDER, Program, Refused, Tally, compare, kernel_takes, simulate
from tests.simulator.generated import (
    ATOMICS,
    CONDITIONS,
    CONTEXT,
    EDGES,
    EXIT,
    FRAME,
    IMMEDIATES,
    LOAD_ACQUIRE,
    STORE_RELEASE,
    SWAPS,
    VALUE,
    VALUE_ADDRESS,
    WIDTHS,
    WITH_IMMEDIATE,
    WITH_REGISTER,
    WORD,
    assemble,
    refused_immediate,
)

pytestmark = pytest.mark.kernel

PAIRS = tuple(itertools.product(EDGES, EDGES))
SIZES = (1, 2, 4, 8)
HANDS_OVER = Insn(i.ALU64 | i.MOV | i.X, CONTEXT, 1)
R0_IS_0 = Insn(i.ALU64 | i.MOV | i.K, 0)


@pytest.fixture(scope="module", autouse=True)
def _newest_of_rfc_9669() -> None:
    if not kernel_takes(R0_IS_0, Insn(i.ALU64 | i.MOV | i.X, 0, 0, 8), Insn(i.JMP32 | i.JA)):
        pytest.skip("the kernel lacks instructions of RFC 9669: Linux 6.6 has them")


@pytest.fixture(scope="module")
def ordered() -> bool:
    """Whether the kernel has ordered loads and stores: Linux 6.15."""
    op = i.STX | i.ATOMIC | i.DW
    return kernel_takes(
        Insn(i.ST | i.MEM | i.DW, FRAME, 0, -8), Insn(op, 0, FRAME, -8, LOAD_ACQUIRE)
    )


def pack(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(WORD, ORDER) for number in numbers)


def load(dst: int, word: int) -> Insn:
    return Insn(i.LDX | i.MEM | i.DW, dst, CONTEXT, WORD * word)


def store(word: int, src: int) -> Insn:
    return Insn(i.STX | i.MEM | i.DW, CONTEXT, src, WORD * word)


def of_pairs(*insns: Insn) -> None:
    """For all pairs of edges, r1 and r2, compare what is then in r1."""
    body = [
        insn
        for number in range(len(PAIRS))
        for insn in (load(1, 2 * number), load(2, 2 * number + 1), *insns, store(2 * number, 1))
    ]
    code = assemble([HANDS_OVER, *body, R0_IS_0], EXIT)
    compare(Program(code), [pack(*itertools.chain.from_iterable(PAIRS))])


def of_edges(*insns: Insn) -> None:
    """For all edges, r1, compare what is then in r1."""
    body = [
        insn for number in range(len(EDGES)) for insn in (load(1, number), *insns, store(number, 1))
    ]
    compare(Program(assemble([HANDS_OVER, *body, R0_IS_0], EXIT)), [pack(*EDGES)])


def of_immediates(varied: Insn, *insns: Insn) -> None:
    """For all immediates of `varied`, one of the instructions, compare what is then in r1."""
    body = [
        insn._replace(imm=imm) if insn is varied else insn
        for number, imm in enumerate(IMMEDIATES)
        for insn in (*insns, store(number, 1))
    ]
    context = bytes(WORD * len(IMMEDIATES))
    compare(Program(assemble([HANDS_OVER, *body, R0_IS_0], EXIT)), [context])


@pytest.mark.parametrize(("cls", "code", "off"), WITH_REGISTER)
def test_arithmetic_with_a_register(cls: int, code: int, off: int) -> None:
    of_pairs(Insn(cls | code | i.X, 1, 2, off))
    of_edges(Insn(cls | code | i.X, 1, 1, off))


@pytest.mark.parametrize(("cls", "code", "off"), WITH_IMMEDIATE)
def test_arithmetic_with_an_immediate(cls: int, code: int, off: int) -> None:
    for imm in IMMEDIATES:
        insn = Insn(cls | code | i.K, 1, 0, off, imm)
        if refused_immediate(code, imm, WIDTHS[cls]):
            with pytest.raises(Refused, match=r"div by zero|invalid shift"):
                of_edges(insn)
        else:
            of_edges(insn)


@pytest.mark.parametrize("cls", [i.ALU64, i.ALU])
def test_negation(cls: int) -> None:
    of_edges(Insn(cls | i.NEG, 1))


@pytest.mark.parametrize(("op", "bits"), SWAPS)
def test_byte_swaps(op: int, bits: int) -> None:
    of_edges(Insn(op, 1, imm=bits))


@pytest.mark.parametrize("cls", [i.JMP, i.JMP32])
@pytest.mark.parametrize("code", CONDITIONS)
def test_conditions(cls: int, code: int) -> None:
    one, zero = (Insn(i.ALU64 | i.MOV | i.K, 1, imm=imm) for imm in (1, 0))
    copy = Insn(i.ALU64 | i.MOV | i.X, 3, 1)
    of_pairs(copy, one, Insn(cls | code | i.X, 3, 2, 1), zero)
    for imm in IMMEDIATES:
        of_edges(copy, one, Insn(cls | code | i.K, 3, 0, 1, imm), zero)


@pytest.mark.parametrize(
    ("far", "distance"), [(False, 0), (False, 1), (True, 0), (True, 1), (True, 33_000)]
)
def test_unconditional_jumps(far: bool, distance: int) -> None:
    jump = Insn(i.JMP32 | i.JA, imm=distance) if far else Insn(i.JMP | i.JA, off=distance)
    # A branch around it makes what it jumps over reachable.
    around = Insn(i.JMP | i.JEQ | i.K, 1, 0, 1, 5)
    count = Insn(i.ALU64 | i.ADD | i.K, 0, imm=1)
    code = assemble([HANDS_OVER, load(1, 0), R0_IS_0, around, jump, *[count] * distance], EXIT)
    outcomes = compare(Program(code), [pack(5), pack(6)])
    assert [outcome.r0 for outcome in outcomes] == [distance, 0]


def test_a_loop_jumps_back() -> None:
    asm = Assembler(ORDER)
    asm.mov_imm(0, 1)
    asm.mov_imm(2, 20)
    asm.label("again")
    asm.alu_imm(i.MUL, 0, 3)
    asm.alu_imm(i.SUB, 2, 1)
    asm.jump_if(i.JNE, 2, 0, "again")
    asm.exit()
    assert compare(Program(asm.assemble()), [bytes(WORD)])[0].r0 == 3**20 & 0xFFFFFFFF


@pytest.mark.parametrize("base", [FRAME, VALUE])
@pytest.mark.parametrize("size", SIZES)
def test_loads_and_stores(size: int, base: int) -> None:
    first = -2 * WORD if base == FRAME else 0
    code = i.SIZE_CODE[size]
    clear = [Insn(i.ST | i.MEM | i.DW, base, 0, first + at, -1) for at in (0, WORD)]
    # At each offset of a word: store, and see the whole word, the number itself, and signed.
    step = size if base == FRAME else 1
    for off in range(first, first + WORD, step):
        whole = [Insn(i.LDX | i.MEM | i.DW, 1, base, first)]
        mine = [Insn(i.LDX | i.MEM | code, 1, base, off)]
        signed = [Insn(i.LDX | i.MEMSX | code, 1, base, off)]
        register = Insn(i.STX | i.MEM | code, base, 1, off)
        number = Insn(i.ST | i.MEM | code, base, 0, off)
        for seen in (whole, mine, signed) if size < WORD else (whole, mine):
            of_edges(*VALUE_ADDRESS, *clear, register, *seen)
            of_immediates(number, *VALUE_ADDRESS, *clear, number, *seen)


@pytest.mark.parametrize("base", [FRAME, VALUE])
@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("imm", ATOMICS)
def test_atomics(imm: int, size: int, base: int) -> None:
    off = -2 * WORD if base == FRAME else WORD
    # r1 is what memory holds and r2 the operand; r0 is equal to memory in half of the cases.
    for compared in (1, 2):
        atomic = [
            *VALUE_ADDRESS,
            Insn(i.STX | i.MEM | i.DW, base, 1, off),
            Insn(i.ALU64 | i.MOV | i.X, 0, compared),
            Insn(i.STX | i.ATOMIC | i.SIZE_CODE[size], base, 2, off, imm),
            Insn(i.LDX | i.MEM | i.DW, 1, base, off),
        ]
        mixed = [
            insn
            for r in (0, 2)
            for insn in (Insn(i.ALU64 | i.MUL | i.K, 1, imm=31), Insn(i.ALU64 | i.XOR | i.X, 1, r))
        ]
        of_pairs(*atomic, *mixed)


@pytest.mark.parametrize("base", [FRAME, VALUE])
@pytest.mark.parametrize("size", SIZES)
def test_ordered_loads_and_stores(size: int, base: int, ordered: bool) -> None:
    if not ordered:
        pytest.skip("the kernel has no ordered loads and stores: Linux 6.15 has them")
    off = -2 * WORD if base == FRAME else WORD
    op = i.STX | i.ATOMIC | i.SIZE_CODE[size]
    of_pairs(
        *VALUE_ADDRESS,
        Insn(i.STX | i.MEM | i.DW, base, 1, off),
        Insn(op, base, 2, off, STORE_RELEASE),
        Insn(i.LDX | i.MEM | i.DW, 1, base, off),
    )
    of_edges(
        *VALUE_ADDRESS,
        Insn(i.STX | i.MEM | i.DW, base, 1, off),
        Insn(op, 1, base, off, LOAD_ACQUIRE),
    )


@pytest.mark.parametrize("high", IMMEDIATES)
def test_wide_immediates(high: int) -> None:
    low = Insn(i.OP_LD_IMM64, 1, Pseudo.IMM64)
    of_immediates(low, low, Insn(0, imm=high))


@pytest.mark.parametrize("offset", [0, 8, 120])
def test_addresses_of_map_values(offset: int) -> None:
    asm = Assembler(ORDER)
    asm.map_value(7, 0, offset)
    asm.store_imm(8, 7, 0, -2)
    asm.mov_imm(0, 0)
    asm.exit()
    value = compare(Program(asm.assemble()), [pack(0)])[0].value
    assert value.index(b"\xfe" if ORDER == "little" else b"\xff") == offset


def test_addresses_of_maps() -> None:
    asm = Assembler(ORDER)
    asm.store_imm(4, 10, -4, 0)
    asm.mov(2, 10)
    asm.alu_imm(i.ADD, 2, -4)
    asm.emit(Insn(i.OP_LD_IMM64, 1, Pseudo.MAP_IDX))
    asm.emit(Insn(0))
    asm.call("map_lookup_elem")
    asm.jump_if(i.JEQ, 0, 0, "out")
    asm.store_imm(8, 0, 16, 0x1234)
    asm.mov_imm(0, 1)
    asm.label("out")
    asm.exit()
    assert compare(Program(asm.assemble()), [pack(0)])[0].r0 == 1


def chain(calls: int) -> Program:
    """Functions that each call the next one; the last returns 42."""
    code = []
    for _ in range(calls):
        code += [Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=1), *EXIT]
    return Program(assemble([*code, Insn(i.ALU64 | i.MOV | i.K, 0, imm=42)], EXIT))


def test_calls_are_nested_as_deep_as_the_kernel_lets_them() -> None:
    assert compare(chain(MAX_FRAMES - 1), [pack(0)])[0].r0 == 42
    with pytest.raises(Refused, match="too deep"):
        compare(chain(MAX_FRAMES), [pack(0)])
    with pytest.raises(SimulatorFault, match="8 nested call frames"):
        Interpreter(chain(MAX_FRAMES).code, Memory(ORDER), {}).run(0)


def looping(rounds: int, flags: int, body: list[Insn]) -> Program:
    """bpf_loop over `body` with r2 = address of two words, those of the context before and after.

    The context's third word is what bpf_loop returns.
    """
    main = [
        HANDS_OVER,
        *(insn for word in (0, 1) for insn in (load(1, word), stack(word, 1))),
        Insn(i.ALU64 | i.MOV | i.K, 1, imm=rounds),
        Insn(i.OP_LD_IMM64, 2, Pseudo.FUNC),
        Insn(0),
        Insn(i.ALU64 | i.MOV | i.X, 3, FRAME),
        Insn(i.ALU64 | i.ADD | i.K, 3, imm=-2 * WORD),
        Insn(i.ALU64 | i.MOV | i.K, 4, imm=flags),
        Insn(i.OP_CALL, imm=HELPER_IDS["loop"]),
        store(2, 0),
        *(
            insn
            for word in (0, 1)
            for insn in (Insn(i.LDX | i.MEM | i.DW, 1, FRAME, WORD * (word - 2)), store(word, 1))
        ),
        R0_IS_0,
        *EXIT,
    ]
    at = next(at for at, insn in enumerate(main) if insn.src == Pseudo.FUNC and i.is_wide(insn))
    main[at] = main[at]._replace(imm=len(main) - at - 1)
    return Program(assemble(main, body, EXIT), functions=(len(main),))


def stack(word: int, src: int) -> Insn:
    return Insn(i.STX | i.MEM | i.DW, FRAME, src, WORD * (word - 2))


# r0 = word; word = word * 31 ^ round; if (round == the other word) return 1; return 0
MIXES = [
    Insn(i.LDX | i.MEM | i.DW, 0, 2),
    Insn(i.ALU64 | i.MUL | i.K, 0, imm=31),
    Insn(i.ALU64 | i.XOR | i.X, 0, 1),
    Insn(i.STX | i.MEM | i.DW, 2, 0),
    Insn(i.LDX | i.MEM | i.DW, 3, 2, WORD),
    R0_IS_0,
    Insn(i.JMP | i.JNE | i.X, 1, 3, 1),
    Insn(i.ALU64 | i.MOV | i.K, 0, imm=1),
]


@pytest.mark.parametrize("rounds", [0, 1, 17, 1000, (1 << 23) + 1, -1])
@pytest.mark.parametrize("flags", [0, 1])
def test_callbacks(rounds: int, flags: int) -> None:
    contexts = [pack(number, last, 0) for number in EDGES[::5] for last in (0, 5, 16, 2000)]
    outcomes = compare(looping(rounds, flags, MIXES), contexts)
    if rounds == 17 and not flags:
        returned = [int.from_bytes(outcome.context[-WORD:], ORDER) for outcome in outcomes]
        assert returned[:4] == [1, 6, 17, 17]


COUNT = Insn(i.ALU64 | i.ADD | i.K, 0, imm=1)
# r0 counts; the loop ends where r1 is 0, or where may_goto jumps.
COUNTS = [
    Insn(i.OP_MAY_GOTO, off=3),
    COUNT,
    Insn(i.ALU64 | i.SUB | i.K, 1, imm=1),
    Insn(i.JMP | i.JNE | i.K, 1, 0, -4),
]


def test_may_goto() -> None:
    code = assemble([HANDS_OVER, load(1, 0), R0_IS_0, *COUNTS], EXIT)
    outcomes = compare(Program(code), [pack(1), pack(20), pack(1000)])
    assert [outcome.r0 for outcome in outcomes] == [1, 20, 1000]


def test_may_goto_ends_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each function has as many rounds; the kernel's are more, or a time."""
    monkeypatch.setattr("lskel.replay.simulator.machine.MAX_LOOPS", 500)
    endless = [Insn(i.OP_MAY_GOTO, off=1), Insn(i.JMP | i.JA, off=-2)]
    counted = [Insn(i.ALU64 | i.MOV | i.K, 1, imm=3), R0_IS_0, *COUNTS, *EXIT]
    call = Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=len(EXIT))
    compare(Program(assemble([*endless, call], EXIT, [*endless, *counted])), [pack(0)])
    code = assemble([R0_IS_0, Insn(i.OP_MAY_GOTO, off=2), COUNT, Insn(i.JMP | i.JA, off=-3)], EXIT)
    assert simulate(Program(code), b"").r0 == 500


ARENA = [Insn(i.OP_LD_IMM64, 8, Pseudo.MAP_IDX, imm=1), Insn(0)]


@pytest.fixture
def _has_arenas() -> None:
    if kernel_btf().find_kind("bpf_arena_alloc_pages", Kind.FUNC) is None:
        lacking("this kernel has no arenas: they need Linux 6.9")


def cast(dst: int, src: int, imm: int) -> Insn:
    return Insn(i.ALU64 | i.MOV | i.X, dst, src, i.ADDR_SPACE_CAST, imm)


@pytest.mark.usefixtures("_has_arenas")
@pytest.mark.parametrize(("dst", "src"), [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("imm", [i.TO_KERNEL, i.TO_ARENA])
def test_casts_of_addresses(imm: int, dst: int, src: int) -> None:
    body = [
        insn
        for word in range(len(EDGES))
        for insn in (load(1, word), load(2, word), cast(dst, src, imm), store(word, dst))
    ]
    code = assemble([HANDS_OVER, *ARENA, *body, R0_IS_0], EXIT)
    compare(Program(code, pages=1), [pack(*EDGES)])


@pytest.mark.usefixtures("_has_arenas")
@pytest.mark.parametrize("size", SIZES)
def test_accesses_of_an_arena(size: int) -> None:
    """The page is where user space has it, and there its address leads, cast to the kernel."""
    code = i.SIZE_CODE[size]
    body = [
        # r2 = an address in the arena as user space has it: its low half, and what a cast adds.
        *(load(2, 1), cast(2, 2, i.TO_ARENA), store(1, 2), cast(3, 2, i.TO_KERNEL)),
        *(load(1, 0), Insn(i.STX | i.MEM | code, 3, 1, 24), Insn(i.ST | i.MEM | code, 3, 0, 8, -3)),
        *(Insn(i.LDX | i.MEM | code, 4, 3, 8), store(0, 4), R0_IS_0),
    ]
    program = Program(assemble([HANDS_OVER, *ARENA, *body], EXIT), pages=2)
    outcomes = compare(program, lambda arena: [pack(edge, arena + 4096) for edge in EDGES])
    assert outcomes[-1].arena[4096 + 24 : 4096 + 24 + size] == bytes([0xFF]) * size


@pytest.fixture
def _has_jump_tables() -> None:
    try:
        create_map(MapType.INSN_ARRAY, 4, INSN_ENTRY_SIZE, 1).close()
    except BpfError:
        pytest.skip("the kernel has no jump tables: Linux 6.19 has them")


@pytest.mark.usefixtures("_has_jump_tables")
def test_jumps_by_a_table() -> None:
    """To the entry that the context names, of a table in each of two functions."""
    cases = 5
    table = [Insn(i.OP_LD_IMM64, 3, Pseudo.MAP_IDX_VALUE, imm=1), Insn(0)]
    start = [
        *(load(1, 0), Insn(i.JMP | i.JGE | i.K, 1, 0, 6, cases)),
        *(Insn(i.ALU64 | i.LSH | i.K, 1, imm=3), *table, Insn(i.ALU64 | i.ADD | i.X, 3, 1)),
        *(Insn(i.LDX | i.MEM | i.DW, 3, 3), Insn(i.OP_GOTOX, 3)),
    ]
    targets = [Insn(i.ALU64 | i.ADD | i.K, 0, imm=10**number) for number in range(cases)]
    code = assemble([HANDS_OVER, R0_IS_0, *start, *targets], EXIT)
    first = 2 + len(start)
    order = (3, 0, 4, 1, 2)
    program = Program(code, table=tuple(first + number for number in order))
    outcomes = compare(program, [pack(number) for number in range(cases + 1)])
    fallen = [sum(10**n for n in range(number, cases)) for number in (*order, 0)]
    assert [outcome.r0 for outcome in outcomes] == fallen


def generate(strategy: st.SearchStrategy[tuple[Any, ...]], examples: int, smallest: int) -> None:
    """Compare generated programs; nearly all of them must load, at least `smallest`."""
    tally = Tally()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def check(case: tuple[Any, ...]) -> None:
        tally.compare(*case)

    check()
    assert tally.compared >= smallest
    assert tally.share_refused() < 0.02, tally.refused


def test_generated_arithmetic_and_jumps() -> None:
    generate(generated.sequences(), 250, 200)


def test_generated_accesses(ordered: bool) -> None:
    generate(generated.memory_sequences(ordered), 200, 150)


def test_generated_functions() -> None:
    generate(generated.function_trees(), 100, 80)


# What the verifier says of slots that are no instruction, of SYSCALL programs at least.
NO_INSTRUCTION = re.compile(
    r"unknown opcode|reserved fields|invalid atomic op|R1[0-5] is invalid|is read only"
    r"|unrecognized bpf_ld_imm64|not allowed for this program type|addr_space_cast"
    r"|call to invalid destination"
)
# (dst, src, off, imm): r1 and r2 are addresses in loads and stores, else numbers, as r0 and r3 are.
FIELDS = (
    *((1, 0, 0, 0), (1, 2, 0, 0), (1, 3, 0, 0), (0, 0, 0, 1), (0, 0, 8, 0), (0, 0, 0, 8)),
    *(
        (1, 3, -8, 0),
        (1, 0, -8, 5),
        (1, 3, -8, 0xE1),
        (1, 3, -8, 0x110),
        (3, 1, -8, 0x100),
        (3, 1, -8, 0),
    ),
    *(
        (3, 1, -8, 0x100),
        (1, 0, 0, 16),
        (3, 0, 0, 64),
        (3, 0, 8, 5),
        (3, 0, 1, 5),
        (1, 3, 1, 0),
        (1, 3, 8, 0),
    ),
    *((1, 3, 32, 0), (10, 0, 0, 1), (10, 3, 0, 0), (11, 0, 0, 1), (3, 12, 0, 0)),
)


@pytest.mark.parametrize("cls", range(8))
def test_every_opcode(cls: int, ordered: bool) -> None:
    """What the kernel takes runs here; what is no instruction for it, is none here."""
    runs = 0
    memory = cls in (i.LD, i.LDX, i.ST, i.STX)
    addresses = [Insn(i.ALU64 | i.MOV | i.X, reg, FRAME) for reg in (1, 2)]
    before = [
        *generated.load_all((0, 1, 2, 3)),
        Insn(i.STX | i.MEM | i.DW, FRAME, 0, -WORD),
        *(addresses if memory else ()),
    ]
    # Long enough for all jumps to end in it.
    after = [R0_IS_0] * 40
    for op, fields in itertools.product(range(cls, 256, 8), FIELDS):
        if fields[-1] in (LOAD_ACQUIRE, STORE_RELEASE) and not ordered:
            continue
        wide = [Insn(0)] if op == i.OP_LD_IMM64 else []
        insn = Insn(op, *fields)
        program = Program(assemble([*before, insn, *wide, *after], EXIT))
        try:
            compare(program, [pack(*range(4))])
            runs += 1
        except Refused as refusal:
            if NO_INSTRUCTION.search(str(refusal)):
                with pytest.raises(SimulatorFault) as caught:
                    simulate(program, pack(*range(4)))
                assert caught.value.place.index == len(before), insn
    assert runs
