"""Notes in ELF files. Source: the gABI, chapter 5."""

from __future__ import annotations

import struct

from lskel.cursor import mark
from lskel.errors import BadInput
from lskel.light_typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lskel.elf.reader import ElfReader, Section

# Of the owner, of the data, and the type.
_HEADER = "III"


class Note(NamedTuple):
    """A note; `owner` ends with NUL."""

    owner: bytes
    type: int
    data: bytes


def notes(elf: ElfReader, section: Section) -> Iterator[Note]:
    """The notes of a section; BadInput if one exceeds it."""
    header = struct.Struct(mark(elf.order) + _HEADER)
    content = elf.content(section)
    at = 0
    while at + header.size <= len(content):
        owner_size, size, kind = header.unpack_from(content, at)
        owner_at = at + header.size
        start = owner_at + _round4(owner_size)
        at = start + _round4(size)
        if start + size > len(content):
            raise BadInput(f"section {section.name}: a note exceeds it")
        yield Note(content[owner_at : owner_at + owner_size], kind, content[start : start + size])


def _round4(size: int) -> int:
    return size + 3 & ~3
