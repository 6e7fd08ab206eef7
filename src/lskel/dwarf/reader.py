"""Reading DWARF 4 and 5 of relocatable BPF objects, as clang and gcc write it.

The entries of all units are read at once, with the few attributes that types and functions need.
Locations, line tables and macros are not read. BadObject if a table is damaged, NotSupported for
other versions and 64-bit DWARF, LimitExceeded for more than any real object has.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from lskel import budget
from lskel.cursor import Strings, mark
from lskel.dwarf.constants import Attr, Form, Tag
from lskel.elf.object import Elf
from lskel.errors import BadObject, NotSupported, at

_INFO, _ABBREV, _STR = ".debug_info", ".debug_abbrev", ".debug_str"
_STR_OFFSETS, _ADDR, _LINE_STR = ".debug_str_offsets", ".debug_addr", ".debug_line_str"
# Bytes of DW_UT_skeleton's id, and of a type unit's signature and offset.
_UNIT_HEADS = {1: 0, 2: 12, 3: 0, 4: 8, 5: 8, 6: 12}
_ADDRESS_SIZE = 8
_TYPE_TAGS = (Tag.STRUCTURE_TYPE, Tag.UNION_TYPE, Tag.ENUMERATION_TYPE, Tag.TYPEDEF)

_FIXED: dict[int, int] = {
    Form.DATA1: 1,
    Form.DATA2: 2,
    Form.DATA4: 4,
    Form.DATA8: 8,
    Form.DATA16: 16,
    Form.REF1: 1,
    Form.REF2: 2,
    Form.REF4: 4,
    Form.REF8: 8,
    Form.REF_SIG8: 8,
    Form.STRX1: 1,
    Form.STRX2: 2,
    Form.STRX3: 3,
    Form.STRX4: 4,
    Form.ADDRX1: 1,
    Form.ADDRX2: 2,
    Form.ADDRX3: 3,
    Form.ADDRX4: 4,
    Form.STRP: 4,
    Form.LINE_STRP: 4,
    Form.SEC_OFFSET: 4,
    Form.REF_ADDR: 4,
    Form.ADDR: _ADDRESS_SIZE,
    Form.FLAG: 1,
}
_ULEB = frozenset({Form.UDATA, Form.REF_UDATA, Form.STRX, Form.ADDRX, Form.LOCLISTX, Form.RNGLISTX})
_BLOCKS: dict[int, int] = {Form.BLOCK1: 1, Form.BLOCK2: 2, Form.BLOCK4: 4}
_IN_UNIT = frozenset({Form.REF1, Form.REF2, Form.REF4, Form.REF8, Form.REF_UDATA})
_INDEXED_STRINGS = frozenset({Form.STRX, Form.STRX1, Form.STRX2, Form.STRX3, Form.STRX4})
_INDEXED_ADDRESSES = frozenset({Form.ADDRX, Form.ADDRX1, Form.ADDRX2, Form.ADDRX3, Form.ADDRX4})
_KEPT = frozenset(map(int, Attr))


class Unit(NamedTuple):
    """A compilation unit; the bases are those of its DWARF 5 tables."""

    offset: int
    bases: dict[int, int]


class Value(NamedTuple):
    """An attribute's value as stored: a number, or the text of an inline string."""

    form: int
    number: int
    text: bytes = b""


class Entry(NamedTuple):
    """A debugging information entry."""

    offset: int
    tag: int
    unit: Unit
    attrs: dict[int, Value]
    children: list[Entry]

    def number(self, attr: Attr, default: int = 0) -> int:
        """An attribute that is a number."""
        value = self.attrs.get(attr)
        return default if value is None else value.number

    def inside(self) -> Iterator[Entry]:
        """All entries in this one, at any depth."""
        pending = list(reversed(self.children))
        while pending:
            entry = pending.pop()
            yield entry
            pending += reversed(entry.children)


class FunctionCode(NamedTuple):
    """The bytes of a section that a function's entry describes."""

    start: int
    end: int
    entry: Entry


class _Abbreviation(NamedTuple):
    tag: int
    has_children: bool
    # Attribute, form, and the value of DW_FORM_implicit_const.
    attrs: tuple[tuple[int, int, int], ...]


class Dwarf:
    """The debug information of an object, read on first use."""

    def __init__(self, elf: Elf) -> None:
        self._elf = elf
        self._attributes = budget.Allowance(budget.DWARF_ATTRIBUTES, "attributes in DWARF")
        self._tables: dict[int, dict[int, _Abbreviation]] = {}
        self._by_offset: dict[int, Entry] = {}
        self._order = elf.order

    # -- entries --------------------------------------------------------------------------------

    @cached_property
    def units(self) -> tuple[Entry, ...]:
        """The entry of each unit."""
        with at(f"section {_INFO}"):
            try:
                return tuple(self._units())
            except (IndexError, struct.error) as error:
                raise BadObject("an entry is cut off") from error

    def _units(self) -> Iterator[Entry]:
        data = self._content(_INFO)
        start = 0
        while start < len(data):
            self._attributes.spend(budget.DWARF_ENTRY)
            length, version = struct.unpack_from(mark(self._order) + "IH", data, start)
            if length >= 0xFFFFFFF0:
                raise NotSupported("64-bit DWARF")
            if version not in (4, 5):
                raise NotSupported(f"DWARF version {version}")
            end = start + 4 + length
            if end > len(data):
                raise BadObject(f"the unit at {start:#x} is cut off")
            if version == 5:
                kind, size, abbrevs = struct.unpack_from(mark(self._order) + "BBI", data, start + 6)
                head = 12 + _UNIT_HEADS.get(kind, 0)
            else:
                abbrevs, size = struct.unpack_from(mark(self._order) + "IB", data, start + 6)
                head = 11
            if size != _ADDRESS_SIZE:
                raise NotSupported(f"addresses of {size} bytes")
            top = self._entries(data, start, start + head, end, self._abbreviations(abbrevs))
            if top is not None:
                yield top
            start = end

    def _entries(
        self, data: bytes, start: int, pos: int, end: int, table: dict[int, _Abbreviation]
    ) -> Entry | None:
        """The first entry of a unit, with all that are in it."""
        unit = Unit(start, {})
        top: Entry | None = None
        parents: list[Entry] = []
        while pos < end:
            offset = pos
            code, pos = _uleb(data, pos)
            if not code:
                if parents:
                    parents.pop()
                if not parents:
                    break
                continue
            abbreviation = table.get(code)
            if abbreviation is None:
                raise BadObject(f"the entry at {offset:#x} has unknown abbreviation {code}")
            attrs: dict[int, Value] = {}
            self._attributes.spend(budget.DWARF_ENTRY + len(abbreviation.attrs))
            for attr, form, constant in abbreviation.attrs:
                value, pos = self._value(data, pos, form, constant)
                if attr in _KEPT:
                    attrs[attr] = value
            if pos > end:
                raise BadObject(f"the entry at {offset:#x} is cut off")
            entry = Entry(offset, abbreviation.tag, unit, attrs, [])
            self._by_offset[offset] = entry
            if parents:
                parents[-1].children.append(entry)
            if top is None:
                top = entry
                for attr in (Attr.STR_OFFSETS_BASE, Attr.ADDR_BASE):
                    unit.bases[attr] = entry.number(attr, 8)
            if abbreviation.has_children:
                parents.append(entry)
            elif not parents:
                break
        return top

    def _value(self, data: bytes, pos: int, form: int, constant: int) -> tuple[Value, int]:
        if form in _FIXED:
            size = _FIXED[form]
            end = pos + size
            number = int.from_bytes(data[pos:end], self._order)
            if form == Form.ADDR:  # addresses are relocated: kept by their place
                number = pos
            return Value(form, number), end
        if form in _ULEB:
            number, pos = _uleb(data, pos)
            return Value(form, number), pos
        if form == Form.SDATA:
            number, pos = _sleb(data, pos)
            return Value(form, number), pos
        if form == Form.FLAG_PRESENT:
            return Value(form, 1), pos
        if form == Form.IMPLICIT_CONST:
            return Value(form, constant), pos
        if form == Form.STRING:
            end = data.find(0, pos)
            if not 0 <= end - pos <= budget.NAME:
                raise BadObject(f"the string at {pos:#x} does not end")
            return Value(form, 0, data[pos:end]), end + 1
        if form in (Form.EXPRLOC, Form.BLOCK):
            size, pos = _uleb(data, pos)
            return Value(form, 0), pos + size
        if form in _BLOCKS:
            size = int.from_bytes(data[pos : pos + _BLOCKS[form]], self._order)
            return Value(form, 0), pos + _BLOCKS[form] + size
        if form == Form.INDIRECT:
            form, pos = _uleb(data, pos)
            if form not in (Form.INDIRECT, Form.IMPLICIT_CONST):
                return self._value(data, pos, form, 0)
        raise NotSupported(f"form {form:#x} of an attribute")

    def _abbreviations(self, start: int) -> dict[int, _Abbreviation]:
        if start not in self._tables:
            with at(f"section {_ABBREV}"):
                self._tables[start] = dict(self._read_abbreviations(start))
        return self._tables[start]

    def _read_abbreviations(self, pos: int) -> Iterator[tuple[int, _Abbreviation]]:
        data = self._content(_ABBREV)
        while True:
            code, pos = _uleb(data, pos)
            if not code:
                return
            tag, pos = _uleb(data, pos)
            has_children = bool(data[pos])
            pos += 1
            attrs = []
            while True:
                attr, pos = _uleb(data, pos)
                form, pos = _uleb(data, pos)
                constant = 0
                if form == Form.IMPLICIT_CONST:
                    constant, pos = _sleb(data, pos)
                if not attr:
                    break
                attrs.append((attr, form, constant))
                self._attributes.spend()
            self._attributes.spend()
            yield code, _Abbreviation(tag, has_children, tuple(attrs))

    # -- what they say --------------------------------------------------------------------------

    def name(self, entry: Entry) -> str:
        """The entry's name; empty if it has none."""
        value = entry.attrs.get(Attr.NAME)
        if value is None:
            return ""
        if value.form == Form.STRING:
            return value.text.decode("utf-8", "backslashreplace")
        offset = value.number
        if value.form == Form.LINE_STRP:
            return self._strings(_LINE_STR)[offset]
        if value.form in _INDEXED_STRINGS:
            place = entry.unit.bases[Attr.STR_OFFSETS_BASE] + 4 * offset
            offset = self._number(_STR_OFFSETS, place, 4)
        return self._strings(_STR)[offset]

    def follow(self, entry: Entry, attr: Attr) -> Entry | None:
        """The entry that an attribute refers to; None without the attribute."""
        value = entry.attrs.get(attr)
        if value is None:
            return None
        start = entry.unit.offset if value.form in _IN_UNIT else 0
        found = self._by_offset.get(start + value.number)
        if found is None:
            raise BadObject(f"section {_INFO}: no entry at {start + value.number:#x}")
        return found

    def origin(self, entry: Entry) -> Entry:
        """The entry that has the name and the type of an inlined or a concrete one."""
        for _ in range(_CHAIN):
            found = self.follow(entry, Attr.ABSTRACT_ORIGIN) or self.follow(
                entry, Attr.SPECIFICATION
            )
            if found is None:
                return entry
            entry = found
        raise BadObject(f"section {_INFO}: the origin of {entry.offset:#x} is not found")

    @cached_property
    def types(self) -> dict[str, Entry]:
        """The structs, unions, enums and typedefs with a name, the first of each name."""
        found: dict[tuple[bool, str], Entry] = {}
        for unit in self.units:
            for entry in unit.children:
                if entry.tag in _TYPE_TAGS and Attr.DECLARATION not in entry.attrs:
                    found.setdefault((entry.tag == Tag.TYPEDEF, self.name(entry)), entry)
        # A tag goes before the typedef of its name.
        return {name: found[key] for key in sorted(found, reverse=True) if (name := key[1])}

    def function_at(self, section: str, offset: int) -> Entry | None:
        """The entry of the function whose code is at a byte of a section."""
        found = self._elf.section(section)
        codes = self._functions.get(found.number, ()) if found is not None else ()
        before = bisect_right(codes, offset, key=lambda code: code.start)
        if before and offset < codes[before - 1].end:
            return codes[before - 1].entry
        return None

    @cached_property
    def _functions(self) -> dict[int, list[FunctionCode]]:
        """By section, in order; of those that start at one place, the first."""
        found: dict[int, dict[int, FunctionCode]] = {}
        for unit in self.units:
            for entry in unit.children:
                low = entry.attrs.get(Attr.LOW_PC)
                if entry.tag == Tag.SUBPROGRAM and low is not None and Attr.HIGH_PC in entry.attrs:
                    section, start = self._address(entry.unit, low)
                    end = start + entry.number(Attr.HIGH_PC)
                    code = FunctionCode(start, end, entry)
                    found.setdefault(section, {}).setdefault(start, code)
        return {section: [codes[at] for at in sorted(codes)] for section, codes in found.items()}

    def _address(self, unit: Unit, value: Value) -> tuple[int, int]:
        """The section of an address, and the offset in it."""
        name, place = _INFO, value.number
        if value.form in _INDEXED_ADDRESSES:
            name, place = _ADDR, unit.bases[Attr.ADDR_BASE] + _ADDRESS_SIZE * value.number
        section, added = self._relocations(name).get(place, (0, 0))
        return section, added + self._number(name, place, _ADDRESS_SIZE)

    # -- sections -------------------------------------------------------------------------------

    def _content(self, name: str) -> bytes:
        section = self._elf.section(name)
        return b"" if section is None else self._elf.content(section)

    def _number(self, name: str, place: int, size: int) -> int:
        """A number of a section. Of offsets, what the relocation adds is 0."""
        data = self._content(name)[place : place + size]
        if len(data) < size:
            raise BadObject(f"section {name}: nothing at {place:#x}")
        return int.from_bytes(data, self._order)

    def _strings(self, name: str) -> Strings:
        if name not in self._tables_of_strings:
            what = f"section {name}"
            self._tables_of_strings[name] = Strings(self._content(name), what, budget.NAME)
        return self._tables_of_strings[name]

    @cached_property
    def _tables_of_strings(self) -> dict[str, Strings]:
        return {}

    def _relocations(self, name: str) -> dict[int, tuple[int, int]]:
        """Section and value of the symbols that relocations of a section add, by place."""
        if name not in self._places:
            section = self._elf.section(name)
            self._places[name] = {
                rel.offset: (symbol.section, symbol.value)
                for table in (self._elf.tables_of(section) if section is not None else ())
                for rel, symbol in self._elf.relocations(table)
            }
        return self._places[name]

    @cached_property
    def _places(self) -> dict[str, dict[int, tuple[int, int]]]:
        return {}


# Entries from a concrete function to its declaration.
_CHAIN = 8


def _uleb(data: bytes, pos: int) -> tuple[int, int]:
    """An unsigned number in groups of seven bits, and where it ends."""
    byte = data[pos]
    pos += 1
    if byte < 0x80:
        return byte, pos
    number, shift = byte & 0x7F, 7
    while True:
        byte = data[pos]
        pos += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, pos
        if shift > 63:
            raise BadObject(f"the number at {pos:#x} does not fit 64 bits")


def _sleb(data: bytes, pos: int) -> tuple[int, int]:
    """A signed number in groups of seven bits, and where it ends."""
    start = pos
    number, pos = _uleb(data, pos)
    bits = 7 * (pos - start)
    return number - (1 << bits) if number >> bits - 1 else number, pos
