"""Why the verifier refuses a program: the message, the cause, the source, what registers hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lskel.describe.image import Source
from lskel.errors import BadInput, ReplayError
from lskel.trace import ProgLoad, Trace
from lskel.verifier.causes import NULLABLE, STALE, Match, Place, cause_of, match
from lskel.verifier.entries import STATISTICS, read_entries
from lskel.verifier.explanation import Explanation, Register, Spot
from lskel.verifier.places import Places, is_same_line
from lskel.verifier.program import Program, program_of, programs
from lskel.verifier.registers import Registers, argument, is_signed, was_pointer
from lskel.verifier.walk import From, Origin, Step, Walk, called, origin, read_by, walk

# So many calls are told of that may have made a pointer invalid.
_CALLS = 2
# Causes that blame a number for not being a pointer.
_SEEM_NUMBERS = ("untyped-pointer", "argument-type")
# These helpers take no sizes: what is of size 0 is the key or value of a map that has none.
_OF_MAPS = "bpf_map_"
# How functions are called that enter and leave critical sections.
_ENTERS = ("_lock", "_disable", "_save", "_irqsave")
_LEAVES = ("_unlock", "_enable", "_restore", "_irqrestore")
# A variable gets what a function returns.
_ASSIGNED = re.compile(r"\b(\w+)\s*=\s*(?:\([^()]*\)\s*)?(\w+)\s*\(")


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
    found = program_of(known, program, [step.insn for step in walked.steps])
    name = program or (found.name if found else "")
    return _Explainer(walked, found).explanation(name, lines)


def explain_failure(error: ReplayError, trace: Trace) -> Explanation:
    """Explain the log of a failed replay; without the BTF of its trace where that is broken."""
    op = None if error.op is None else trace.ops[error.op]
    name = op.name if isinstance(op, ProgLoad) else ""
    try:
        return explain(error.log, program=name, source=trace)
    except BadInput:
        return explain(error.log, program=name)


class _Explainer:
    """Puts together what is known of one log."""

    def __init__(self, walked: Walk, program: Program | None) -> None:
        self._walk = walked
        self._places = Places(walked, program)
        self._program = program
        self._registers = Registers(self._places, program)
        self._last = walked.steps[-1] if walked.steps else None
        found = match(walked.messages)
        self._found = None if found is None else self._refined(found)

    def explanation(self, name: str, lines: Sequence[str]) -> Explanation:
        found, messages = self._found, self._walk.messages
        # Where nothing was walked, what tells comes last: of BTF, all types are listed before.
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
        """The cause that the way to the instruction tells, where the message alone misleads."""
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
        # Linux 6.1 blames itself for a tail call through a map of another type.
        if found.cause.id == "kernel-bug" and called(self._last.insn) == "bpf_tail_call":
            return found._replace(cause=cause_of("map-type"))
        if found.cause.id == "unbounded-access":
            comes = [origin(self._last, number) for number in read_by(self._last.insn)]
            if any(map(is_signed, comes)):
                return found._replace(cause=cause_of("negative-index"))
        return found

    def _is_argument(self, found: Match, last: Step) -> bool:
        """Whether what is blamed was given to a function that is verified by itself."""
        numbers = [int(found.slots["reg"])] if "reg" in found.slots else []
        if "arg" in found.slots:
            numbers = argument(self._walk.messages[found.number], int(found.slots["arg"]))
        comes = [origin(last, number) for number in numbers]
        return any(come.kind is From.ENTRY and come.step is None for come in comes)

    def _place(self) -> tuple[Step | None, Spot | None]:
        """The step that fails, and the place to look at."""
        place = self._found.cause.place if self._found else Place.INSN
        if place is Place.PROGRAM:
            return None, None
        if place is Place.FUNCTION:
            return None, self._places.frame()
        named = self._found.slots.get("insn") if self._found else None
        step = self._last
        if named is not None:
            number = int(named)
            step = next((s for s in reversed(self._walk.steps) if s.insn.number == number), None)
            if step is None:
                return None, self._places.of(number)
        return step, None if step is None else self._places.at(step)

    def _others(
        self, step: Step | None, spot: Spot | None, registers: tuple[Register, ...]
    ) -> tuple[Spot, ...]:
        """Other places that matter; those in the line of `spot` would say nothing new."""
        if spot is None:
            return ()
        found, last = self._found, self._last
        others = []
        if last is not None and step is not last:
            others.append(self._places.at(last, "the verifier came to here"))
        if last is not None and found and found.cause.id == STALE:
            others += self._calls_since(origin(last, int(found.slots["reg"])), last)
        if step is not None and found and found.cause.id == "lock":
            others += self._section(step)
        for register in registers:
            if register.spot is not None and register.origin:
                others.append(register.spot._replace(label=f"{register.name}: {register.origin}"))
        return tuple(other for other in others if not is_same_line(other, spot))

    def _section(self, failing: Step) -> list[Spot]:
        """The call that entered the critical section which a step is in, as far as is known."""
        for step in failing.way():
            name = called(step.insn) or ""
            if step is not failing and name.endswith(_LEAVES):
                break
            if step is not failing and name.endswith(_ENTERS):
                return [self._places.at(step, f"{name} is called")]
        return []

    def _calls_since(self, come: Origin, last: Step) -> list[Spot]:
        """The helpers and kernel functions that were called since a register got its value."""
        since = []
        for step in last.way():
            if step is come.step:
                break
            if step is not last and (name := called(step.insn)):
                since.append((step, name))
        verb = "made it invalid" if len(since) == 1 else "may have made it invalid"
        return [self._places.at(step, f"{name} {verb}") for step, name in since[:_CALLS]]

    def _note(self, step: Step | None) -> str:
        """What only this log, or the object's relocation records, tell."""
        cause = self._found.cause.id if self._found else ""
        if cause == "too-large":
            return self._places.hottest()
        if cause == "core-relocation" and step is not None and self._program is not None:
            asked = self._program.asked(step.insn.number)
            return f"the relocation asks about {asked}" if asked else ""
        return ""

    def _example(self, registers: tuple[Register, ...]) -> str:
        """The example, with the name of the variable where the source says which it is."""
        if self._found is None:
            return ""
        example = self._found.cause.example
        name = _variable(registers[0]) if registers else ""
        if name and self._found.cause.id == "null-check":
            return example.replace("pointer", name)
        return example


def _variable(register: Register) -> str:
    """The variable that the result of a call is assigned to, where one line says both."""
    source = register.spot.source if register.spot else None
    found = _ASSIGNED.search(source.text) if source else None
    return found[1] if found and register.origin == f"from {found[2]}" else ""
