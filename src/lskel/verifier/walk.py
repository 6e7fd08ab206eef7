"""The path of the verifier to where it stopped, and where registers got their values on it.

The verifier follows one branch to its end and returns to the others, so the line above a line in
its log need not precede it on the path. Each step here knows its predecessor.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from lskel.bpf.helpers import HELPERS
from lskel.verifier.entries import Entry, LogInsn, LogState, Message, Report, SourceText
from lskel.verifier.values import Value, read_values

# In a log without instructions, only the last messages count: a BTF log lists all types of the
# object first, and in a text without a log each line looks like a message.
MAX_MESSAGES = 200
FRAME_POINTER = 10
ARGUMENTS = range(1, 6)
_FRAME = re.compile(r"frame(\d{1,9}):")


@dataclass(slots=True)
class WalkStep:
    """One instruction of a path.

    `depth` is the number of frames around it; `source` its line of C in the log. `before` and
    `after` are the states in the log at these points, as text.
    """

    insn: LogInsn
    previous: WalkStep | None
    depth: int
    source: SourceText | None
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    def path(self) -> Iterator[WalkStep]:
        """This step, its predecessor, and so on to the first."""
        step: WalkStep | None = self
        while step is not None:
            yield step
            step = step.previous


class LogWalk(NamedTuple):
    """All steps in the order of the log, the messages after the last of them, and their report."""

    steps: tuple[WalkStep, ...]
    messages: tuple[str, ...]
    report: Report | None = None


def walk(entries: Iterable[Entry]) -> LogWalk:
    """The steps of a log."""
    steps: list[WalkStep] = []
    latest: dict[int, WalkStep] = {}
    messages: deque[str] = deque(maxlen=MAX_MESSAGES)
    entered: list[str] = []
    source: SourceText | None = None
    report: Report | None = None
    last: WalkStep | None = None
    depth = 0
    for entry in entries:
        if isinstance(entry, LogInsn):
            last = WalkStep(entry, last, depth, source, before=entered)
            entered = []
            if entry.state:
                last.after.append(entry.state)
            steps.append(last)
            latest[entry.number] = last
            messages.clear()
        elif isinstance(entry, LogState):
            found = _FRAME.match(entry.text)
            depth = int(found[1]) if found else 0
            if entry.origin is not None:
                last, entered = latest.get(entry.origin), [entry.text]
            elif last is None or _begins_anew(entry, last):
                last, entered = None, [*entered, entry.text]
            else:
                last.after.append(entry.text)
        elif isinstance(entry, SourceText):
            source = entry
        elif isinstance(entry, Message):
            messages.append(entry.text)
        elif isinstance(entry, Report):
            report = entry
            if not messages:
                messages.append(report.problem)
    if messages and steps:
        # The last instruction failed: the state below it is also the state before it.
        steps[-1].before += steps[-1].after
        steps[-1].after = []
    return LogWalk(tuple(steps), tuple(messages), report)


def _begins_anew(state: LogState, last: WalkStep) -> bool:
    """Whether a state is the entry of a function that is verified on its own."""
    return state.number is not None and last.depth == 0 and last.insn.text == "exit"


class OriginKind(Enum):
    """How a register got its value."""

    CALL = "call"
    LOAD = "load"
    CONSTANT = "constant"
    ENTRY = "entry"  # set before the function or callback began
    LOST = "lost"  # clobbered by a call


class Origin(NamedTuple):
    """The origin of a value: the step that set it, and those that changed it, last first.

    `register` is the register that was set; `step` is None at the entry of a program. `what` is
    the called function, empty if a packet read clobbered the register.
    """

    kind: OriginKind
    step: WalkStep | None
    register: int
    what: str = ""
    changed: tuple[WalkStep, ...] = ()


_SET = re.compile(r"[rw](\d{1,3}) ([-+*/%&|^<>s]*=) (.*)")
_OPERAND = re.compile(r"\b[rw](\d{1,3})\b")
_COPY = re.compile(r"(?:\((?:s8|s16|s32|u8|u16|u32)\))?[rw](\d{1,3})")
_FILL = re.compile(r"\*\(u64 \*\)\(r10 ?([-+]\d+)\)")
_SPILL = re.compile(r"\*\(u64 \*\)\(r10 ?([-+]\d+)\) = r(\d{1,3})")
_CONSTANT = re.compile(r"-?(?:0x[0-9a-f]+|\d+)(?: ll)?|map\[.*")
# A packet read that acts like a call: it clobbers R1 to R5.
_PACKET_READ = re.compile(r"r0 = \*\(u(?:8|16|32) \*\)skb\[.*")
_CALL = re.compile(r"call (?:(pc[-+]\d+)|([\w.]+?)(?:#-?\d+)?)$")
_ITSELF = re.compile(r"(?:be|le|bswap)(?:16|32|64) [rw](\d+)|-[rw](\d+)")


def called(insn: LogInsn) -> str | None:
    """The helper or kernel function that an instruction calls; None if none."""
    found = _CALL.fullmatch(insn.text)
    return _function(found[2]) if found and found[2] else None


def _function(name: str) -> str:
    """The name of a function; kernels before 4.15 print the number of a helper."""
    if name.isdecimal() and len(name) < 6 and int(name) < len(HELPERS):
        return f"bpf_{HELPERS[int(name)]}"
    return name


def read_by(insn: LogInsn) -> list[int]:
    """The registers that an instruction reads: operands, conditions, addresses."""
    text = insn.text
    if text.startswith("call "):
        return []
    target, _, rest = text.partition(" = ")
    if rest:
        # Of a store, the address matters; a register that is set is not read.
        text = target if "(" in target else rest
    return [int(number) for number in _OPERAND.findall(text)]


def origin(step: WalkStep, register: int) -> Origin:
    """The origin of the value that a register has before a step, on the path to it."""
    depth = step.depth
    changed: list[WalkStep] = []
    slot: str | None = None
    filled: WalkStep | None = None
    for at in step.path():
        if at is step:
            continue
        if at.depth > depth:
            # In a function that has returned; its result comes from there.
            if register != 0 or slot is not None or at.insn.text != "exit":
                continue
            depth = at.depth
            continue
        if at.depth < depth:
            if register not in ARGUMENTS or slot is not None:
                return Origin(OriginKind.ENTRY, at, register, called(at.insn) or "", tuple(changed))
            if helper := called(at.insn):
                return Origin(OriginKind.ENTRY, at, register, helper, tuple(changed))
            depth = at.depth
            continue
        text = at.insn.text
        if slot is not None:
            if (spill := _SPILL.fullmatch(text)) and spill[1] == slot:
                register, slot = int(spill[2]), None
            continue
        if call := _CALL.fullmatch(text):
            if register == 0:
                return Origin(
                    OriginKind.CALL, at, register, called(at.insn) or call[1], tuple(changed)
                )
            if register in ARGUMENTS:
                return Origin(
                    OriginKind.LOST, at, register, called(at.insn) or call[1], tuple(changed)
                )
            continue
        if register in ARGUMENTS and _PACKET_READ.fullmatch(text):
            return Origin(OriginKind.LOST, at, register, changed=tuple(changed))
        found = _SET.fullmatch(text)
        if found is None or int(found[1]) != register:
            continue
        if found[2] != "=":
            changed.append(at)
        elif copy := _COPY.fullmatch(found[3]):
            if not text.startswith("r") or copy[0][0] != "r":
                changed.append(at)
            register = int(copy[1])
        elif _ITSELF.fullmatch(found[3]):
            changed.append(at)
        elif fill := _FILL.fullmatch(found[3]):
            slot, filled = fill[1], at
        elif _CONSTANT.fullmatch(found[3]):
            return Origin(OriginKind.CONSTANT, at, register, changed=tuple(changed))
        else:
            return Origin(OriginKind.LOAD, at, register, changed=tuple(changed))
    if slot is not None:
        return Origin(OriginKind.LOAD, filled, register, changed=tuple(changed))
    return Origin(OriginKind.ENTRY, None, register, changed=tuple(changed))


def value(step: WalkStep, register: int) -> Value | None:
    """The value of a register before a step; None if the log does not have it."""
    name = f"R{register}"
    for at in step.path():
        if at is not step:
            if found := _among(at.after, step.depth, name):
                return found
            if at.depth == step.depth and _writes(at.insn, register):
                return None
        if found := _among(at.before, step.depth, name):
            return found
    return None


def value_after(step: WalkStep, register: int) -> Value | None:
    """The value of a register after a step that changed it; None if not in the log."""
    return _among(step.after, step.depth, f"R{register}")


def _among(states: list[str], depth: int, name: str) -> Value | None:
    for text in reversed(states):
        if f"{name}=" in text or f"{name}_" in text:
            frame, values = read_values(text)
            if frame == depth and name in values:
                return values[name]
    return None


def _writes(insn: LogInsn, register: int) -> bool:
    if insn.text.startswith("call ") or _PACKET_READ.fullmatch(insn.text):
        return register <= max(ARGUMENTS)
    found = _SET.fullmatch(insn.text)
    return found is not None and int(found[1]) == register
