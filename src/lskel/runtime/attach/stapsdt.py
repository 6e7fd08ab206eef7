"""USDT probes of programs and libraries, from their ELF notes.

Source: "UserSpaceProbeImplementation" in the wiki of SystemTap, sys/sdt.h.
"""

from __future__ import annotations

import struct

from lskel.cursor import mark
from lskel.elf.notes import notes
from lskel.errors import BadInput, NotFound
from lskel.light_typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lskel.runtime.attach.elf_symbols import ElfFile

_SECTION = ".note.stapsdt"
# Base of the addresses in the notes: prelink moves this section, but does not update the notes.
_BASE_SECTION = ".stapsdt.base"
_OWNER = b"stapsdt\0"
_TYPE = 3
_CLOSE_NAMES = 3


class UsdtProbe(NamedTuple):
    """One location of a probe, which may have several.

    `offset` is the file offset of its instruction, `address` its link-time address; `semaphore` is
    the file offset of the 16-bit reference counter, 0 if the probe has none; `arguments` such as
    "-4@%eax 8@$7".
    """

    provider: str
    name: str
    address: int
    offset: int
    semaphore: int
    arguments: str


def find_probes(elf: ElfFile, provider: str, name: str) -> list[UsdtProbe]:
    """All locations of a probe, at least one; NotFound, with similar names, if there are none.

    BadInput if the notes are corrupt.
    """
    found = {f"{note.provider}:{note.name}" for note in _notes(elf)}
    wanted = f"{provider}:{name}"
    if wanted not in found:
        import difflib

        hint = "the file has no probes"
        if found:
            close = difflib.get_close_matches(wanted, found, _CLOSE_NAMES) or sorted(found)
            hint = f"similar: {', '.join(close[:_CLOSE_NAMES])}"
        raise NotFound(f"no probe '{wanted}'", hint=hint)
    return [
        _probe(elf, note) for note in _notes(elf) if (note.provider, note.name) == (provider, name)
    ]


class _Note(NamedTuple):
    provider: str
    name: str
    arguments: str
    location: int
    base: int
    semaphore: int


def _notes(elf: ElfFile) -> Iterator[_Note]:
    for section in elf.sections:
        if section.name == _SECTION:
            for note in notes(elf, section):
                if note.type == _TYPE and note.owner == _OWNER:
                    yield _note(elf, note.data)


def _note(elf: ElfFile, data: bytes) -> _Note:
    addresses = struct.Struct(mark(elf.order) + ("3Q" if elf.bits == 64 else "3I"))
    strings = data[addresses.size :].split(b"\0")
    # Three NUL-terminated strings.
    if len(data) < addresses.size or len(strings) < 4:
        raise BadInput(f"section {_SECTION}: a note is too short")
    provider, name, arguments = (text.decode("utf-8", "backslashreplace") for text in strings[:3])
    return _Note(provider, name, arguments, *addresses.unpack_from(data))


def _probe(elf: ElfFile, note: _Note) -> UsdtProbe:
    base = elf.section(_BASE_SECTION)
    moved = base.address - note.base if base is not None and note.base else 0
    address = note.location + moved
    return UsdtProbe(
        note.provider,
        note.name,
        address,
        elf.file_offset(address),
        elf.file_offset(note.semaphore + moved) if note.semaphore else 0,
        note.arguments,
    )
