"""Source locations of a log: from the object, else from the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lskel.verifier.entries import SourceText
from lskel.verifier.explanation import Spot
from lskel.verifier.program import VerifiedProgram
from lskel.verifier.walk import LogWalk, WalkStep

# How many of the most visited source lines are shown for a too complex program.
_HOTTEST = 3
# Source lines this close to a line are its context, unless they are only braces.
_NEIGHBOURS = 2
_BRACES = ("{", "}", "};")


class Locations:
    """The locations of one log, of a program if available."""

    def __init__(self, walk: LogWalk, program: VerifiedProgram | None) -> None:
        self._walk = walk
        self._program = program

    def at(self, step: WalkStep, label: str = "") -> Spot:
        """The location of a step."""
        source = self._program.line(step.insn.number) if self._program else None
        return Spot(step.insn.number, step.insn.text, source or step.source, label)

    def reported(self) -> Spot | None:
        """The location that the kernel's report names; None if there is none."""
        report = self._walk.report
        if report is None or report.insn is None:
            return None
        spot = self.of(report.insn)
        return spot._replace(source=spot.source or report.source)

    def of(self, insn: int, label: str = "") -> Spot:
        """The location of an instruction, which need not be in the log."""
        source = self._program.line(insn) if self._program else None
        return Spot(insn, "", source, label)

    def frame(self) -> Spot | None:
        """The stack use of the function with the largest stack frame; None if unknown."""
        frame = self._program.frame() if self._program else None
        if frame is None:
            return None
        label = f"{frame.function or 'this function'} uses {frame.size} bytes of stack"
        return self.of(frame.insn, label)

    def function(self, spot: Spot | None) -> str:
        """The function of a location; empty if unknown."""
        return self._program.function(spot.insn) if self._program and spot else ""

    def around(self, spot: Spot | None) -> tuple[SourceText, ...]:
        """Source lines near a location."""
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
        """The source lines that the verifier visited most; empty if the log has none."""
        sources = (self.at(step).source for step in self._walk.steps)
        walked = Counter(source._replace(column=0) for source in sources if source is not None)
        places = [f"{_name(line)} ({count} times)" for line, count in walked.most_common(_HOTTEST)]
        return f"visited most: {', '.join(places)}" if places else ""


def is_same_line(one: Spot, other: Spot) -> bool:
    """Whether two locations are on one source line, or at one instruction without a line."""
    return _line(one) == _line(other)


def _line(spot: Spot) -> SourceText | int:
    return spot.insn if spot.source is None else spot.source._replace(column=0)


def _name(line: SourceText) -> str:
    return f"{line.file}:{line.line}" if line.line else f"'{line.text}'"
