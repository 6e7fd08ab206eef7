"""Why the verifier refuses a program: the message, the cause, the source, what registers hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lskel.describe.image import Source
from lskel.describe.plain import plain
from lskel.verifier.causes import STALE, Cause, Match, Place, cause_of, match
from lskel.verifier.entries import Insn, SourceText, read_entries
from lskel.verifier.program import Program, program_of, programs
from lskel.verifier.values import SCALAR, STACK, Value, meaning
from lskel.verifier.walk import (
    ARGUMENTS,
    FRAME_POINTER,
    From,
    Origin,
    Step,
    Walk,
    called,
    origin,
    read_by,
    value,
    value_after,
    walk,
)


class Spot(NamedTuple):
    """A place in a program: an instruction, in the log's words, and the source line it is from.

    `label` says what happens there. `insn` counts 8-byte slots; `text` is empty where the log does
    not have the instruction, and `source` None where neither log nor object have the line.
    """

    insn: int
    text: str
    source: SourceText | None
    label: str = ""


class Register(NamedTuple):
    """What a register holds there, in words, and where it got that."""

    name: str
    meaning: str
    origin: str = ""
    spot: Spot | None = None


class Explanation(NamedTuple):
    """One refused program.

    `message` is what the verifier says (empty: the log has no message), `messages` all that it
    says there. `cause` is None where the table has none, `note` something that only this log tells.
    `suggestion` and `example` are the cause's, made fit. `spot` is where it is, `others` where it
    comes from or leads to; `context` are source lines around them.
    """

    program: str
    function: str
    message: str
    messages: tuple[str, ...]
    cause: Cause | None
    suggestion: str
    example: str
    note: str
    spot: Spot | None
    others: tuple[Spot, ...]
    context: tuple[SourceText, ...]
    registers: tuple[Register, ...]
    lines: int


# So many of the most walked source lines are told of a program that is too complex.
_HOTTEST = 3
_REGISTERS = 3
# Causes where what matters is the number that was added to a pointer.
_BY_OFFSET = ("unbounded-access", "out-of-bounds", "negative-index", "packet-bounds")
_BRACES = ("{", "}", "};")
# So many calls are told of that may have made a pointer invalid.
_CALLS = 2
# Causes that blame a number for not being a pointer.
_SEEM_NUMBERS = ("untyped-pointer", "argument-type")
_NEIGHBOURS = 2
_NAMED = re.compile(r"\bR(\d+)\b")


def explain(
    lines: Sequence[str], *, program: str = "", source: Source | None = None
) -> Explanation:
    """Explain a verifier's log.

    `lines` are the kernel's own, as ReplayError.log has them; `find_logs` finds them in what other
    loaders print. `source`, an object, trace or loader, gives the lines of C where the kernel does
    not (before 6.9 it prints no file and number), and the names of functions and maps; its program
    is the one that is called `program`, or that the instructions fit. Whatever the lines are, this
    raises nothing; BadObject where the BTF of `source` is broken.
    """
    known = () if source is None else programs(source)
    walked = walk(read_entries(lines))
    insns = [step.insn for step in walked.steps]
    found = program_of(known, program, insns)
    return _Explainer(lines, walked, program or (found.name if found else ""), found).explanation()


def to_json(explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON has it: the cause without its messages."""
    found: dict[str, Any] = plain(explanation._replace(cause=None))
    if cause := explanation.cause:
        texts = {"id": cause.id, "title": cause.title, "explanation": cause.explanation}
        found["cause"] = texts
    return found


class _Explainer:
    """Puts together what is known of one log."""

    def __init__(
        self, lines: Sequence[str], walked: Walk, name: str, program: Program | None
    ) -> None:
        self._lines = lines
        self._walk = walked
        self._name = name
        self._program = program
        self._last = walked.steps[-1] if walked.steps else None

    def explanation(self) -> Explanation:
        messages = self._walk.after
        found = match(messages)
        if found is None and not messages:
            messages = self._walk.before
            found = match(messages)
        elif found is None and (earlier := match(self._walk.before)) and not self._walk.steps:
            found = earlier
        if found is not None:
            found = self._refined(found)
        message = messages[found.number] if found else (messages[-1] if messages else "")
        step, spot = self._place(found)
        registers = self._registers(step, message, found)
        others = self._others(found, step, spot, registers)
        return Explanation(
            program=self._name,
            function=self._function(spot, message),
            message=message,
            messages=messages,
            cause=found.cause if found else None,
            suggestion=found.cause.suggestion if found else "",
            example=self._example(found, registers),
            note=self._note(found),
            spot=spot,
            others=others,
            context=self._context(spot),
            registers=registers,
            lines=len(self._lines),
        )

    def _refined(self, found: Match) -> Match:
        """The cause that the way to the instruction tells, where the message alone misleads."""
        if self._last is None:
            return found
        if found.cause.id in _SEEM_NUMBERS and "reg" in found.slots:
            come = origin(self._last, int(found.slots["reg"]))
            if _was_pointer(come) and "scalar" in self._walk.after[found.number]:
                return found._replace(cause=cause_of(STALE))
        if found.cause.id == "unbounded-access":
            comes = [origin(self._last, number) for number in read_by(self._last.insn)]
            if any(_is_signed(step.insn) for come in comes for step in come.changed):
                return found._replace(cause=cause_of("negative-index"))
        return found

    # Where it is.

    def _place(self, found: Match | None) -> tuple[Step | None, Spot | None]:
        """The step that fails, and the place to look at."""
        place = found.cause.place if found else Place.INSN
        if place is Place.PROGRAM:
            return None, None
        if place is Place.FUNCTION:
            return None, self._frame()
        named = found.slots.get("insn") if found else None
        if named is None:
            return self._last, self._at(self._last)
        index = int(named)
        step = next((s for s in reversed(self._walk.steps) if s.insn.number == index), None)
        return step, self._at(step) if step else self._spot(index)

    def _frame(self) -> Spot | None:
        frame = self._program.frame() if self._program else None
        if frame is None:
            return None
        label = f"{frame.function or 'this function'} uses {frame.size} bytes of stack"
        return self._spot(frame.insn, label)

    def _at(self, step: Step | None, label: str = "") -> Spot | None:
        if step is None:
            return None
        source = self._program.line(step.insn.number) if self._program else None
        return Spot(step.insn.number, step.insn.text, source or step.source, label)

    def _spot(self, index: int, label: str = "") -> Spot:
        source = self._program.line(index) if self._program else None
        return Spot(index, "", source, label)

    def _function(self, spot: Spot | None, message: str) -> str:
        return self._program.function(spot.insn) if self._program and spot else ""

    def _context(self, spot: Spot | None) -> tuple[SourceText, ...]:
        """Source lines close to the spot: those that the object, or else the log, has."""
        if spot is None or spot.source is None or not spot.source.line:
            return ()
        here = spot.source
        if self._program:
            known: Iterable[SourceText] = self._program.lines.values()
        else:
            known = (step.source for step in self._walk.steps if step.source is not None)
        near = {
            line.line: line
            for line in known
            if line.file == here.file
            and 0 < abs(line.line - here.line) <= _NEIGHBOURS
            and line.text.strip() not in _BRACES
        }
        return tuple(near[number] for number in sorted(near))

    # What is in the registers.

    def _registers(
        self, step: Step | None, message: str, found: Match | None
    ) -> tuple[Register, ...]:
        if step is None:
            return ()
        named = [
            int(number) for text in (message, *self._walk.after) for number in _NAMED.findall(text)
        ]
        if not named and found and "arg" in found.slots:
            named = _argument(message, int(found.slots["arg"]))
        named += read_by(step.insn)
        wanted = [(step, number) for number in dict.fromkeys(named) if number != FRAME_POINTER]
        if wanted and found and found.cause.id in _BY_OFFSET:
            wanted[1:1] = _added(*wanted[0])
        stale = int(found.slots["reg"]) if found and found.cause.id == STALE else None
        return tuple(
            self._register(at, number, is_stale=number == stale)
            for at, number in wanted[:_REGISTERS]
        )

    def _register(self, step: Step, number: int, *, is_stale: bool) -> Register:
        held = value(step, number)
        come = origin(step, number)
        if is_stale and come.step is not None:
            held = value_after(come.step, come.register)
        text = "" if held is None else meaning(held, self._map_name(held, come))
        if is_stale and text:
            text = f"was {text}"
        return Register(f"R{number}", text, self._came(held, come), self._at(come.step))

    def _came(self, held: Value | None, come: Origin) -> str:
        """Where a value comes from, in words; empty where they would say nothing new."""
        step = come.step
        if come.kind is From.CALL:
            return "from a function" if come.what.startswith("pc") else f"from {come.what}"
        if come.kind is From.LOST:
            return f"not kept across the call of {come.what}"
        if come.kind is From.LOAD:
            return "loaded"
        if come.kind is From.CONSTANT and step is not None:
            variable = self._program.variable(step.insn.number) if self._program else ""
            return f"the address of '{variable}'" if variable else ""
        if step is not None and come.what:
            return f"given to the callback by {come.what}"
        if come.register not in ARGUMENTS or held is None or held.kind in ("ctx", STACK):
            return ""
        return "from the caller"

    def _map_name(self, held: Value, come: Origin) -> str:
        """The map that a pointer to a value is of, found by how it was looked up."""
        if held.name or held.kind not in ("map_value", "map_key", "map_ptr"):
            return held.name
        step = come.step
        if come.kind is From.CALL and step is not None:
            come = origin(step, 1)
            step = come.step
        if come.kind is not From.CONSTANT or step is None:
            return ""
        if self._program and (name := self._program.map_name(step.insn.number)):
            return name
        number = re.match(r"r(\d+)", step.insn.text)
        loaded = value_after(step, int(number[1])) if number else None
        return loaded.name if loaded else ""

    # What else there is to tell.

    def _others(
        self,
        found: Match | None,
        step: Step | None,
        spot: Spot | None,
        registers: tuple[Register, ...],
    ) -> tuple[Spot, ...]:
        others = []
        if step is not self._last and found and "insn" in found.slots:
            others.append(self._at(self._last, "the verifier came to here"))
        if found and found.cause.id == STALE and self._last is not None:
            others += self._calls_since(origin(self._last, int(found.slots["reg"])))
        for register in registers:
            if register.spot is not None and register.origin:
                others.append(register.spot._replace(label=f"{register.name}: {register.origin}"))
        return tuple(
            other
            for other in others
            if other is not None and spot is not None and _line(other) != _line(spot)
        )

    def _calls_since(self, come: Origin) -> list[Spot | None]:
        """The helpers and kernel functions that were called since a register got its value."""
        assert self._last is not None
        since = []
        for step in self._last.way():
            if step is come.step:
                break
            if step is not self._last and (name := called(step.insn)):
                since.append((step, name))
        verb = "made it invalid" if len(since) == 1 else "may have made it invalid"
        return [self._at(step, f"{name} {verb}") for step, name in since[:_CALLS]]

    def _example(self, found: Match | None, registers: tuple[Register, ...]) -> str:
        """The example, with the name of the variable where the source says which it is."""
        if found is None:
            return ""
        name = self._variable(registers[0]) if registers else ""
        if name and found.cause.id == "null-check":
            return found.cause.example.replace("pointer", name)
        return found.cause.example

    def _variable(self, register: Register) -> str:
        """The variable that the result of a call is assigned to, where one line says both."""
        spot = register.spot
        if spot is None or spot.source is None:
            return ""
        found = re.search(r"(\w+)\s*=\s*(?:\([^()]*\)\s*)?(\w+)\s*\(", spot.source.text)
        return found[1] if found and register.origin == f"from {found[2]}" else ""

    def _note(self, found: Match | None) -> str:
        if found is None or found.cause.id != "too-large":
            return ""
        hot = Counter(step.source for step in self._walk.steps if step.source is not None)
        places = [f"{_where(line)} ({count} times)" for line, count in hot.most_common(_HOTTEST)]
        return f"walked most: {', '.join(places)}" if places else ""


def _argument(message: str, number: int) -> list[int]:
    """The register of an argument, which some messages count from 0, and others from 1.

    Where they write ``arg #``, that depends on the kernel.
    """
    if f"arg#{number}" in message or f"trusted arg{number}" in message:
        return [number + 1]
    return [number] if f"helper arg{number}" in message else []


def _added(step: Step, pointer: int) -> list[tuple[Step, int]]:
    """The register that was added to a pointer last, at the step that did it."""
    for at in origin(step, pointer).changed:
        if " += r" in at.insn.text:
            return [(at, read_by(at.insn)[-1])]
    return []


def _was_pointer(come: Origin) -> bool:
    """Whether a register got a pointer, and nothing but additions changed it since."""
    if come.step is None or come.kind not in (From.CALL, From.LOAD):
        return False
    given = value_after(come.step, come.register)
    adds = all(step.insn.text.startswith("r") and " += " in step.insn.text for step in come.changed)
    return adds and given is not None and given.kind != SCALAR


def _is_signed(insn: Insn) -> bool:
    """Whether an instruction extends the sign of a number."""
    return " s>>= " in insn.text or "(s" in insn.text


def _line(spot: Spot) -> SourceText | int:
    """What two places of one line have in common."""
    return spot.insn if spot.source is None else spot.source._replace(column=0)


def _where(line: SourceText) -> str:
    return f"{line.file}:{line.line}" if line.line else f"'{line.text}'"
