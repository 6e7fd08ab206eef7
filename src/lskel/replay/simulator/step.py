"""What the groups of instructions share: a decoded instruction is a step, a function.

A step gets the registers, r0 to r10 as unsigned 64-bit numbers, changes them, and returns the
index of the instruction that follows, or `EXIT`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from lskel.bpf.insn import Insn

if TYPE_CHECKING:
    from lskel.replay.simulator.machine import Machine

Registers = list[int]
Step = Callable[[Registers], int]

EXIT = -1
MASK = (1 << 64) - 1

# What is in a register before anything was put there; no memory is ever there.
UNSET = 0xBAD0_BAD0_BAD0_BAD0
SCRATCH = (UNSET,) * 5


class Site(NamedTuple):
    """An instruction to be decoded; `wide` is the immediate of the second slot, 0 without one."""

    machine: Machine
    insn: Insn
    wide: int
    index: int


class Form(NamedTuple):
    """How to make the step of an instruction, and what its fields mean.

    Of dst, src, off, imm and wide, `uses` are those that count, all others must be 0. `writes` is
    the field that names the register it changes, `jumps` the one that holds a jump's distance.
    """

    make: Callable[[Site], Step]
    uses: frozenset[str]
    writes: str = ""
    jumps: str = ""


class Family(NamedTuple):
    """The forms of one opcode, chosen by the value of a field ("" where there is only one)."""

    selector: str
    forms: Mapping[int, Form]


Families = Iterator[tuple[int, Family]]


def only(form: Form) -> Family:
    """A family of one form."""
    return Family("", {0: form})


def uses(names: str) -> frozenset[str]:
    """The fields named in a text with spaces between them."""
    return frozenset(names.split())
