"""Debug files: the symbols that were stripped from a program or library.

Source: "Debugging Information in Separate Files" of GDB's manual.
"""

from __future__ import annotations

import os
import struct

from lskel.cursor import mark
from lskel.elf.notes import notes
from lskel.light_typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lskel.elf.reader import ElfReader

ROOT = "/usr/lib/debug"
_LINK = ".gnu_debuglink"
_NOTE = ".note.gnu.build-id"
_OWNER = b"GNU\0"
_TYPE = 3  # NT_GNU_BUILD_ID
_CHUNK = 1 << 20


class DebugFile(NamedTuple):
    """Where a debug file may be, and which one it must be: by build id, or by CRC-32."""

    path: str
    build_id: bytes
    checksum: int = 0

    def is_of(self, elf: ElfReader) -> bool:
        """Whether the file at the path is the one."""
        if self.build_id:
            return build_id(elf) == self.build_id
        return _checksum(elf) == self.checksum


def debug_files(elf: ElfReader, path: str) -> Iterator[DebugFile]:
    """Where the debug file of a program or library at `path` may be, the first one first.

    By build id below /usr/lib/debug/.build-id, then by the name and checksum in .gnu_debuglink: in
    the file's directory, in .debug there, and in that directory below /usr/lib/debug.
    """
    if number := build_id(elf):
        yield DebugFile(f"{ROOT}/.build-id/{number[:1].hex()}/{number[1:].hex()}.debug", number)
    name, checksum = _link(elf)
    # Only a name: it must not lead to other directories.
    if name and "/" not in name:
        directory = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
        for place in (directory, f"{directory}/.debug", f"{ROOT}{directory}"):
            yield DebugFile(f"{place}/{name}", b"", checksum)


def build_id(elf: ElfReader) -> bytes:
    """The build id of a file; empty if it has none."""
    section = elf.section(_NOTE)
    found = notes(elf, section) if section is not None else ()
    return next((note.data for note in found if (note.owner, note.type) == (_OWNER, _TYPE)), b"")


def _link(elf: ElfReader) -> tuple[str, int]:
    """The name and CRC-32 of .gnu_debuglink; empty if the file has none."""
    section = elf.section(_LINK)
    content = elf.content(section) if section is not None else b""
    checksum = struct.Struct(mark(elf.order) + "I")
    name, end, _ = content.partition(b"\0")
    if not end or len(content) < checksum.size:
        return "", 0
    return os.fsdecode(name), checksum.unpack(content[-checksum.size :])[0]


def _checksum(elf: ElfReader) -> int:
    import zlib

    value = 0
    for at in range(0, len(elf.data), _CHUNK):
        value = zlib.crc32(elf.data[at : at + _CHUNK], value)
    return value
