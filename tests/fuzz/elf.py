"""Damage to BPF objects where their structure is: headers, symbols, relocations, BTF, BTF.ext.

The layout is read anew before each change, so that changes build on each other. Where it can no
longer be read, bytes are changed wherever they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from lskel.btf.kinds import Kind
from tests.build.elf import EHDR_SIZE, REL_SIZE, SHDR_SIZE, SYM_SIZE
from tests.fuzz.damage import in_place, number, resize, set_field
from tests.fuzz.names import NAMES

_SHT_NOBITS = 8
# Offsets and widths of the fields of a record.
_EHDR = ((16, 2), (18, 2), (20, 4), (40, 8), (48, 4), (52, 2), (58, 2), (60, 2), (62, 2))
_SHDR = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))
_SYM = ((0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8))
_REL = ((0, 8), (8, 4), (12, 4))
_BTF_HEADER = 24
# Words of BTF that follow a type, by kind: so many, and so many for each of its vlen.
_WORDS: dict[int, tuple[int, int]] = {
    **dict.fromkeys((Kind.INT, Kind.VAR, Kind.DECL_TAG), (1, 0)),
    Kind.ARRAY: (3, 0),
    **dict.fromkeys((Kind.STRUCT, Kind.UNION, Kind.DATASEC, Kind.ENUM64), (0, 3)),
    **dict.fromkeys((Kind.ENUM, Kind.FUNC_PROTO), (0, 2)),
}
_KINDS = 20
_UNREADABLE = (struct.error, ValueError, IndexError, OverflowError)
# Where in a member, value, parameter or variable its name is; DATASEC has none.
_NAMED = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.FUNC_PROTO, Kind.ENUM64)


class Section(NamedTuple):
    """A section: where its header is, its fields, its name."""

    header: int
    name: bytes
    type: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class Layout:
    """What lies where; one of _UNREADABLE where it cannot be told."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.order = "big" if data[5] == 2 else "little"
        self.mark = ">" if self.order == "big" else "<"
        (table,) = struct.unpack_from(f"{self.mark}Q", data, 40)
        count, names = struct.unpack_from(f"{self.mark}HH", data, 60)
        form = struct.Struct(f"{self.mark}IIQQQQ")
        headers = [(at, form.unpack_from(data, at)) for at in _steps(table, count, SHDR_SIZE)]
        names_at = headers[names][1][4]
        self.sections = []
        for at, (name, kind, _flags, _address, offset, size) in headers:
            start = names_at + name
            text = bytes(data[start : data.index(0, start)])
            if kind != _SHT_NOBITS and offset + size > len(data):
                raise ValueError(text)
            self.sections.append(Section(at, text, kind, offset, size))

    def section(self, name: bytes) -> Section:
        """The section of a name."""
        return next((s for s in self.sections if s.name == name), self.sections[-1])

    def word(self, data: bytes | bytearray, at: int) -> int:
        """A u32."""
        (value,) = struct.unpack_from(f"{self.mark}I", data, at)
        return int(value)

    def pack(self, data: bytearray, form: str, at: int, *values: int) -> None:
        """Write numbers."""
        struct.pack_into(self.mark + form, data, at, *values)

    def moved(self, data: bytearray, section: Section, content: bytes) -> int:
        """Give a section other content, at the end of the file; where that begins."""
        data += bytes(-len(data) % 8)
        at = len(data)
        data += content
        self.pack(data, "QQ", section.header + 24, at, len(content))
        return at


class Type(NamedTuple):
    """A BTF type: where it is, its kind, and the words that follow it."""

    at: int
    kind: int
    vlen: int
    words: int


class Types(NamedTuple):
    """The .BTF section of an object."""

    section: Section
    strings: int
    strings_size: int
    types: tuple[Type, ...]


def _steps(start: int, count: int, size: int) -> range:
    return range(start, start + count * size, size)


def _types(layout: Layout, data: bytes | bytearray) -> Types:
    section = layout.section(b".BTF")
    start = section.offset
    hdr_len, type_off, type_len, str_off, str_len = struct.unpack_from(
        f"{layout.mark}5I", data, start + 4
    )
    at, end = (start + hdr_len + offset for offset in (type_off, type_off + type_len))
    types = []
    while at < end:
        info = layout.word(data, at + 4)
        kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
        fixed, each = _WORDS.get(kind, (0, 0))
        types.append(Type(at, kind, vlen, fixed + each * vlen))
        at += 12 + 4 * types[-1].words
    return Types(section, start + hdr_len + str_off, str_len, tuple(types))


def _record(
    rng: Random, data: bytearray, layout: Layout, at: int, fields: Sequence[tuple[int, int]]
) -> None:
    offset, width = rng.choice(fields)
    others = [s.size for s in layout.sections] + [s.offset for s in layout.sections]
    set_field(rng, data, at + offset, width, layout.order, (*others, len(layout.sections)))


def _header(rng: Random, data: bytearray, layout: Layout) -> None:
    _record(rng, data, layout, 0, _EHDR)


def _section_header(rng: Random, data: bytearray, layout: Layout) -> None:
    _record(rng, data, layout, rng.choice(layout.sections).header, _SHDR)


def _symbol(rng: Random, data: bytearray, layout: Layout) -> None:
    table = layout.section(b".symtab")
    at = rng.choice(_steps(table.offset, table.size // SYM_SIZE, SYM_SIZE))
    _record(rng, data, layout, at, _SYM)


def _relocation(rng: Random, data: bytearray, layout: Layout) -> None:
    table = rng.choice([s for s in layout.sections if s.name.startswith(b".rel") and s.size])
    at = rng.choice(_steps(table.offset, table.size // REL_SIZE, REL_SIZE))
    _record(rng, data, layout, at, _REL)


def _content(rng: Random, data: bytearray, layout: Layout) -> None:
    section = rng.choice(layout.sections)
    if section.type != _SHT_NOBITS:
        in_place(rng, data, section.offset, section.end, layout.order)


def _type(rng: Random, data: bytearray, layout: Layout) -> None:
    btf = _types(layout, data)
    found = rng.choice(btf.types)
    info = layout.word(data, found.at + 4)
    how = rng.randrange(6)
    if how == 0:  # another kind
        layout.pack(data, "I", found.at + 4, info & ~0x1F000000 | rng.randrange(_KINDS) << 24)
    elif how == 1:
        vlen = number(rng, found.vlen) & 0xFFFF
        layout.pack(data, "I", found.at + 4, info & ~0xFFFF | vlen)
    elif how == 2:
        layout.pack(data, "I", found.at + 4, info ^ 1 << 31)
    else:  # its size, type, members: another type's number, its own, or a wrong one
        word = rng.choice((8, 8, *(12 + 4 * n for n in range(min(found.words, 16)))))
        own = btf.types.index(found) + 1
        other = rng.randint(0, len(btf.types) + 1)
        set_field(rng, data, found.at + word, 4, layout.order, (own, other, other))


def _type_name(rng: Random, data: bytearray, layout: Layout) -> None:
    """A type or a member of it gets a hostile name, or one that others have."""
    btf = _types(layout, data)
    found = rng.choice(btf.types)
    _, each = _WORDS.get(found.kind, (0, 0))
    at = found.at
    if found.kind in _NAMED and found.vlen and rng.random() < 0.5:
        at += 12 + 4 * each * rng.randrange(found.vlen)
    if rng.random() < 0.3:
        layout.pack(data, "I", at, layout.word(data, rng.choice(btf.types).at))
        return
    name = rng.choice(NAMES)
    layout.pack(data, "I", at, btf.strings_size)
    layout.pack(data, "I", btf.section.offset + 20, btf.strings_size + len(name) + 1)
    start, end = btf.section.offset, btf.strings + btf.strings_size
    layout.moved(data, btf.section, bytes(data[start:end]) + name + b"\0")


def _elf_name(rng: Random, data: bytearray, layout: Layout) -> None:
    """A section or a symbol gets a hostile name."""
    strings, symbols = layout.section(b".strtab"), layout.section(b".symtab")
    name = rng.choice(NAMES)
    if rng.random() < 0.3:  # what libbpf goes by stays
        name = rng.choice((b"tp_btf/", b"kprobe/", b"raw_tp/", b".data.", b".rodata.")) + name
    records = [s.header for s in layout.sections]
    if rng.random() < 0.6:
        records = list(_steps(symbols.offset, symbols.size // SYM_SIZE, SYM_SIZE))
    layout.pack(data, "I", rng.choice(records), strings.size)
    content = bytes(data[strings.offset : strings.end]) + name + b"\0"
    layout.moved(data, strings, content)


def _string(rng: Random, data: bytearray, layout: Layout) -> None:
    """A string becomes a hostile one of the same length, in all places that it is used in."""
    btf = _types(layout, data)
    strings = layout.section(b".strtab")
    places = ((strings.offset, strings.end), (btf.strings, btf.strings + btf.strings_size))
    start, end = rng.choice(places)
    at = data.index(0, rng.randrange(start, end)) + 1
    length = data.index(0, at) - at
    if at + length < end:
        data[at : at + length] = rng.choice(NAMES).replace(b"\0", b"?")[:length].ljust(length, b"x")


def _renamed(rng: Random, data: bytearray, layout: Layout) -> None:
    """A name becomes a hostile one wherever it is: in the sections, symbols and BTF."""
    strings = layout.section(b".strtab")
    at = data.index(0, rng.randrange(strings.offset, strings.end)) + 1
    old = bytes(data[at : data.index(0, at)])
    if not old:
        return
    new = rng.choice(NAMES).replace(b"\0", b"?")[: len(old)].ljust(len(old), b"x")
    data[:] = data.replace(b"\0" + old + b"\0", b"\0" + new + b"\0")


def _extension(rng: Random, data: bytearray, layout: Layout) -> None:
    """A word of BTF.ext: of its header, of a section of records, of a record."""
    section = layout.section(b".BTF.ext")
    words = section.size // 4
    word = rng.randrange(min(words, 16) if rng.random() < 0.5 else words)
    others = (section.size, words, rng.randrange(256))
    set_field(rng, data, section.offset + 4 * word, 4, layout.order, others)


Change = Callable[[Random, bytearray, Layout], None]
_CHANGES: tuple[Change, ...] = (
    *(_header, _section_header, _section_header, _symbol, _symbol, _relocation, _content),
    *(_type, _type, _type, _type_name, _type_name, _elf_name, _elf_name, _string, _renamed),
    _extension,
)


def _spliced(rng: Random, data: bytearray, other: bytes) -> None:
    """A section gets what one of another object holds, of the same name where there is one."""
    layout, theirs = Layout(data), Layout(other)
    section = rng.choice(layout.sections)
    same = [s for s in theirs.sections if s.name == section.name and s.type != _SHT_NOBITS]
    source = rng.choice(same or [s for s in theirs.sections if s.type != _SHT_NOBITS])
    layout.moved(data, section, other[source.offset : source.end])


def damaged_elf(rng: Random, seed: bytes, other: bytes) -> bytes:
    """An object, damaged in a few places; `other` is one to take parts of."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        try:
            if rng.random() < 0.05:
                _spliced(rng, data, other)
            else:
                rng.choice(_CHANGES)(rng, data, Layout(data))
        except _UNREADABLE:
            in_place(rng, data, 0, len(data))
    if rng.random() < 0.03:
        resize(rng, data)
    if len(data) >= EHDR_SIZE and rng.random() < 0.02:
        in_place(rng, data, 0, EHDR_SIZE)
    return bytes(data)
