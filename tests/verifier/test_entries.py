"""Lines of logs as data, in the forms that kernels have written them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lskel.verifier.causes import CAUSES
from lskel.verifier.entries import (
    Entry,
    LogInsn,
    LogState,
    Message,
    Note,
    Report,
    SourceText,
    read_entries,
)
from lskel.verifier.explain import explain
from lskel.verifier.explanation import to_json
from lskel.verifier.logs import find_logs
from lskel.verifier.render import render
from lskel.verifier.values import meaning, read_value, read_values
from tests.verifier.test_logs import LOGS

TEXTS = [path.read_text() for path in sorted(LOGS.glob("*.txt"))]


@pytest.mark.parametrize(
    ("line", "entries"),
    [
        ("12: (79) r1 = *(u64 *)(r1 +8)", [LogInsn(12, 0x79, "r1 = *(u64 *)(r1 +8)")]),
        (
            "3: (b7) r2 = 0                        ; R2_w=0 fp-8=mmmm????",
            [LogInsn(3, 0xB7, "r2 = 0", "R2_w=0 fp-8=mmmm????")],
        ),
        ("11: (85) call bpf_x#132          ;", [LogInsn(11, 0x85, "call bpf_x#132")]),
        ("11: (85) call bpf_x#132   ; refs=2", [LogInsn(11, 0x85, "call bpf_x#132", "refs=2")]),
        (
            "5: (56) if w2 != 0x0 goto pc+1 7: R0=1 R10=fp0",
            [LogInsn(5, 0x56, "if w2 != 0x0 goto pc+1"), LogState("R0=1 R10=fp0", 7)],
        ),
        ("0: R1=ctx(id=0,off=0,imm=0) R10=fp0", [LogState("R1=ctx(id=0,off=0,imm=0) R10=fp0", 0)]),
        ("11: frame1: R1=scalar() R10=fp0", [LogState("frame1: R1=scalar() R10=fp0", 11)]),
        (" frame1: R6=1", [LogState("frame1: R6=1")]),
        (" R0_w=inv0 R10=fp0,call_-1", [LogState("R0_w=inv0 R10=fp0,call_-1")]),
        ("from 5 to 7: R0=1 R10=fp0", [LogState("R0=1 R10=fp0", 7, 5)]),
        ("from 5 to 7 (speculative execution): R0=1", [LogState("R0=1", 7, 5)]),
        (
            "from 5 to 7: R0=inv0 7: (95) exit",
            [LogState("R0=inv0", 7, 5), LogInsn(7, 0x95, "exit")],
        ),
        ("from 5 to 7: safe", [Note("from 5 to 7: safe")]),
        ("7: safe", [Note("7: safe")]),
        ("; int x = 1;", [SourceText("int x = 1;")]),
        ("; int x = 1; @ dir/a.bpf.c:12", [SourceText("int x = 1;", "dir/a.bpf.c", 12)]),
        ("; ", [Note(";")]),
        ("", []),
        ("R0 !read_ok", [Message("R0 !read_ok")]),
        ("func#1 @7", [Note("func#1 @7")]),
        ("last_idx 9 first_idx 0", [Note("last_idx 9 first_idx 0")]),
        ("regs=4 stack=0 before 8: (bf) r4 = r5", [Note("regs=4 stack=0 before 8: (bf) r4 = r5")]),
        ("frame 0: propagating r6,r7", [Note("frame 0: propagating r6,r7")]),
        ("processed 9 insns (limit 10)", [Note("processed 9 insns (limit 10)")]),
        (
            "expected prog array map for tail callprocessed 3 insns (limit 1000000)",
            [
                Message("expected prog array map for tail call"),
                Note("processed 3 insns (limit 1000000)"),
            ],
        ),
        ("Validating f() func#1...", [Note("Validating f() func#1...")]),
        ("caller:", [Note("caller:")]),
        ("old state: R0=1", [Note("old state: R0=1")]),
    ],
)
def test_line(line: str, entries: list[Entry]) -> None:
    assert list(read_entries([line])) == entries


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4", "the number 4"),
        ("P-1", "the number -1"),
        ("inv0", "the number 0"),
        ("invP4", "the number 4"),
        ("0xffffffffffffffff", "the number -1"),
        ("scalar()", "any number"),
        ("inv(id=0)", "any number"),
        ("Pscalar(smin=smin32=-4095,smax=smax32=0)", "a number from -4095 to 0"),
        ("inv(id=0,umax_value=255,var_off=(0x0; 0xff))", "a number from 0 to 255"),
        ("scalar(umin=16,umax=60)", "a number from 16 to 60"),
        ("scalar(smin=0xffffffff80000000,smax=smax32=15)", "a number from -2147483648 to 15"),
        ("scalar(smax=15)", "a number of at most 15, possibly negative"),
        ("scalar(smin=1)", "a number of at least 1"),
        ("ctx(id=0,off=0,imm=0)", "the program's context"),
        ("ctx(off=192)", "the program's context, plus 192"),
        ("fp0", "the address of the stack at fp+0"),
        ("fp", "the address of the stack at fp+0"),
        ("fp-16", "the address of the stack at fp-16"),
        ("fp[1]-40", "the address of the stack at fp-40"),
        ("fp-8,call_-1", "the address of the stack at fp-8"),
        ("mmmm????", "8 bytes of stack: data, uninitialised"),
        ("map_ptr(map=counts,ks=4,vs=8)", "map 'counts'"),
        ("map_value(ks=8,vs=8)", "a pointer to a value of a map (8 bytes)"),
        ("map_value(map=m,ks=4,vs=16,off=4)", "a pointer to a value of map 'm' (16 bytes), plus 4"),
        (
            "map_value_or_null(id=1,off=0,ks=4,vs=8,imm=0)",
            "a pointer to a value of a map (8 bytes), or NULL",
        ),
        (
            "map_value(map=m,ks=4,vs=8,smin=smin32=0,smax=umax=255,var_off=(0x0; 0xff))",
            "a pointer to a value of map 'm' (8 bytes), plus a number from 0 to 255",
        ),
        ("pkt(off=14,r=14)", "a pointer into the packet (14 bytes checked), plus 14"),
        ("pkt_end()", "the end of the packet"),
        ("trusted_ptr_task_struct(off=3312)", "a trusted pointer to struct task_struct, plus 3312"),
        ("ptr_or_null_sock(id=1)", "a pointer to struct sock, or NULL"),
        (
            "rcu_ptr_or_null_cgroup(id=1)",
            "a pointer to struct cgroup, valid in this RCU section, or NULL",
        ),
        ("sock_or_null(id=1)", "a pointer to a socket, or NULL"),
        ("ringbuf_mem(ref_obj_id=2,sz=8)", "a pointer to a record of a ring buffer (8 bytes)"),
        ("something_new(x=1)", "something_new"),
    ],
)
def test_value_in_words(text: str, words: str) -> None:
    assert meaning(read_value(text)) == words


def test_values_of_a_state() -> None:
    frame, values = read_values(
        "frame2: R0_w=scalar(id=1,var_off=(0x0; 0xff)) R6=map_value(map=m) fp-8_w=mmmm???? "
        "fp-16=iter_num(ref_id=1,state=active,depth=0) refs=2,3 cb"
    )
    assert frame == 2
    assert list(values) == ["R0", "R6", "fp-8", "fp-16"]
    assert values["R0"].get("var_off") == "(0x0; 0xff)"
    assert values["R6"].name == "m"
    assert values["fp-16"].get("state") == "active"


# What lines are made of, in any order.
PIECES = st.sampled_from(
    [line for text in TEXTS for line in text.splitlines()]
    + [said.template.replace("{reg}", "1") for cause in CAUSES for said in cause.messages]
    + ["from 1 to 0:", "from 3 to 3: R1=", "0: (85) call pc+1", "1: (95) exit", "caller:", "8: R"]
    + ["5: (79) r1 = *(u64 *)(r10 -8)", "6: (0f) r1 += r1", "prog 'x': -- BEGIN PROG LOAD LOG --"]
)
# More digits than int() takes, in place of any number.
DIGITS = st.builds(
    lambda text, digits: re.sub(r"(?<=\d)(?=\D|$)", digits, text),
    PIECES,
    st.sampled_from(["9" * 5000, "f" * 5000, "9" * 15, "\u0663" * 20, "0" * 30]),
)
LINES = st.lists(
    st.one_of(PIECES, DIGITS, st.text(max_size=60), st.builds(str.__add__, PIECES, PIECES))
)


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_nothing_raises(lines: list[str]) -> None:
    """Whatever the lines are; and what is said of them stays short and printable."""
    for given_lines in (lines, *(log.lines for log in find_logs("\n".join(lines)))):
        explained = explain(given_lines)
        assert isinstance(to_json(explained), dict)
        text = list(render(explained))
        assert len(text) <= 30
        assert all(line.isprintable() for line in text)


@pytest.mark.parametrize(
    "line",
    [
        f"R{'9' * 5000} invalid mem access 'scalar'",
        f"; x @ a.c:{'9' * 5000}",
        f"{'9' * 5000}: (95) exit",
        f"from {'9' * 5000} to 1: R0=1",
        f"infinite loop detected at insn {'9' * 5000}",
        f"1: (79) r{'9' * 5000} = *(u64 *)(r1 +8)",
        f"1: (85) call {'9' * 5000}",
        f"1: (79) r1 = *(u64 *)(r1 +8) ; R1=fp-{'9' * 5000}",
        "1: (79) r1 = *(u64 *)(r1 +8) ; R1=fp-",
        f"1: (79) r1 = *(u64 *)(r1 +8) ; R1=0x{'f' * 5000}",
        f"1: (79) r1 = *(u64 *)(r1 +8) ; R1=scalar(umax={'9' * 5000},smin=0x{'f' * 5000})",
        f"1: (79) r1 = *(u64 *)(r1 +8) ; frame{'9' * 5000}: R1=1",
    ],
)
def test_more_digits_than_a_number_has(line: str) -> None:
    lines = ["0: R1=ctx() R10=fp0", line, "2: (79) r0 = *(u64 *)(r1 +0)", "R1 !read_ok"]
    for given_lines in (lines, lines[:2], [*lines[:3], line]):
        explained = explain(given_lines)
        assert isinstance(to_json(explained), dict) and list(render(explained))


@pytest.mark.parametrize(
    "line",
    [
        f"1: (b7) r0 = 0{' ' * 60_000}x",
        f"1: (b7) r0 = 0 {' 7:' * 30_000}",
        f"1: (79) r0 = *(u64 *)(r1 +0) ; R1=scalar({',' * 60_000}",
        f"1: (79) r0 = *(u64 *)(r1 +0) ; R1=scalar({'(' * 60_000}",
        f"; {'x' * 60_000}",
        f"; {' @ a:1' * 10_000} ",
        f"; a{' ' * 60_000}= b{' ' * 60_000}",
        f"from 1 to 2: {' 1:' * 30_000}",
        f"R1 is of type {' but' * 20_000}",
        f"R1{' pointer arithmetic on' * 5_000}",
        f"At {'the register R1 ' * 5_000}",
        f"{'processed ' * 10_000}",
        f"func '{chr(39) * 60_000}",
    ],
)
def test_long_lines_end(line: str) -> None:
    """Expressions that go back and forth would take hours."""
    lines = [line, "2: (79) r0 = *(u64 *)(r1 +0)", "R1 invalid mem access 'map_value_or_null'"]
    for given_lines in (lines, [*lines[1:], line], ["; x = f()", "1: (85) call f", *lines]):
        explained = explain(given_lines)
        assert list(render(explained))
        find_logs("\n".join(given_lines))


# As of Linux 7.3; loaders leave empty lines out.
REPORTED = """\
R1 type=scalar expected=ringbuf_mem
Verification failed: Call Type Safety: Invalid call argument
Reason:
  The first argument (R1) to bpf_ringbuf_discard does not satisfy the verifier contract: it has
  type scalar, but this argument accepts ringbuf_mem.
At:
  report @ twice.c:20:2
  Source context:
      19 |         bpf_ringbuf_submit(event, 0);
  >>> 20 |         bpf_ringbuf_discard(event, 0);
         |         ^-- error: invalid first argument (R1) for bpf_ringbuf_discard
  Instruction context:
      13 | (b7) r2 = 0
  >>> 14 | (85) call bpf_ringbuf_discard#133
Causal path:
  report @ twice.c:14:17
  >>> 14 |         __u64 *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
  Instruction context:
  >>>  4 | (85) call bpf_ringbuf_reserve#131
Suggestion:
  Pass a value with one of the accepted pointer or scalar types for this call.
processed 14 insns (limit 1000000)"""


def test_report() -> None:
    message, report, note = read_entries(REPORTED.splitlines())
    assert message == Message("R1 type=scalar expected=ringbuf_mem")
    assert note == Note("processed 14 insns (limit 1000000)")
    assert report == Report(
        "Call Type Safety: Invalid call argument",
        "The first argument (R1) to bpf_ringbuf_discard does not satisfy the verifier contract: "
        "it has type scalar, but this argument accepts ringbuf_mem.",
        SourceText("bpf_ringbuf_discard(event, 0);", "twice.c", 20),
        14,
    )


@pytest.mark.parametrize("count", range(1, len(REPORTED.splitlines())))
def test_a_report_that_is_cut_off(count: int) -> None:
    first, *rest = read_entries(REPORTED.splitlines()[:count])
    assert first == Message("R1 type=scalar expected=ringbuf_mem")
    assert len(rest) <= 1 and all(isinstance(entry, Report) for entry in rest)


def test_a_report_without_source() -> None:
    lines = ["Verification failed: Policy", "At:", "  insn 7", "  >>> 7 | (95) exit"]
    assert read_entries(lines) == (Report("Policy", insn=7),)
