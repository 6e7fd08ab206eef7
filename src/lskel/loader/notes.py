"""Notes: what a loader's instructions touch, and what begins where, as who emits them knows it.

They are for whoever reads the code. No loader carries them: to take them is to generate it again,
with `Notes` to write to, which gives the same bytes.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


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
