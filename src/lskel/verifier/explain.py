"""Why the verifier rejects a program: the message, cause, source and register values."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lskel.describe.image import Source
from lskel.errors import BadInput, ReplayError
from lskel.trace import ProgLoad, Trace
from lskel.verifier.causes import NULLABLE, STALE, CauseLocation, Match, cause_of, match
from lskel.verifier.entries import STATISTICS, read_entries
from lskel.verifier.explanation import Explanation, Register, Spot
from lskel.verifier.locations import Locations, is_same_line
from lskel.verifier.program import VerifiedProgram, program_of, programs
from lskel.verifier.registers import Registers, argument, is_signed, was_pointer
from lskel.verifier.walk import LogWalk, Origin, OriginKind, WalkStep, called, origin, read_by, walk

# The most calls listed that may have invalidated a pointer.
_CALLS = 2
# Causes whose message reports a scalar used as a pointer.
_SEEM_NUMBERS = ("untyped-pointer", "argument-type")
# These helpers take no sizes: size 0 is the key or value of a map without one.
_OF_MAPS = "bpf_map_"
# The names of functions that enter and leave critical sections.
_ENTERS = ("_lock", "_disable", "_save", "_irqsave")
_LEAVES = ("_unlock", "_enable", "_restore", "_irqrestore")
# A variable assigned the result of a call.
_ASSIGNED = re.compile(r"\b(\w+)\s*=\s*(?:\([^()]*\)\s*)?(\w+)\s*\(")


def explain(
    lines: Sequence[str], *, program: str = "", source: Source | None = None
) -> Explanation:
    """Explain a verifier log.

    `lines` are the kernel's lines, as in ReplayError.log; `find_logs` finds them in the output of
    other loaders. `source`, an object, trace or loader, provides source lines that the log lacks
    (before 6.9 it has no file and line number), and the names of functions and maps. Its program is
    the one named `program`, or the one that matches the instructions. Any lines are accepted;
    BadObject if the BTF of `source` is broken.
    """
    known = () if source is None else programs(source)
    walked = walk(read_entries(lines))
    found = program_of(known, program, [step.insn for step in walked.steps])
    name = program or (found.name if found else "")
    return _Explainer(walked, found).explanation(name, lines)


def explain_failure(error: ReplayError, trace: Trace) -> Explanation:
    """Explain the log of a failed replay; without the trace if its BTF is broken."""
    op = None if error.op is None else trace.ops[error.op]
    name = op.name if isinstance(op, ProgLoad) else ""
    try:
        return explain(error.log, program=name, source=trace)
    except BadInput:
        return explain(error.log, program=name)


class _Explainer:
    """Builds the explanation of one log."""

    def __init__(self, walked: LogWalk, program: VerifiedProgram | None) -> None:
        self._walk = walked
        self._places = Locations(walked, program)
        self._program = program
        self._registers = Registers(self._places, program)
        self._last = walked.steps[-1] if walked.steps else None
        found = match(walked.messages)
        self._found = None if found is None else self._refined(found)

    def explanation(self, name: str, lines: Sequence[str]) -> Explanation:
        found, messages = self._found, self._walk.messages
        # Without instructions, the error is the last message: a BTF log lists all types first.
        told = found.number if found else (0 if self._walk.steps else -1)
        step, spot = self._place() if messages else (None, None)
        registers = self._registers.told(step, messages, found) if step else ()
        return Explanation(
            program=name,
            function=self._places.function(spot),
            message=messages[told] if messages else "",
            messages=messages,
            cause=found.cause if found else None,
            suggestion=found.cause.suggestion if found else "",
            example=self._example(registers),
            note=self._note(step),
            spot=spot,
            others=self._others(step, spot, registers),
            context=self._places.around(spot),
            registers=registers,
            lines=len(lines),
            whole=any(STATISTICS.search(line) for line in lines),
        )

    def _refined(self, found: Match) -> Match:
        """The cause by the path to the instruction, if the message alone is misleading."""
        if self._last is None:
            return found
        if found.cause.id in _SEEM_NUMBERS and "reg" in found.slots:
            come = origin(self._last, int(found.slots["reg"]))
            if was_pointer(come) and "scalar" in self._walk.messages[found.number]:
                return found._replace(cause=cause_of(STALE))
        if found.cause.id == "null-check" and self._is_argument(found, self._last):
            return found._replace(cause=cause_of(NULLABLE))
        if found.cause.id == "zero-size" and (called(self._last.insn) or "").startswith(_OF_MAPS):
            return found._replace(cause=cause_of("map-type"))
        # Linux 6.1 reports a kernel bug for a tail call through a map of another type.
        if found.cause.id == "kernel-bug" and called(self._last.insn) == "bpf_tail_call":
            return found._replace(cause=cause_of("map-type"))
        if found.cause.id == "unbounded-access":
            comes = [origin(self._last, number) for number in read_by(self._last.insn)]
            if any(map(is_signed, comes)):
                return found._replace(cause=cause_of("negative-index"))
        return found

    def _is_argument(self, found: Match, last: WalkStep) -> bool:
        """Whether the reported value is an argument of a function that is verified on its own."""
        numbers = [int(found.slots["reg"])] if "reg" in found.slots else []
        if "arg" in found.slots:
            numbers = argument(self._walk.messages[found.number], int(found.slots["arg"]))
        comes = [origin(last, number) for number in numbers]
        return any(come.kind is OriginKind.ENTRY and come.step is None for come in comes)

    def _place(self) -> tuple[WalkStep | None, Spot | None]:
        """The step that fails, and the location to show."""
        place = self._found.cause.place if self._found else CauseLocation.INSN
        if place is CauseLocation.PROGRAM:
            return None, None
        if place is CauseLocation.FUNCTION:
            return None, self._places.frame()
        named = self._found.slots.get("insn") if self._found else None
        step = self._last
        if named is not None:
            number = int(named)
            step = next((s for s in reversed(self._walk.steps) if s.insn.number == number), None)
            if step is None:
                return None, self._places.of(number)
        return step, self._places.reported() if step is None else self._places.at(step)

    def _others(
        self, step: WalkStep | None, spot: Spot | None, registers: tuple[Register, ...]
    ) -> tuple[Spot, ...]:
        """Other relevant locations, except those on the line of `spot`."""
        if spot is None:
            return ()
        found, last = self._found, self._last
        others = []
        if last is not None and step is not last:
            others.append(self._places.at(last, "the verifier got to here"))
        if last is not None and found and found.cause.id == STALE:
            others += self._calls_since(origin(last, int(found.slots["reg"])), last)
        if step is not None and found and found.cause.id == "lock":
            others += self._section(step)
        for register in registers:
            if register.spot is not None and register.origin:
                others.append(register.spot._replace(label=f"{register.name}: {register.origin}"))
        return tuple(other for other in others if not is_same_line(other, spot))

    def _section(self, failing: WalkStep) -> list[Spot]:
        """The call that entered the critical section of a step, if known."""
        for step in failing.path():
            name = called(step.insn) or ""
            if step is not failing and name.endswith(_LEAVES):
                break
            if step is not failing and name.endswith(_ENTERS):
                return [self._places.at(step, f"{name} is called")]
        return []

    def _calls_since(self, come: Origin, last: WalkStep) -> list[Spot]:
        """The helpers and kernel functions called since a register got its value."""
        since = []
        for step in last.path():
            if step is come.step:
                break
            if step is not last and (name := called(step.insn)):
                since.append((step, name))
        verb = "invalidated it" if len(since) == 1 else "may have invalidated it"
        return [self._places.at(step, f"{name} {verb}") for step, name in since[:_CALLS]]

    def _note(self, step: WalkStep | None) -> str:
        """What only this log, or the object's relocation records, tell."""
        if self._found is None and self._walk.report is not None:
            return self._walk.report.reason
        cause = self._found.cause.id if self._found else ""
        if cause == "too-large":
            return self._places.hottest()
        if cause == "core-relocation" and step is not None and self._program is not None:
            asked = self._program.asked(step.insn.number)
            return f"the relocation asks about {asked}" if asked else ""
        return ""

    def _example(self, registers: tuple[Register, ...]) -> str:
        """The example, with the variable's name if the source has it."""
        if self._found is None:
            return ""
        example = self._found.cause.example
        name = _variable(registers[0]) if registers else ""
        if name and self._found.cause.id == "null-check":
            return example.replace("pointer", name)
        return example


def _variable(register: Register) -> str:
    """The variable that the result of a call is assigned to, if on the same line."""
    source = register.spot.source if register.spot else None
    found = _ASSIGNED.search(source.text) if source else None
    return found[1] if found and register.origin == f"from {found[2]}" else ""
