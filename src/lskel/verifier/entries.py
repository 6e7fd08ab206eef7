"""A verifier's log as data: each line is an instruction, a state, a source line or a message.

Kernels from 4.x to 6.18 are read; what changed in the text between them is said where it matters.
Nothing here raises: a line that looks like nothing else is a message.

Source: kernel/bpf/verifier.c, kernel/bpf/log.c of the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class SourceText(NamedTuple):
    """A line of C. Kernels before 6.9 print its text alone: `file` is empty and `line` is 0 then.

    `column` is 0 where it is not known: no kernel prints it.
    """

    text: str
    file: str = ""
    line: int = 0
    column: int = 0


class Insn(NamedTuple):
    """An instruction that the verifier walked; `number` counts 8-byte slots.

    `state` is what it left in registers and stack, in the kernel's words; empty where the log does
    not say.
    """

    number: int
    opcode: int
    text: str
    state: str = ""


class State(NamedTuple):
    """All registers and stack slots at a point.

    `number` is that of the instruction that comes next, None where the log does not say. `origin`
    is the jump that leads there, where the verifier goes on with a branch that it had put aside.
    """

    text: str
    number: int | None = None
    origin: int | None = None


class Message(NamedTuple):
    """What the verifier has to say: one of these is why it refuses the program."""

    text: str


class Note(NamedTuple):
    """What the verifier tells of its own work: statistics, precision marks, CO-RE, functions."""

    text: str


Entry = Insn | State | SourceText | Message | Note

# The value of a register or a slot of the stack: `R1=`, `R1_w=`, `fp-8=`; a frame before it.
_VALUES = r"(?:frame\d{1,9}: ?)?(?:R\d{1,3}|fp-?\d{1,9})(?:_[rwD]+)?="
_INSN = re.compile(r"(\d{1,9}): \(([0-9a-f]{2})\) (.*)")
# What follows an instruction: the values that it changed, or the state at the next one. It is
# searched for where blanks begin, so that many of them take no longer.
_AFTER = re.compile(rf"(?<!\s)\s+(?:;|(\d{{1,9}}):(?= {_VALUES})) ?")
_STATE = re.compile(rf"(?:(\d{{1,9}}): )?({_VALUES}.*)")
_FROM = re.compile(r"from (\d{1,9}) to (\d{1,9})(?: \(speculative execution\))?: ?(.*)")
_SOURCE = re.compile(r"; (.*?)(?: @ ([^@]+):(\d{1,9}))?")
# Kernels before 4.18 write the next instruction in the same line with a state.
_NEXT = re.compile(r"(.*?)\s(\d{1,9}: \([0-9a-f]{2}\) .*)")
# What a log ends with. Some messages have no end of line, so that this follows in the same.
STATISTICS = re.compile(r"processed \d+ insns")
_ENDED = re.compile(r"(.+?)(processed \d+ insns.*)")
# What is said besides the log proper is short; longer lines would take long to be matched.
_LONGEST = 512
_NOTE = re.compile(
    r"""\(?\d+\ line\(s\)\ omitted|processed\ \d+\ insns|verification\ time|stack\ depth|
    insns\ processed|peak_states|
    max_states|func\#\d+\ @|(last_idx|first_idx)|regs=|parent\ (didn't|already)|parent\ state|
    mark_precise:|force_precise:|frame\ ?\d+:\ (propagating|last_idx|regs=|parent|falling)|
    propagating|\d+:\ safe$|from\ \d{1,9}\ to\ \d{1,9}\b.*:\ safe$|
    caller:|callee:|returning\ from\ callee:|to\ caller\ at|(cur|old)\ state:|
    Validating\ .*\(\)\ func\#|
    Func\#\d+\ .*(is\ global\ and|is\ safe\ for)|Func\#\d+\ is\ safe|
    func\ '.*'\ arg\d+\ has\ btf_id|marking\ pointer\ arg\d+\ as\ scalar|
    CO-RE\ relocating|prog\ '.*':\ relo\ \#\d+:\ (<|matching|patched|substituting|kind)|
    REG\ INVARIANTS\ VIOLATION|Live\ regs\ before\ insn|\s*\d+:\ [.0-9]{10}\ |
    (caller|callee|cur|old)$|;$
    """,
    re.VERBOSE,
)


def read_line(line: str) -> Iterator[Entry]:
    """The entries of one line, which has no prefix of a loader; none for an empty line."""
    text = line.strip()
    if not text:
        return
    if found := _INSN.fullmatch(text):
        number, opcode, rest = int(found[1]), int(found[2], 16), found[3]
        after = _AFTER.search(rest)
        if after is None:
            yield Insn(number, opcode, rest.strip())
        elif after[1] is None:
            yield Insn(number, opcode, rest[: after.start()], rest[after.end() :])
        else:
            yield Insn(number, opcode, rest[: after.start()])
            yield State(rest[after.end() :], int(after[1]))
    elif found := _STATE.fullmatch(text):
        yield State(found[2], None if found[1] is None else int(found[1]))
    elif _NOTE.match(text[:_LONGEST]):
        yield Note(text)
    elif found := _FROM.fullmatch(text):
        after = _NEXT.fullmatch(found[3])
        yield State(after[1] if after else found[3], int(found[2]), int(found[1]))
        yield from read_line(after[2]) if after else ()
    elif found := _SOURCE.fullmatch(text):
        yield SourceText(found[1], found[2] or "", int(found[3] or 0))
    elif found := _ENDED.fullmatch(text):
        yield Message(found[1])
        yield Note(found[2])
    else:
        yield Message(text)


def read_entries(lines: Iterable[str]) -> tuple[Entry, ...]:
    """The entries of a log, in its order."""
    return tuple(entry for line in lines for entry in read_line(line))
