"""Errors of simulated programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lskel.errors import LskelError
from lskel.replay.simulator.memory import MemoryRegion


class Illegal(LskelError):
    """An illegal operation; the machine turns it into a `SimulatorFault`."""


@dataclass(frozen=True, slots=True)
class InsnLocation:
    """A location in a program: the index (in slots) of an instruction, and its text."""

    index: int
    text: str

    def __str__(self) -> str:
        return f"instruction {self.index}: {self.text}"


class SimulatorFault(LskelError):
    """A program was stopped at an operation that the kernel does not allow.

    `place` is the instruction; `callers` are the calls to its function, outermost first.
    `registers` are r0 to r10 before the instruction, each from 0 to 2**64 - 1. `region` is the
    memory nearest to an invalid access, None if not near any region, or not an access.
    """

    def __init__(
        self,
        what: str,
        *,
        place: InsnLocation,
        registers: Sequence[int],
        region: MemoryRegion | None = None,
    ) -> None:
        super().__init__(what)
        self.places.append(str(place))
        self.place = place
        self.callers: tuple[InsnLocation, ...] = ()
        self.registers = tuple(registers)
        self.region = region

    def called_from(self, caller: InsnLocation) -> None:
        """Add the next outer caller."""
        self.callers = (caller, *self.callers)
        self.places.insert(0, str(caller))

    def __str__(self) -> str:
        registers = " ".join(f"r{number}={value:#x}" for number, value in enumerate(self.registers))
        return f"{super().__str__()} [{registers}]"


class BudgetSpent(SimulatorFault):
    """The program exceeds `budget`: it probably never ends."""

    def __init__(
        self, what: str, budget: int, *, place: InsnLocation, registers: Sequence[int]
    ) -> None:
        super().__init__(what, place=place, registers=registers)
        self.budget = budget
