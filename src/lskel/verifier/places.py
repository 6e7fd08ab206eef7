"""Places of a log in the source: what the object says of them, else what the log says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lskel.verifier.entries import SourceText
from lskel.verifier.explanation import Spot
from lskel.verifier.program import Program
from lskel.verifier.walk import Step, Walk

# So many of the most walked source lines are told of a program that is too complex.
_HOTTEST = 3
# Source lines so far from a line are its context, unless they are braces only.
_NEIGHBOURS = 2
_BRACES = ("{", "}", "};")


class Places:
    """The places of one log, of a program that may be at hand."""

    def __init__(self, walk: Walk, program: Program | None) -> None:
        self._walk = walk
        self._program = program

    def at(self, step: Step, label: str = "") -> Spot:
        """Where a step is."""
        source = self._program.line(step.insn.number) if self._program else None
        return Spot(step.insn.number, step.insn.text, source or step.source, label)

    def of(self, insn: int, label: str = "") -> Spot:
        """Where an instruction is that the verifier need not have walked."""
        source = self._program.line(insn) if self._program else None
        return Spot(insn, "", source, label)

    def frame(self) -> Spot | None:
        """Where the function with the largest part of the stack takes it; None if not known."""
        frame = self._program.frame() if self._program else None
        if frame is None:
            return None
        label = f"{frame.function or 'this function'} uses {frame.size} bytes of stack"
        return self.of(frame.insn, label)

    def function(self, spot: Spot | None) -> str:
        """The function that a place is in; empty where it is not known."""
        return self._program.function(spot.insn) if self._program and spot else ""

    def around(self, spot: Spot | None) -> tuple[SourceText, ...]:
        """Source lines close to a place."""
        if spot is None or spot.source is None or not spot.source.line:
            return ()
        here = spot.source
        known: Iterable[SourceText] = self._program.lines.values() if self._program else ()
        if not known:
            known = (step.source for step in self._walk.steps if step.source is not None)
        near = {
            line.line: line
            for line in known
            if line.file == here.file
            and 0 < abs(line.line - here.line) <= _NEIGHBOURS
            and line.text.strip() not in _BRACES
        }
        return tuple(near[number] for number in sorted(near))

    def hottest(self) -> str:
        """The source lines that the verifier walked most; empty where it has none."""
        sources = (self.at(step).source for step in self._walk.steps)
        walked = Counter(source._replace(column=0) for source in sources if source is not None)
        places = [f"{_name(line)} ({count} times)" for line, count in walked.most_common(_HOTTEST)]
        return f"walked most: {', '.join(places)}" if places else ""


def is_same_line(one: Spot, other: Spot) -> bool:
    """Whether two places are in one line of the source, or one instruction if that has none."""
    return _line(one) == _line(other)


def _line(spot: Spot) -> SourceText | int:
    return spot.insn if spot.source is None else spot.source._replace(column=0)


def _name(line: SourceText) -> str:
    return f"{line.file}:{line.line}" if line.line else f"'{line.text}'"
