"""BTF.ext: function info, line info and CO-RE relocations.

Source: Documentation/bpf/btf.rst, "The .BTF.ext section". Records stay bytes, so that fields of
newer compilers reach the kernel unchanged.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from lskel.btf.btf import MAGIC, Btf
from lskel.cursor import ByteOrder, Cursor, mark
from lskel.errors import BadObject, at

FUNC_INFO_SIZE = 8
LINE_INFO_SIZE = 16
CORE_RELO_SIZE = 16


@dataclass(frozen=True, slots=True)
class Records:
    """Records of `size` bytes each; the first u32 is an instruction offset.

    In BTF.ext that offset is in bytes from the section start; `Records` of a program count
    instructions, as the kernel does.
    """

    size: int
    data: bytes = b""

    def __len__(self) -> int:
        """Number of records."""
        return len(self.data) // self.size

    def offsets(self, order: ByteOrder) -> list[int]:
        """The first u32 of each record."""
        record = struct.Struct(f"{mark(order)}I{self.size - 4}x")
        return [offset for (offset,) in record.iter_unpack(self.data)]

    def moved(self, delta: int, order: ByteOrder) -> Records:
        """The records with `delta` added to the first u32 of each."""
        data = bytearray(self.data)
        word = struct.Struct(mark(order) + "I")
        for number, offset in enumerate(self.offsets(order)):
            word.pack_into(data, number * self.size, (offset + delta) & 0xFFFFFFFF)
        return Records(self.size, bytes(data))


class SectionInfo(NamedTuple):
    """All records of one kind for one ELF section, with their offsets (bytes), ascending."""

    records: Records
    offsets: list[int]

    def slice(self, start: int, end: int, order: ByteOrder) -> Records:
        """The records of the code bytes [start, end), their offsets in instructions from start."""
        first = bisect_left(self.offsets, start)
        last = bisect_left(self.offsets, end)
        size = self.records.size
        data = bytearray(self.records.data[first * size : last * size])
        word = struct.Struct(mark(order) + "I")
        for number, offset in enumerate(self.offsets[first:last]):
            word.pack_into(data, number * size, (offset - start) // 8)
        return Records(size, bytes(data))


class BtfExt(NamedTuple):
    """The three tables of BTF.ext by ELF section name."""

    func_info: dict[str, SectionInfo]
    line_info: dict[str, SectionInfo]
    core_relos: dict[str, SectionInfo]


def parse_ext(raw: bytes, btf: Btf) -> BtfExt:
    """Parse .BTF.ext; its section names are strings of `btf`. BadObject if it is invalid."""
    cursor = Cursor(raw, btf.order, "BTF.ext")
    magic, version, _flags, hdr_len = cursor.unpack("HBBI")
    if magic != MAGIC:
        raise BadObject(f"BTF.ext: magic is {magic:#06x}, expected {MAGIC:#06x}")
    if version != 1:
        raise BadObject(f"BTF.ext: version {version} is unknown")
    if hdr_len < 24 or hdr_len > len(raw):
        raise BadObject(f"BTF.ext: header length {hdr_len} is out of range")
    # Headers of 24 bytes have no CO-RE part; more than 32 bytes are from newer formats.
    tables = cursor.unpack("IIII") + (cursor.unpack("II") if hdr_len >= 32 else (0, 0))
    return BtfExt(
        _table(raw, btf, hdr_len, tables[0:2], FUNC_INFO_SIZE, "func_info"),
        _table(raw, btf, hdr_len, tables[2:4], LINE_INFO_SIZE, "line_info"),
        _table(raw, btf, hdr_len, tables[4:6], CORE_RELO_SIZE, "CO-RE relocations"),
    )


def _table(
    raw: bytes, btf: Btf, hdr_len: int, place: tuple[int, ...], known: int, what: str
) -> dict[str, SectionInfo]:
    offset, length = place
    found: dict[str, SectionInfo] = {}
    if not length:
        return found
    with at(f"BTF.ext: {what}"):
        start = hdr_len + offset
        if offset % 4 or start + length > len(raw):
            raise BadObject(f"table at {start:#x}+{length:#x} is outside the {len(raw):#x} bytes")
        cursor = Cursor(raw, btf.order, "table", start, start + length)
        size = cursor.u32()
        if size < known or size % 4:
            raise BadObject(f"records of {size} bytes, expected {known} or more")
        while cursor.left():
            name_off, count = cursor.unpack("II")
            name = btf.string(name_off)
            if not count:
                raise BadObject(f"section {name}: no records")
            records = Records(size, cursor.take(size * count))
            _add(found, name, records, btf.order)
    return found


def _add(found: dict[str, SectionInfo], name: str, records: Records, order: ByteOrder) -> None:
    offsets = records.offsets(order)
    if any(offset % 8 for offset in offsets):
        raise BadObject(f"section {name}: a record's offset is not a multiple of 8")
    if any(later < sooner for sooner, later in pairwise(offsets)):
        raise BadObject(f"section {name}: records are not sorted by offset")
    if name in found:
        raise BadObject(f"section {name}: duplicate")
    found[name] = SectionInfo(records, offsets)
