"""A bounds-checked reader of bytes: errors of short reads name the offset."""

from __future__ import annotations

import struct

from lskel import budget
from lskel.errors import BadObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal

    ByteOrder = Literal["little", "big"]
else:  # skeletons avoid `typing`: see lskel.light_typing
    ByteOrder = str

_MARK: dict[ByteOrder, str] = {"little": "<", "big": ">"}


def mark(order: ByteOrder) -> str:
    """The byte order character of module `struct`."""
    return _MARK[order]


def unpack_table(fmt: str, data: bytes, order: ByteOrder, what: str) -> Iterator[tuple[Any, ...]]:
    """All records of a table; its length must be a whole number of records."""
    record = struct.Struct(mark(order) + fmt)
    if len(data) % record.size:
        raise BadObject(
            f"{what}: {len(data):#x} bytes are not a whole number of {record.size}-byte records"
        )
    return record.iter_unpack(data)


class Cursor:
    """Reads integers from `data`, from `offset` to `end` (exclusive).

    Errors name `what` and the offset relative to the start of `data`.
    """

    __slots__ = ("_mark", "data", "end", "offset", "order", "what")

    def __init__(
        self, data: bytes, order: ByteOrder, what: str, offset: int = 0, end: int | None = None
    ) -> None:
        self.data = data
        self.order = order
        self._mark = _MARK[order]
        self.what = what
        self.offset = offset
        self.end = len(data) if end is None else end
        if not 0 <= offset <= self.end <= len(data):
            raise BadObject(
                f"{what}: {offset:#x}..{self.end:#x} is outside its {len(data):#x} bytes"
            )

    def left(self) -> int:
        """Bytes not yet read."""
        return self.end - self.offset

    def _advance(self, count: int) -> int:
        start = self.offset
        if count > self.end - start:
            raise BadObject(
                f"{self.what}: offset {start:#x}: expected {count} bytes, got {self.end - start}"
            )
        self.offset = start + count
        return start

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self._advance(count)
        return self.data[start : start + count]

    def u32(self) -> int:
        """The next 4 bytes as an unsigned integer."""
        start = self._advance(4)
        return int.from_bytes(self.data[start : start + 4], self.order)

    def records(self, fmt: str, count: int) -> list[tuple[Any, ...]]:
        """`count` records of struct format `fmt` (without byte order), as tuples."""
        record = struct.Struct(self._mark + fmt)
        start = self._advance(record.size * count)
        return list(record.iter_unpack(self.data[start : start + record.size * count]))

    def unpack(self, fmt: str) -> tuple[Any, ...]:
        """One record of struct format `fmt` (without byte order)."""
        record = struct.Struct(self._mark + fmt)
        return record.unpack_from(self.data, self._advance(record.size))


class Strings:
    """A table of NUL-terminated strings, read by offset.

    Strings may share tails, as linkers merge them; a table whose strings are in total far longer
    than the table could exhaust memory, and is refused. So is a string of more than `longest`
    bytes.
    """

    __slots__ = ("_data", "_found", "_left", "_longest", "_what")

    def __init__(self, data: bytes, what: str, longest: int | None = None) -> None:
        self._data = data
        self._what = what
        self._found: dict[int, str] = {}
        self._longest = len(data) if longest is None else longest
        self._left = budget.SHARED_STRINGS * len(data) + budget.FEW_STRINGS

    def __getitem__(self, offset: int) -> str:
        """The string at an offset; invalid UTF-8 is escaped."""
        found = self._found.get(offset)
        if found is None:
            end = self._data.find(0, offset) if offset < len(self._data) else -1
            if end < 0:
                raise BadObject(f"{self._what}: no string at offset {offset:#x}")
            if end - offset > self._longest:
                raise BadObject(
                    f"{self._what}: the name at offset {offset:#x} has {end - offset} bytes, at "
                    f"most {self._longest} are allowed"
                )
            self._left -= end - offset
            if self._left < 0:
                raise BadObject(f"{self._what}: too many overlapping strings")
            found = self._data[offset:end].decode("utf-8", "backslashreplace")
            self._found[offset] = found
        return found
