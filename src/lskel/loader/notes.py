"""Notes: what a loader's instructions access, and where parts begin, recorded by the generator.

They are for listings of the code. Loaders do not contain them: to get them, the loader is generated
again with `Notes`, which results in the same bytes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lskel.bpf.asm import Assembler


class Area(Enum):
    """The memory that an instruction accesses."""

    BLOB = "blob"
    CONTEXT = "ctx"
    # The current record, by the offset of a field.
    RECORD = "record"
    # The blob at the place in a field of that record, by the offset of the field.
    POINTED = "pointed"


class Touch(NamedTuple):
    """An instruction reads or writes at an offset of an area, or computes its address."""

    area: Area
    offset: int
    accesses: bool


class Notes:
    """By the index of an instruction's first slot: its accesses, and the part that begins there.

    A part is an operation, by number, or a description.
    """

    def __init__(self) -> None:
        self.touches: dict[int, Touch] = {}
        self.begins: dict[int, int | str] = {}


class Emitter:
    """Emits code with `asm`; notes are for the next instruction."""

    def __init__(self, asm: Assembler, notes: Notes | None) -> None:
        self.asm = asm
        self.notes = notes

    def begin(self, what: int | str) -> None:
        """A part begins: an operation, or a description."""
        if self.notes is not None:
            self.notes.begins[len(self.asm)] = what

    def touch(self, area: Area, offset: int, *, accesses: bool) -> None:
        """It reads or writes there, or computes the address."""
        if self.notes is not None:
            self.notes.touches[len(self.asm)] = Touch(area, offset, accesses)
