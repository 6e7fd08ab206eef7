"""A verifier log as data: each line is an instruction, a state, a source line or a message.

Logs of kernels 4.x to 7.3 are supported; comments note where their formats differ. Nothing here
raises: a line of no other kind is a message.

Source: kernel/bpf/verifier.c, kernel/bpf/log.c, kernel/bpf/diagnostics.c of the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.bpf.verifier_log import REPORT


class SourceText(NamedTuple):
    """A line of C. Kernels before 6.9 print only its text: then `file` is empty and `line` is 0.

    `column` is 0 if unknown. The log has it in a `Report` only, where tabs have become blanks.
    """

    text: str
    file: str = ""
    line: int = 0
    column: int = 0


class LogInsn(NamedTuple):
    """An instruction that the verifier processed; `number` counts 8-byte slots.

    `state` is the state of registers and stack after it, as in the log; empty if the log has none.
    """

    number: int
    opcode: int
    text: str
    state: str = ""


class LogState(NamedTuple):
    """All registers and stack slots before an instruction.

    `number` is the number of that instruction, None if the log does not have it. `origin` is the
    jump to it, if the verifier continues with a pending branch.
    """

    text: str
    number: int | None = None
    origin: int | None = None


class Message(NamedTuple):
    """A message of the verifier; one of them is why it rejects the program."""

    text: str


class Note(NamedTuple):
    """A note of the verifier: statistics, precision marks, CO-RE, functions."""

    text: str


class Report(NamedTuple):
    """The kernel's own explanation after its message (7.3): what for, why, where.

    `insn` counts 8-byte slots; `source` and `insn` are None if the log ends before them.
    """

    problem: str
    reason: str = ""
    source: SourceText | None = None
    insn: int | None = None


Entry = LogInsn | LogState | SourceText | Message | Note | Report

# The value of a register or stack slot: `R1=`, `R1_w=`, `fp-8=`; after an optional frame.
_VALUES = r"(?:frame\d{1,9}: ?)?(?:R\d{1,3}|fp-?\d{1,9})(?:_[rwD]+)?="
_INSN = re.compile(r"(\d{1,9}): \(([0-9a-f]{2})\) (.*)")
# What follows an instruction: the values that it changed, or the state at the next one. The search
# starts at the first blank of a run, so that long runs are not slow.
_AFTER = re.compile(rf"(?<!\s)\s+(?:;|(\d{{1,9}}):(?= {_VALUES})) ?")
_STATE = re.compile(rf"(?:(\d{{1,9}}): )?({_VALUES}.*)")
_FROM = re.compile(r"from (\d{1,9}) to (\d{1,9})(?: \(speculative execution\))?: ?(.*)")
_SOURCE = re.compile(r"; (.*?)(?: @ ([^@]+):(\d{1,9}))?")
# Kernels before 4.18 print the next instruction on the same line as a state.
_NEXT = re.compile(r"(.*?)\s(\d{1,9}: \([0-9a-f]{2}\) .*)")
# The end of a log. Some messages have no newline, so it may follow on the same line.
STATISTICS = re.compile(r"processed \d+ insns")
_ENDED = re.compile(r"(.+?)(processed \d+ insns.*)")
# A report has headed sections; of the last ones, which repeat the log, nothing is read.
_REPORT = re.compile(rf"{REPORT}(.*)")
_HEADING = re.compile(r"(Reason|At|Causal path|Suggestion):")
_FILE_LINE = re.compile(r"(?:[^@]* @ )?([^@]+):(\d{1,9}):\d{1,9}")
_THIS_INSN = re.compile(r">>> +(\d{1,9}) \| \([0-9a-f]{2}\) .*|insn (\d{1,9})")
_THIS_LINE = re.compile(r">>> +\d{1,9} \| *(.*)")
# Other lines are short; matching longer ones would be slow.
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
    signature\ verification\ passed|subprog\ \d+\ \(|topo_order\[|
    REG\ INVARIANTS\ VIOLATION|Live\ regs\ before\ insn|\s*\d+:\ [.0-9]{10}\ |
    (caller|callee|cur|old)$|;$
    """,
    re.VERBOSE,
)


def read_line(line: str) -> Iterator[Entry]:
    """The entries of one line without loader prefix; none for an empty line."""
    text = line.strip()
    if not text:
        return
    if found := _INSN.fullmatch(text):
        number, opcode, rest = int(found[1]), int(found[2], 16), found[3]
        after = _AFTER.search(rest)
        if after is None:
            yield LogInsn(number, opcode, rest.strip())
        elif after[1] is None:
            yield LogInsn(number, opcode, rest[: after.start()], rest[after.end() :])
        else:
            yield LogInsn(number, opcode, rest[: after.start()])
            yield LogState(rest[after.end() :], int(after[1]))
    elif found := _STATE.fullmatch(text):
        yield LogState(found[2], None if found[1] is None else int(found[1]))
    elif _NOTE.match(text[:_LONGEST]):
        yield Note(text)
    elif found := _FROM.fullmatch(text):
        after = _NEXT.fullmatch(found[3])
        yield LogState(after[1] if after else found[3], int(found[2]), int(found[1]))
        yield from read_line(after[2]) if after else ()
    elif found := _SOURCE.fullmatch(text):
        yield SourceText(found[1], found[2] or "", int(found[3] or 0))
    elif found := _ENDED.fullmatch(text):
        yield Message(found[1])
        yield Note(found[2])
    else:
        yield Message(text)


def read_entries(lines: Iterable[str]) -> tuple[Entry, ...]:
    """The entries of a log, in order."""
    entries: list[Entry] = []
    section: str | None = None  # of the report that is being read
    for line in lines:
        text = line.strip()
        if found := _REPORT.fullmatch(text):
            entries.append(Report(found[1]))
            section = ""
        elif section is None or STATISTICS.match(text):
            entries += read_line(line)
            section = None
        elif found := _HEADING.fullmatch(text):
            section = found[1]
        elif isinstance(report := entries[-1], Report):
            entries[-1] = _reported(report, section, text)
    return tuple(entries)


def _reported(report: Report, section: str, text: str) -> Report:
    """The report with one more line of a section."""
    text = text[:_LONGEST]
    if section == "Reason" and len(report.reason) < _LONGEST:
        return report._replace(reason=f"{report.reason} {text}".strip())
    if section != "At":
        return report
    if found := _THIS_INSN.fullmatch(text):
        return report._replace(insn=int(found[1] or found[2]))
    if (found := _THIS_LINE.fullmatch(text)) and report.source:
        return report._replace(source=report.source._replace(text=found[1]))
    if found := _FILE_LINE.fullmatch(text):
        return report._replace(source=SourceText("", found[1], int(found[2])))
    return report
