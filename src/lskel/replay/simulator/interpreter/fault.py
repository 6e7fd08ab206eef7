"""How a simulated program goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lskel.errors import LskelError
from lskel.replay.simulator.memory import Region


class Illegal(LskelError):
    """An instruction may not do what it tries; the machine turns it into a `SimulatorFault`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program is: the index (in slots) of an instruction, and how it is written."""

    index: int
    text: str

    def __str__(self) -> str:
        return f"instruction {self.index}: {self.text}"


class SimulatorFault(LskelError):
    """A program did what the kernel would not let it do, and was stopped there.

    `place` is the instruction; `callers` are the calls that led to its function, outermost first.
    `registers` are r0 to r10 as the instruction found them, each from 0 to 2**64 - 1. `region` is
    the memory that an access missed, None where it was near no region, or was no access at all.
    """

    def __init__(
        self, what: str, *, place: Place, registers: Sequence[int], region: Region | None = None
    ) -> None:
        super().__init__(what)
        self.places.append(str(place))
        self.place = place
        self.callers: tuple[Place, ...] = ()
        self.registers = tuple(registers)
        self.region = region

    def called_from(self, caller: Place) -> None:
        """Add a caller, further out than those so far."""
        self.callers = (caller, *self.callers)
        self.places.insert(0, str(caller))

    def __str__(self) -> str:
        registers = " ".join(f"r{number}={value:#x}" for number, value in enumerate(self.registers))
        return f"{super().__str__()} [{registers}]"


class BudgetSpent(SimulatorFault):
    """The program would take more than `budget` of something: it probably runs for ever."""

    def __init__(self, what: str, budget: int, *, place: Place, registers: Sequence[int]) -> None:
        super().__init__(what, place=place, registers=registers)
        self.budget = budget
