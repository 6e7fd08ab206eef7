"""func_info and line_info in words.

Records are indexed by instruction at once; their strings are read on demand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.ext import Records
from lskel.btf.types import TypeId
from lskel.cursor import ByteOrder, mark
from lskel.describe.btf_cache import once
from lskel.describe.jsonable import text_or_error
from lskel.errors import BadInput

# The line number and the column share a word (Documentation/bpf/btf.rst, struct bpf_line_info).
_COLUMN_BITS = 10


def unpack(records: Records, fmt: str, order: ByteOrder) -> Iterator[tuple[int, ...]]:
    """The known fields of each record; BadInput if records are too short."""
    record = struct.Struct(mark(order) + fmt)
    if len(records) and records.size < record.size:
        raise BadInput(f"expected records of at least {record.size} bytes, got {records.size}")
    for number in range(len(records)):
        yield record.unpack_from(records.data, number * records.size)


class SourceLine(NamedTuple):
    """A line of the source; `text` is as in the file, `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    text: str


@once
def _text(btf: Btf, string: int) -> str:
    text = text_or_error(lambda: btf.string(string))
    return text if len(text) <= budget.SHOWN_LINE else f"{text[: budget.SHOWN_LINE]}..."


class Functions:
    """The functions of a program, by their first instruction."""

    def __init__(self, records: Records, btf: Btf | None, order: ByteOrder) -> None:
        self._btf = btf
        self._types = {insn: TypeId(type_id) for insn, type_id in unpack(records, "II", order)}

    def at(self, insn: int) -> str | None:
        """The name of the function that starts here; None if none."""
        btf, type_id = self._btf, self._types.get(insn)
        if btf is None or type_id is None:
            return None
        return text_or_error(lambda: btf.get(type_id, t.Func).name)

    def names(self) -> tuple[str, ...]:
        """All names, in the order of the code."""
        return tuple(name for name in map(self.at, sorted(self._types)) if name is not None)


class Lines:
    """The source lines of a program, by the first instruction of each."""

    def __init__(self, records: Records, btf: Btf | None, order: ByteOrder) -> None:
        self._btf = btf
        self._places = {insn: place for insn, *place in unpack(records, "IIII", order)}

    def at(self, insn: int) -> SourceLine | None:
        """The line that starts here; None if the previous line continues."""
        btf, place = self._btf, self._places.get(insn)
        if btf is None or place is None:
            return None
        file, text, position = place
        return SourceLine(
            _text(btf, file),
            position >> _COLUMN_BITS,
            position & (1 << _COLUMN_BITS) - 1,
            _text(btf, text),
        )
