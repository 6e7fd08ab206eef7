"""The way that the verifier took to where it stopped, and where registers got their values on it.

The verifier goes along one branch to its end and comes back for the others, so that what stands
above a line in its log need not be what came before it. Each step here knows its predecessor.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from lskel.bpf.helpers import HELPERS
from lskel.verifier.entries import Entry, Insn, Message, SourceText, State
from lskel.verifier.values import Value, read_values

# Of a log in which nothing is walked so many messages count, from its end: that of BTF lists all
# types of the object first, and in a text without a log each line looks like a message.
MAX_MESSAGES = 200
FRAME_POINTER = 10
ARGUMENTS = range(1, 6)
_FRAME = re.compile(r"frame(\d{1,9}):")


@dataclass(slots=True)
class Step:
    """One instruction of a way.

    `depth` is how many calls it is within; `source` the line of C that the log has for it.
    `before` and `after` are states that the log has at these points, in the kernel's words.
    """

    insn: Insn
    previous: Step | None
    depth: int
    source: SourceText | None
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    def way(self) -> Iterator[Step]:
        """This step, the one before it, and so on to the first."""
        step: Step | None = self
        while step is not None:
            yield step
            step = step.previous


class Walk(NamedTuple):
    """All steps in the order of the log, and the messages after the last of them."""

    steps: tuple[Step, ...]
    messages: tuple[str, ...]


def walk(entries: Iterable[Entry]) -> Walk:
    """The steps of a log."""
    steps: list[Step] = []
    latest: dict[int, Step] = {}
    messages: deque[str] = deque(maxlen=MAX_MESSAGES)
    entered: list[str] = []
    source: SourceText | None = None
    last: Step | None = None
    depth = 0
    for entry in entries:
        if isinstance(entry, Insn):
            last = Step(entry, last, depth, source, before=entered)
            entered = []
            if entry.state:
                last.after.append(entry.state)
            steps.append(last)
            latest[entry.number] = last
            messages.clear()
        elif isinstance(entry, State):
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
    if messages and steps:
        # The last instruction failed: what stands below it was so before it, too.
        steps[-1].before += steps[-1].after
        steps[-1].after = []
    return Walk(tuple(steps), tuple(messages))


def _begins_anew(state: State, last: Step) -> bool:
    """Whether a state is that at the entry of a function that is verified by itself."""
    return state.number is not None and last.depth == 0 and last.insn.text == "exit"


class From(Enum):
    """What gave a register its value."""

    CALL = "call"
    LOAD = "load"
    CONSTANT = "constant"
    ENTRY = "entry"  # it was there when the function, or callback, began
    LOST = "lost"  # a call left nothing of it


class Origin(NamedTuple):
    """Where a value comes from: the step that made it, and those that computed with it, last first.

    `register` is the one that got it; `step` is None at the entry of a program. `what` is the
    function that was called, empty where a read of the packet took a register's value.
    """

    kind: From
    step: Step | None
    register: int
    what: str = ""
    changed: tuple[Step, ...] = ()


_SET = re.compile(r"[rw](\d{1,3}) ([-+*/%&|^<>s]*=) (.*)")
_OPERAND = re.compile(r"\b[rw](\d{1,3})\b")
_COPY = re.compile(r"(?:\((?:s8|s16|s32|u8|u16|u32)\))?[rw](\d{1,3})")
_FILL = re.compile(r"\*\(u64 \*\)\(r10 ?([-+]\d+)\)")
_SPILL = re.compile(r"\*\(u64 \*\)\(r10 ?([-+]\d+)\) = r(\d{1,3})")
_CONSTANT = re.compile(r"-?(?:0x[0-9a-f]+|\d+)(?: ll)?|map\[.*")
# A read of the packet that is a call in all but name: R1 to R5 do not survive it.
_PACKET_READ = re.compile(r"r0 = \*\(u(?:8|16|32) \*\)skb\[.*")
_CALL = re.compile(r"call (?:(pc[-+]\d+)|([\w.]+?)(?:#-?\d+)?)$")
_ITSELF = re.compile(r"(?:be|le|bswap)(?:16|32|64) [rw](\d+)|-[rw](\d+)")


def called(insn: Insn) -> str | None:
    """The helper or kernel function that an instruction calls; None where it calls none."""
    found = _CALL.fullmatch(insn.text)
    return _function(found[2]) if found and found[2] else None


def _function(name: str) -> str:
    """A function by its name; kernels before 4.15 write the number of a helper."""
    if name.isdecimal() and len(name) < 6 and int(name) < len(HELPERS):
        return f"bpf_{HELPERS[int(name)]}"
    return name


def read_by(insn: Insn) -> list[int]:
    """The registers that an instruction computes with, goes by, or takes an address from."""
    text = insn.text
    if text.startswith("call "):
        return []
    target, _, rest = text.partition(" = ")
    if rest:
        # Of what is stored, the address matters; a register that is set is not read.
        text = target if "(" in target else rest
    return [int(number) for number in _OPERAND.findall(text)]


def origin(step: Step, register: int) -> Origin:
    """Where the value that a register has before a step comes from, on the way to this step."""
    depth = step.depth
    changed: list[Step] = []
    slot: str | None = None
    filled: Step | None = None
    for at in step.way():
        if at is step:
            continue
        if at.depth > depth:
            # Within a function that has returned; what it returned comes from there.
            if register != 0 or slot is not None or at.insn.text != "exit":
                continue
            depth = at.depth
            continue
        if at.depth < depth:
            if register not in ARGUMENTS or slot is not None:
                return Origin(From.ENTRY, at, register, called(at.insn) or "", tuple(changed))
            if helper := called(at.insn):
                return Origin(From.ENTRY, at, register, helper, tuple(changed))
            depth = at.depth
            continue
        text = at.insn.text
        if slot is not None:
            if (spill := _SPILL.fullmatch(text)) and spill[1] == slot:
                register, slot = int(spill[2]), None
            continue
        if call := _CALL.fullmatch(text):
            if register == 0:
                return Origin(From.CALL, at, register, called(at.insn) or call[1], tuple(changed))
            if register in ARGUMENTS:
                return Origin(From.LOST, at, register, called(at.insn) or call[1], tuple(changed))
            continue
        if register in ARGUMENTS and _PACKET_READ.fullmatch(text):
            return Origin(From.LOST, at, register, changed=tuple(changed))
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
            return Origin(From.CONSTANT, at, register, changed=tuple(changed))
        else:
            return Origin(From.LOAD, at, register, changed=tuple(changed))
    if slot is not None:
        return Origin(From.LOAD, filled, register, changed=tuple(changed))
    return Origin(From.ENTRY, None, register, changed=tuple(changed))


def value(step: Step, register: int) -> Value | None:
    """What a register holds before a step; None where the log does not say."""
    name = f"R{register}"
    for at in step.way():
        if at is not step:
            if found := _among(at.after, step.depth, name):
                return found
            if at.depth == step.depth and _writes(at.insn, register):
                return None
        if found := _among(at.before, step.depth, name):
            return found
    return None


def value_after(step: Step, register: int) -> Value | None:
    """What a register holds after a step that changed it; None where the log does not say."""
    return _among(step.after, step.depth, f"R{register}")


def _among(states: list[str], depth: int, name: str) -> Value | None:
    for text in reversed(states):
        if f"{name}=" in text or f"{name}_" in text:
            frame, values = read_values(text)
            if frame == depth and name in values:
                return values[name]
    return None


def _writes(insn: Insn, register: int) -> bool:
    if insn.text.startswith("call ") or _PACKET_READ.fullmatch(insn.text):
        return register <= max(ARGUMENTS)
    found = _SET.fullmatch(insn.text)
    return found is not None and int(found[1]) == register
