"""Functions of ELF files: where they begin in the file, which is how uprobes name places.

Programs and shared libraries of any class and byte order; the file is mapped, and of its symbols
only those are looked at that were asked for. Source: the gABI (System V ABI, chapters 4 and 5).
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from enum import IntEnum

from lskel.errors import BadInput, LskelError, NotFound, UsageError
from lskel.named import NamedTuple
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_IDENT_SIZE = 16
_PT_LOAD = 1
_SHN_UNDEF = 0
_SHN_XINDEX = 0xFFFF
_STB_LOCAL = 0
_STT_FUNC = 2
_STT_GNU_IFUNC = 10
# A symbol of .dynsym with this bit in .gnu.version is an old version, kept for old programs.
_VERSYM_HIDDEN = 0x8000
_CLOSE_NAMES = 3


class SectionType(IntEnum):
    """The types of sections that matter here."""

    SYMTAB = 2
    NOTE = 7
    NOBITS = 8
    DYNSYM = 11
    GNU_VERSYM = 0x6FFFFFFF


class _Class(NamedTuple):
    """What differs between 32 and 64 bits: formats of the headers, and places of their fields.

    `segment_fields`: type, offset, vaddr, filesz; `symbol_fields`: name, info, section, value.
    """

    header: str
    segment: str
    segment_fields: tuple[int, int, int, int]
    section: str
    symbol: str
    symbol_fields: tuple[int, int, int, int]


_CLASSES = {
    1: _Class("HHIIIIIHHHHHH", "8I", (0, 1, 2, 4), "10I", "IIIBBH", (0, 3, 5, 1)),
    2: _Class("HHIQQQIHHHHHH", "IIQQQQQQ", (0, 2, 3, 5), "IIQQQQIIQQ", "IBBHQQ", (0, 1, 3, 4)),
}
_MARKS = {1: "<", 2: ">"}


class Segment(NamedTuple):
    """A part of the file that is mapped: `size` bytes from `offset` go to `address`."""

    address: int
    offset: int
    size: int


class Section(NamedTuple):
    """A section's header; `size` in bytes, `link` the number of another section."""

    name: str
    type: int
    address: int
    offset: int
    size: int
    link: int


class Function(NamedTuple):
    """A function: its name without a version, and where it begins in the file."""

    name: str
    offset: int


class _Symbol(NamedTuple):
    """A function's symbol. Of those of one name the lowest `rank` is meant."""

    name: str
    section: int
    address: int
    rank: int
    chosen_at_run_time: bool


class ElfFile:
    """A program or shared library, mapped until `close`; a context manager.

    NotFound where there is no such file, KernelError where it cannot be opened, BadInput where it
    is not ELF or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._data = _mapped(self.path)
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        ident = self._data[:_IDENT_SIZE]
        if ident[:4] != b"\x7fELF":
            raise BadInput("not an ELF file", hint=_script_hint(ident))
        known = len(ident) == _IDENT_SIZE and ident[4] in _CLASSES and ident[5] in _MARKS
        if not known:
            raise BadInput("neither 32- nor 64-bit ELF of a known byte order")
        self.bits = 32 * ident[4]
        self.mark = _MARKS[ident[5]]
        self._class = _CLASSES[ident[4]]
        (
            _,
            self.machine,
            _,
            _,
            segments,
            sections,
            _,
            _,
            size,
            count,
            section_size,
            number,
            names,
        ) = self._unpack(self._class.header, _IDENT_SIZE, 1, "the header")[0]
        self.segments = self._read_segments(segments, count if size else 0)
        self.sections = self._read_sections(sections, number, names) if section_size else ()

    def _read_segments(self, offset: int, count: int) -> tuple[Segment, ...]:
        kind, start, address, size = self._class.segment_fields
        headers = self._unpack(self._class.segment, offset, count, "the program headers")
        return tuple(
            Segment(header[address], header[start], header[size])
            for header in headers
            if header[kind] == _PT_LOAD
        )

    def _read_sections(self, offset: int, count: int, names_at: int) -> tuple[Section, ...]:
        if not offset:
            return ()
        # Numbers that do not fit stand in the first section's header.
        (first,) = self._unpack(self._class.section, offset, 1, "the first section header")
        headers = self._unpack(self._class.section, offset, count or first[5], "section headers")
        names_at = first[6] if names_at == _SHN_XINDEX else names_at
        if names_at >= len(headers):
            raise BadInput(f"the names of sections are in section {names_at} of {len(headers)}")
        names = self._bytes(headers[names_at][4], headers[names_at][5], "the names of sections")
        return tuple(
            Section(_string(names, name), kind, address, start, size, link)
            for name, kind, _, address, start, size, link, *_ in headers
        )

    def content(self, section: Section) -> bytes:
        """A section's bytes; those of type NOBITS have none."""
        if section.type == SectionType.NOBITS:
            return b""
        return self._bytes(section.offset, section.size, f"section {section.name}")

    def section(self, name: str) -> Section | None:
        """The first section of this name."""
        return next((section for section in self.sections if section.name == name), None)

    def file_offset(self, address: int) -> int:
        """Where in the file lies what is mapped to an address; NotFound where nothing is."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        raise NotFound(f"address {address:#x} is not in the file")

    def _symbol_offset(self, symbol: _Symbol) -> int:
        if self.segments or symbol.section >= len(self.sections):
            return self.file_offset(symbol.address)
        # An object that is not linked: addresses are within sections.
        section = self.sections[symbol.section]
        return symbol.address - section.address + section.offset

    def function_offset(self, name: str) -> int:
        """Where in the file a function begins; errors as of `function_offsets`."""
        return self.function_offsets((name,))[0]

    def function_offsets(self, names: Collection[str]) -> list[int]:
        """Where in the file functions begin.

        Of functions that share a name it is the exported one, in its default version. NotFound
        where there is none, with the names that are close; UsageError where several are left, or
        the function has variants of which one is chosen at run time (IFUNC).
        """
        found: dict[str, list[_Symbol]] = {name: [] for name in names}
        for symbol in self._symbols(found):
            if symbol.name in found:
                found[symbol.name].append(symbol)
        return [self._meant(name, found[name]) for name in names]

    def _meant(self, name: str, found: list[_Symbol]) -> int:
        if not found:
            raise self._no_function(name)
        rank = min(symbol.rank for symbol in found)
        best = {self._symbol_offset(symbol): symbol for symbol in found if symbol.rank == rank}
        if len(best) > 1:
            offsets = ", ".join(f"{offset:#x}" for offset in sorted(best))
            raise UsageError(
                f"there are {len(best)} functions '{name}'", hint=f"take an offset: {offsets}"
            )
        ((offset, symbol),) = best.items()
        if symbol.chosen_at_run_time:
            raise UsageError(
                f"'{name}' stands for several functions, of which one is chosen at run time",
                hint="attach to those: 'readelf -sW' shows them, unless the file is stripped",
            )
        return offset

    def functions(self, matches: Callable[[str], bool]) -> tuple[Function, ...]:
        """The functions whose names match, by place; one for each place, whatever its names."""
        found: dict[int, str] = {}
        for symbol in self._symbols():
            if matches(symbol.name) and not symbol.chosen_at_run_time:
                found.setdefault(self._symbol_offset(symbol), symbol.name)
        return tuple(Function(name, offset) for offset, name in sorted(found.items()))

    def _symbols(self, wanted: Collection[str] = ()) -> Iterator[_Symbol]:
        """The symbols of functions; with `wanted` those that may have these names: much faster."""
        name_at, info_at, section_at, value_at = self._class.symbol_fields
        record = struct.Struct(self.mark + self._class.symbol)
        for table in self.sections:
            if table.type not in (SectionType.SYMTAB, SectionType.DYNSYM):
                continue
            if table.link >= len(self.sections):
                raise BadInput(f"the strings of section {table.name} are in section {table.link}")
            strings = self.content(self.sections[table.link])
            names = set().union(*(_places(strings, name.encode()) for name in wanted))
            content = self.content(table)
            versions = self._versions() if table.type == SectionType.DYNSYM else ()
            whole = content[: len(content) // record.size * record.size]
            for number, symbol in enumerate(record.iter_unpack(whole)):
                if wanted and symbol[name_at] not in names:
                    continue
                kind = symbol[info_at] & 0xF
                if symbol[section_at] == _SHN_UNDEF or kind not in (_STT_FUNC, _STT_GNU_IFUNC):
                    continue
                # In .symtab linkers write "memcpy@@GLIBC_2.14", and one @ for old versions.
                name, mark, version = _string(strings, symbol[name_at]).partition("@")
                old = bool(mark) and not version.startswith("@")
                old |= number < len(versions) and bool(versions[number] & _VERSYM_HIDDEN)
                local = symbol[info_at] >> 4 == _STB_LOCAL
                yield _Symbol(
                    name,
                    symbol[section_at],
                    symbol[value_at],
                    2 * local + old,
                    kind == _STT_GNU_IFUNC,
                )

    def _versions(self) -> tuple[int, ...]:
        """A number for each symbol of .dynsym; none where the file has no versions."""
        for section in self.sections:
            if section.type == SectionType.GNU_VERSYM:
                content = self.content(section)
                return struct.unpack_from(f"{self.mark}{len(content) // 2}H", content)
        return ()

    def _no_function(self, name: str) -> NotFound:
        import difflib

        known = {symbol.name for symbol in self._symbols()}
        hint = "the file is stripped: take an offset" if not known else ""
        if close := difflib.get_close_matches(name, known, _CLOSE_NAMES):
            hint = f"there is {', '.join(close)}"
        elif known and self.section(".symtab") is None:
            hint = "the file is stripped but for what it exports: take an offset"
        return NotFound(f"there is no function '{name}'", hint=hint)

    def _bytes(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self._data):
            raise BadInput(f"{what} leave the file of {len(self._data):#x} bytes")
        return self._data[offset : offset + size]

    def _unpack(self, fmt: str, offset: int, count: int, what: str) -> list[tuple[int, ...]]:
        record = struct.Struct(self.mark + fmt)
        return list(record.iter_unpack(self._bytes(offset, count * record.size, what)))

    def close(self) -> None:
        """Unmap the file; does nothing the second time."""
        self._data.close()

    def __enter__(self) -> ElfFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mapped(path: str) -> mmap.mmap:
    try:
        # To open a FIFO would wait for whoever writes to it, and a device may do anything.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - pathlib is slow to import
            raise LskelError(f"'{path}' is not a regular file")
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no file '{path}'") from error
    except OSError as error:
        raise KernelError(f"open({path})", error.errno or 0) from error
    try:
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise BadInput("the file is empty") from error
    except OSError as error:
        raise KernelError(f"mmap({path})", error.errno or 0) from error
    finally:
        os.close(fd)


def _script_hint(start: bytes) -> str:
    return "a script: give the program that runs it" if start[:2] == b"#!" else ""


def _string(strings: bytes, offset: int) -> str:
    end = strings.find(0, offset)
    if not 0 <= offset < len(strings) or end < 0:
        raise BadInput(f"there is no string at {offset:#x}")
    return strings[offset:end].decode("utf-8", "backslashreplace")


def _places(strings: bytes, name: bytes) -> set[int]:
    """Where a name stands in a table of strings, also at the end of others, with or without @."""
    found = set()
    place = strings.find(name)
    while place >= 0:
        if strings[place + len(name) : place + len(name) + 1] in (b"\0", b"@"):
            found.add(place)
        place = strings.find(name, place + 1)
    return found
