"""Where registers got their values, on the way that the verifier took."""

from __future__ import annotations

import pytest

from lskel.verifier.entries import read_entries
from lskel.verifier.values import meaning
from lskel.verifier.walk import OriginKind, WalkStep, origin, read_by, value, walk

# Two ways to the same instruction; on the first one R6 is a number.
BRANCHES = """
0: R1=ctx() R10=fp0
0: (b7) r6 = 5                        ; R6=5
1: (85) call bpf_get_prandom_u32#7    ; R0=scalar()
2: (15) if r0 == 0x0 goto pc+1        ; R0=scalar()
3: (b7) r6 = 7                        ; R6=7
4: (95) exit

from 2 to 4: R0=0 R6=5 R10=fp0
4: (95) exit
"""
# A function that is called, and one of its own.
CALLS = """
0: R1=ctx() R10=fp0
0: (85) call bpf_get_prandom_u32#7    ; R0=scalar()
1: (bf) r6 = r0                       ; R0=scalar(id=1) R6=scalar(id=1)
2: (bf) r1 = r6                       ; R1=scalar(id=1) R6=scalar(id=1)
3: (85) call pc+3
caller:
 R6=scalar(id=1) R10=fp0
callee:
 frame1: R1=scalar(id=1) R10=fp0
7: frame1: R1=scalar(id=1) R10=fp0
7: (b7) r6 = 9                        ; frame1: R6=9
8: (bf) r0 = r1                       ; frame1: R0=scalar(id=1) R1=scalar(id=1)
9: (07) r0 += 4                       ; frame1: R0=scalar()
10: (95) exit
returning from callee:
 frame1: R0=scalar() R1=scalar(id=1) R6=9 R10=fp0
to caller at 4:
 R0=scalar() R6=scalar(id=1) R10=fp0
4: R0=scalar() R6=scalar(id=1) R10=fp0
4: (7b) *(u64 *)(r10 -8) = r0         ; R0=scalar() R10=fp0 fp-8=mmmmmmmm
5: (79) r7 = *(u64 *)(r10 -8)         ; R7=scalar() R10=fp0 fp-8=mmmmmmmm
6: (95) exit
Validating other() func#2...
11: R1=scalar() R10=fp0
11: (bf) r0 = r1                      ; R0=scalar() R1=scalar()
12: (0f) r0 += r3
"""


def steps(text: str) -> tuple[WalkStep, ...]:
    return walk(read_entries(text.splitlines())).steps


def said(step: WalkStep, register: int) -> str | None:
    held = value(step, register)
    return None if held is None else meaning(held)


def test_each_way_has_its_values() -> None:
    first, second = (step for step in steps(BRANCHES) if step.insn.number == 4)
    assert (said(first, 6), said(second, 6)) == ("the number 7", "the number 5")
    assert [step.insn.number for step in second.path()] == [4, 2, 1, 0]
    (from_first, from_second) = origin(first, 6).step, origin(second, 6).step
    assert from_first and from_second
    assert (from_first.insn.number, from_second.insn.number) == (3, 0)


def test_through_calls_and_the_stack() -> None:
    end = next(step for step in steps(CALLS) if step.insn.number == 6)
    come = origin(end, 7)
    assert come.step and (come.kind, come.what) == (OriginKind.CALL, "bpf_get_prandom_u32")
    assert come.step.insn.number == 0
    assert [step.insn.number for step in come.changed] == [9]
    # R6 of the function is another one.
    kept = origin(end, 6)
    assert kept.step and kept.step.insn.number == 0
    assert said(end, 6) == "any number"
    inside = next(step for step in steps(CALLS) if step.insn.number == 8)
    assert (inside.depth, said(inside, 6)) == (1, "the number 9")
    assert origin(inside, 1).kind is OriginKind.CALL
    assert origin(inside, 7).kind is OriginKind.ENTRY
    assert origin(end, 1).kind is OriginKind.LOST


def test_functions_are_verified_by_themselves() -> None:
    last = steps(CALLS)[-1]
    assert [step.insn.number for step in last.path()] == [12, 11]
    assert origin(last, 0) == (OriginKind.ENTRY, None, 1, "", ())
    assert value(last, 3) is None


def test_of_a_callback() -> None:
    text = """
    0: R1=ctx() R10=fp0
    0: (85) call bpf_loop#181
    caller:
     R10=fp0
    callee:
     frame1: R1=scalar() R2=fp[0]-8 R10=fp0 cb
    5: frame1: R1=scalar() R2=fp[0]-8 R10=fp0 cb
    5: (79) r0 = *(u64 *)(r1 +0)
    R1 invalid mem access 'scalar'
    """
    last = steps(text)[-1]
    assert (origin(last, 1).kind, origin(last, 1).what) == (OriginKind.ENTRY, "bpf_loop")


@pytest.mark.parametrize(
    ("text", "registers"),
    [
        ("r1 = *(u64 *)(r2 +8)", [2]),
        ("*(u32 *)(r4 +0) = r2", [4]),
        ("*(u32 *)(r10 -8) = 5", [10]),
        ("r1 += r2", [1, 2]),
        ("w1 = w2", [2]),
        ("if r1 > w2 goto pc+3", [1, 2]),
        ("if w1 s> 0xf goto pc+7", [1]),
        ("lock *(u64 *)(r0 +0) += r1", [0, 1]),
        ("call bpf_map_lookup_elem#1", []),
        ("exit", []),
        ("goto pc+1", []),
    ],
)
def test_read_by(text: str, registers: list[int]) -> None:
    (step,) = steps(f"0: (00) {text}")
    assert read_by(step.insn) == registers
