"""What the groups of instructions share: a decoded instruction is a step, a function.

A step gets the registers, r0 to r10 as unsigned 64-bit numbers, changes them, and returns the
index of the instruction that follows, or `EXIT`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from lskel.bpf.insn import Insn

if TYPE_CHECKING:
    from lskel.replay.simulator.machine import Machine

Registers = list[int]
Step = Callable[[Registers], int]

EXIT = -1
MASK = (1 << 64) - 1

_FIELDS = Insn._fields[1:]

# What is in a register before anything was put there; no memory is ever there.
UNSET = 0xBAD0_BAD0_BAD0_BAD0
SCRATCH = (UNSET,) * 5


class Site(NamedTuple):
    """An instruction to be decoded, its index, and that of the instruction after it.

    Only a ld_imm64 has a second slot.
    """

    machine: Machine
    insn: Insn
    second: Insn | None
    at: int
    next: int

    @property
    def wide(self) -> int:
        """The immediate of the second slot, unsigned."""
        return self.second.imm & 0xFFFFFFFF if self.second else 0


@dataclass(frozen=True)
class Form:
    """How to make the step of an instruction, and what its fields mean.

    `uses` names, with spaces between them, those of dst, src, off and imm that count, and wide
    where that of the second slot does; `reserved` are the others of the first slot, which must be
    0. `writes` is the field that names the register it changes, `jumps` the one that holds a
    jump's distance; empty where there is none.
    """

    make: Callable[[Site], Step]
    uses: str = ""
    writes: str = ""
    jumps: str = ""
    reserved: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        used = self.uses.split()
        reserved = tuple(name for name in _FIELDS if name not in used)
        object.__setattr__(self, "reserved", reserved)


class Family(NamedTuple):
    """The forms of one opcode, chosen by the value of a field ("" where there is only one)."""

    selector: str
    forms: Mapping[int, Form]


Families = Iterator[tuple[int, Family]]


def only(form: Form) -> Family:
    """A family of one form."""
    return Family("", {0: form})
