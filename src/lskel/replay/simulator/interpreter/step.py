"""Decoded instructions: each is a step, a function.

A step takes the registers, r0 to r10 as unsigned 64-bit numbers, changes them, and returns the
index of the next instruction, or `EXIT`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from lskel.bpf.insn import Insn

if TYPE_CHECKING:
    from lskel.replay.simulator.machine import Interpreter

Registers = list[int]
Step = Callable[[Registers], int]

EXIT = -1
MASK = (1 << 64) - 1

_FIELDS = Insn._fields[1:]

# The initial value of registers: an address without memory.
UNSET = 0xBAD0_BAD0_BAD0_BAD0
SCRATCH = (UNSET,) * 5


class Site(NamedTuple):
    """An instruction to decode, its index, and that of the next instruction.

    Only ld_imm64 has a second slot.
    """

    machine: Interpreter
    insn: Insn
    second: Insn | None
    at: int
    next: int

    @property
    def wide(self) -> int:
        """The immediate of the second slot, unsigned."""
        return self.second.imm & 0xFFFFFFFF if self.second else 0


@dataclass(frozen=True)
class InsnForm:
    """How to make the step of an instruction, and what its fields mean.

    `uses` are the used fields, separated by spaces: dst, src, off, imm, and wide for the imm of the
    second slot; `reserved` are the other fields of the first slot, which must be 0. `writes` is the
    field with the destination register, `jumps` the field with a jump offset; empty if none.
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
    """The forms of one opcode, selected by the value of a field ("" if only one)."""

    selector: str
    forms: Mapping[int, InsnForm]


Families = Iterator[tuple[int, Family]]


def only(form: InsnForm) -> Family:
    """A family of one form."""
    return Family("", {0: form})
