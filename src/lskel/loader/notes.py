"""Notes: what a loader's instructions touch, and what begins where, as who emits them knows it.

They are for whoever reads the code. No loader carries them: to take them is to generate it again,
with `Notes` to write to, which gives the same bytes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lskel.bpf.asm import Assembler


class Area(Enum):
    """What an instruction touches a part of."""

    BLOB = "blob"
    CONTEXT = "ctx"
    # The record that is being walked, by the offset of a field.
    RECORD = "record"
    # What lies in the blob where a field of that record says, by the offset of the field.
    POINTED = "pointed"


class Touch(NamedTuple):
    """An instruction reads or writes what lies at an offset of an area, or makes its address."""

    area: Area
    offset: int
    accesses: bool


class Notes:
    """By the index of an instruction's first slot: what it touches, and what begins there.

    That is an operation, by its number, or something in words.
    """

    def __init__(self) -> None:
        self.touches: dict[int, Touch] = {}
        self.begins: dict[int, int | str] = {}


class Emitter:
    """Emits code with `asm`; what it says of it is of the instruction that comes next."""

    def __init__(self, asm: Assembler, notes: Notes | None) -> None:
        self.asm = asm
        self.notes = notes

    def begin(self, what: int | str) -> None:
        """An operation begins, or something in words."""
        if self.notes is not None:
            self.notes.begins[len(self.asm)] = what

    def touch(self, area: Area, offset: int, *, accesses: bool) -> None:
        """It reads or writes there, or makes the address."""
        if self.notes is not None:
            self.notes.touches[len(self.asm)] = Touch(area, offset, accesses)
