"""Functions of ELF files: where they begin in the file, which is how uprobes name places.

Programs and shared libraries of any class and byte order; the file is mapped, and of its symbols
only those are looked at that were asked for. Source: the gABI (System V ABI, chapters 4 and 5).
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from functools import cached_property

from lskel.cursor import mark
from lskel.elf.format import PT_LOAD, SHN_UNDEF, Bind, SectionType, SymbolType
from lskel.elf.reader import ElfReader
from lskel.errors import BadInput, LskelError, NotFound, UsageError
from lskel.named import NamedTuple
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from lskel.elf.reader import Section

# Looked up once: these are compared with each symbol's.
_FUNC, _IFUNC, _LOCAL = SymbolType.FUNC, SymbolType.GNU_IFUNC, Bind.LOCAL
# A symbol of .dynsym with this bit in .gnu.version is an old version, kept for old programs.
_VERSYM_HIDDEN = 0x8000
_CLOSE_NAMES = 3


class Segment(NamedTuple):
    """A part of the file that is mapped: `size` bytes from `offset` go to `address`."""

    address: int
    offset: int
    size: int


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


class ElfFile(ElfReader):
    """A program or shared library, mapped until `close`; a context manager.

    NotFound where there is no such file, KernelError where it cannot be opened, BadInput where it
    is not ELF or damaged.
    """

    data: mmap.mmap

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        mapped = _mapped(self.path)
        try:
            super().__init__(mapped, _script_hint(mapped[:2]))
        except BaseException:
            mapped.close()
            raise

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The parts that are mapped; none where the file is not linked."""
        header = self.header
        rows = self._table(self._class.segment, header.phoff, header.phnum, "the program headers")
        return tuple(
            Segment(address, offset, size)
            for kind, _, offset, address, _, size, *_ in rows
            if kind == PT_LOAD
        )

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
        # A file has at most one section of each of these types.
        tables = {section.type: section for section in reversed(self.sections)}
        versions = self._versions(tables.get(SectionType.GNU_VERSYM))
        for kind, numbers in ((SectionType.DYNSYM, versions), (SectionType.SYMTAB, ())):
            if table := tables.get(kind):
                yield from self._functions_of(table, numbers, wanted)

    def _functions_of(
        self, table: Section, versions: tuple[int, ...], wanted: Collection[str]
    ) -> Iterator[_Symbol]:
        strings = self.strings_of(table)
        places = set().union(*(_places(strings, name.encode()) for name in wanted))
        names = self.symbol_names(table)
        for number, (name_at, info, _, section, value, _) in enumerate(self.symbol_rows(table)):
            if wanted and name_at not in places:
                continue
            kind = info & 0xF
            if section == SHN_UNDEF or kind not in (_FUNC, _IFUNC):
                continue
            # In .symtab linkers write "memcpy@@GLIBC_2.14", and one @ for old versions.
            name, sign, version = names[name_at].partition("@")
            old = bool(sign) and not version.startswith("@")
            old |= number < len(versions) and bool(versions[number] & _VERSYM_HIDDEN)
            rank = 2 * (info >> 4 == _LOCAL) + old
            yield _Symbol(name, section, value, rank, kind == _IFUNC)

    def _versions(self, section: Section | None) -> tuple[int, ...]:
        """A number for each symbol of .dynsym; none where the file has no versions."""
        content = self.content(section) if section else b""
        return struct.unpack_from(f"{mark(self.order)}{len(content) // 2}H", content)

    def _no_function(self, name: str) -> NotFound:
        import difflib

        known = {symbol.name for symbol in self._symbols()}
        hint = "the file is stripped: take an offset" if not known else ""
        if close := difflib.get_close_matches(name, known, _CLOSE_NAMES):
            hint = f"there is {', '.join(close)}"
        elif known and self.section(".symtab") is None:
            hint = "the file is stripped but for what it exports: take an offset"
        return NotFound(f"there is no function '{name}'", hint=hint)

    def close(self) -> None:
        """Unmap the file; does nothing the second time."""
        self.data.close()

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


def _places(strings: bytes, name: bytes) -> set[int]:
    """Where a name stands in a table of strings, also at the end of others, with or without @."""
    found = set()
    place = strings.find(name)
    while place >= 0:
        if strings[place + len(name) : place + len(name) + 1] in (b"\0", b"@"):
            found.add(place)
        place = strings.find(name, place + 1)
    return found
