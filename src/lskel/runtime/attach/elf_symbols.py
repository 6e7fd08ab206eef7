"""Function symbols of ELF files, and their file offsets, which uprobes use.

For programs and shared libraries of any class and byte order; the file is mapped, and only symbols
with requested names are decoded. Source: the gABI (System V ABI, chapters 4 and 5), and "Symbol
Versioning" of the Linux Standard Base.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from contextlib import suppress
from functools import cached_property

from lskel.cursor import mark
from lskel.elf.format import PT_LOAD, SHN_UNDEF, Bind, SectionType, SymbolType
from lskel.elf.reader import ElfReader
from lskel.errors import BadInput, LskelError, NotFound, UsageError
from lskel.light_typing import NamedTuple
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from lskel.elf.reader import Section

# Looked up once, as they are compared with each symbol's.
_FUNC, _IFUNC, _LOCAL = SymbolType.FUNC, SymbolType.GNU_IFUNC, Bind.LOCAL
# A .dynsym symbol with this bit in .gnu.version is an old version, for old programs.
_VERSYM_HIDDEN = 0x8000
# struct Elf_Verdef: version, flags, index, number of names, hash, offsets of the first name and of
# the next; the name is that of Elf_Verdaux. The same in both classes.
_VERDEF = "HHHHIII"
_CLOSE_NAMES = 3


class Segment(NamedTuple):
    """A loadable segment: `size` bytes at `offset` are mapped to `address`."""

    address: int
    offset: int
    size: int


class ElfFunction(NamedTuple):
    """A function: its name without version, and its file offset."""

    name: str
    offset: int


class _Symbol(NamedTuple):
    """A function symbol. For equal names, the lowest `rank` counts.

    `old`: whether `version` is one for old programs, not the default.
    """

    name: str
    version: str
    old: bool
    section: int
    address: int
    rank: int
    chosen_at_run_time: bool


class _Wanted(NamedTuple):
    """A requested function: "memcpy", "memcpy@GLIBC_2.2.5", or "memcpy@@GLIBC_2.14"."""

    name: str
    version: str
    default: bool

    def means(self, symbol: _Symbol) -> bool:
        """Whether a symbol of this name has the version."""
        if not self.version:
            return True
        return symbol.version == self.version and not (self.default and symbol.old)


class ElfFile(ElfReader):
    """A program or shared library, mapped until `close`; a context manager.

    NotFound if the file does not exist, KernelError if it cannot be opened, BadInput if it is not
    ELF or corrupt.
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
        """The loadable segments; none if the file is not linked."""
        header = self.header
        rows = self._table(self._class.segment, header.phoff, header.phnum, "the program headers")
        return tuple(
            Segment(address, offset, size)
            for kind, _, offset, address, _, size, *_ in rows
            if kind == PT_LOAD
        )

    def file_offset(self, address: int) -> int:
        """The file offset of a virtual address; NotFound if it is not mapped from the file."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        raise NotFound(f"address {address:#x} is not in the file")

    def _symbol_offset(self, symbol: _Symbol) -> int:
        if self.segments or symbol.section >= len(self.sections):
            return self.file_offset(symbol.address)
        # Not linked: symbol values are relative to sections.
        section = self.sections[symbol.section]
        return symbol.address - section.address + section.offset

    def function_offset(self, name: str) -> int:
        """The file offset of a function; errors as `function_offsets`."""
        return self.function_offsets((name,))[0]

    def function_offsets(self, names: Collection[str]) -> list[int]:
        """The file offsets of functions, whose names may end with a version: "realpath@GLIBC_2.3".

        As in linker scripts, "@@" stands for the default version only. If functions share a name,
        the exported one in its default version counts. Functions that were stripped from the file
        are those of its debug file, if it is installed (`debug_files`). NotFound, with similar
        names, if one does not exist; UsageError if it is ambiguous, or an IFUNC, whose
        implementation is chosen at run time.
        """
        found = self._find(self, names)
        missing = [name for name, symbols in found.items() if not symbols]
        if missing and self.debug_file is not None:
            found |= self._find(self.debug_file, missing)
        return [self._meant(name, found[name]) for name in names]

    @staticmethod
    def _find(elf: ElfFile, names: Collection[str]) -> dict[str, list[_Symbol]]:
        wanted = {name: _wanted(name) for name in names}
        by_name: dict[str, list[str]] = {}
        for name, one in wanted.items():
            by_name.setdefault(one.name, []).append(name)
        found: dict[str, list[_Symbol]] = {name: [] for name in names}
        for symbol in elf._symbols(by_name):
            for name in by_name.get(symbol.name, ()):
                if wanted[name].means(symbol):
                    found[name].append(symbol)
        return found

    @cached_property
    def debug_file(self) -> ElfFile | None:
        """The file with the symbols that were stripped from this one.

        None if nothing was stripped, or it is not installed, or is of another build.
        """
        if self.section(".symtab") is not None:
            return None
        from lskel.runtime.attach.debug_file import debug_files

        for candidate in debug_files(self, self.path):
            # A file that is missing, unreadable or not ELF is not the one.
            with suppress(LskelError):
                found = ElfFile(candidate.path)
                if candidate.is_of(found):
                    return found
                found.close()
        return None

    def _known(self) -> Iterator[_Symbol]:
        """All function symbols, also those of the debug file."""
        yield from self._symbols()
        if self.debug_file is not None:
            yield from self.debug_file._symbols()

    def _meant(self, name: str, found: list[_Symbol]) -> int:
        if not found:
            raise self._no_function(name)
        rank = min(symbol.rank for symbol in found)
        best = {self._symbol_offset(symbol): symbol for symbol in found if symbol.rank == rank}
        if len(best) > 1:
            offsets = ", ".join(f"{offset:#x}" for offset in sorted(best))
            raise UsageError(
                f"{len(best)} functions are named '{name}'", hint=f"use an offset: {offsets}"
            )
        ((offset, symbol),) = best.items()
        if symbol.chosen_at_run_time:
            raise UsageError(
                f"'{name}' is an IFUNC: its implementation is chosen at run time",
                hint="attach to the implementations: 'readelf -sW' shows them, unless the file is "
                "stripped",
            )
        return offset

    def functions(self, matches: Callable[[str], bool]) -> tuple[ElfFunction, ...]:
        """The functions with matching names, ascending by offset; one per offset."""
        found: dict[int, str] = {}
        for symbol in self._known():
            if matches(symbol.name) and not symbol.chosen_at_run_time:
                found.setdefault(self._symbol_offset(symbol), symbol.name)
        return tuple(ElfFunction(name, offset) for offset, name in sorted(found.items()))

    def _symbols(self, wanted: Collection[str] = ()) -> Iterator[_Symbol]:
        """Function symbols; with `wanted` only candidates for these names, which is much faster."""
        # A file has at most one section of each type.
        tables = {section.type: section for section in reversed(self.sections)}
        numbers = self._version_numbers(tables.get(SectionType.GNU_VERSYM))
        versions = self._versions(tables.get(SectionType.GNU_VERDEF))
        for kind, some in ((SectionType.DYNSYM, numbers), (SectionType.SYMTAB, ())):
            if table := tables.get(kind):
                yield from self._functions_of(table, some, versions, wanted)

    def _functions_of(
        self,
        table: Section,
        numbers: tuple[int, ...],
        versions: Mapping[int, str],
        wanted: Collection[str],
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
            # In .symtab, linkers write "memcpy@@GLIBC_2.14", and a single @ for old versions.
            name, sign, version = names[name_at].partition("@")
            old = bool(sign) and not version.startswith("@")
            version = version.removeprefix("@")
            if number < len(numbers):
                old |= bool(numbers[number] & _VERSYM_HIDDEN)
                version = versions.get(numbers[number] & ~_VERSYM_HIDDEN, "")
            rank = 2 * (info >> 4 == _LOCAL) + old
            yield _Symbol(name, version, old, section, value, rank, kind == _IFUNC)

    def _versions(self, section: Section | None) -> dict[int, str]:
        """The versions that the file defines, by index."""
        if section is None:
            return {}
        content, names = self.content(section), self.symbol_names(section)
        header = struct.Struct(mark(self.order) + _VERDEF)
        name = struct.Struct(mark(self.order) + "I")
        found: dict[int, str] = {}
        at = 0
        # No more than fit: corrupt offsets may go in circles.
        for _ in range(len(content) // header.size):
            if at + header.size > len(content):
                raise BadInput(f"section {section.name}: a version exceeds it")
            _, _, number, _, _, names_at, following = header.unpack_from(content, at)
            if at + names_at + name.size > len(content):
                raise BadInput(f"section {section.name}: the name of a version exceeds it")
            found[number] = names[name.unpack_from(content, at + names_at)[0]]
            if not following:
                break
            at += following
        return found

    def _version_numbers(self, section: Section | None) -> tuple[int, ...]:
        """The version index of each .dynsym symbol; empty if the file has no versions."""
        content = self.content(section) if section else b""
        return struct.unpack_from(f"{mark(self.order)}{len(content) // 2}H", content)

    def _no_function(self, name: str) -> NotFound:
        import difflib

        wanted = _wanted(name)
        symbols = list(self._known())
        known = {symbol.name for symbol in symbols}
        if wanted.version and wanted.name in known:
            same = {symbol.version for symbol in symbols if symbol.name == wanted.name}
            versions = ", ".join(sorted(filter(None, same))) or "none"
            return NotFound(f"no function '{name}'", hint=f"its versions: {versions}")
        hint = "the file is stripped: use an offset" if not known else ""
        if close := difflib.get_close_matches(name, known, _CLOSE_NAMES):
            hint = f"similar: {', '.join(close)}"
        elif known and self.section(".symtab") is None and self.debug_file is None:
            hint = "the file is stripped except for exported symbols: use an offset"
        return NotFound(f"no function '{name}'", hint=hint)

    def close(self) -> None:
        """Unmap the file; a second call does nothing."""
        self.data.close()
        # Not opened for this.
        if debug_file := self.__dict__.get("debug_file"):
            debug_file.close()

    def __enter__(self) -> ElfFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mapped(path: str) -> mmap.mmap:
    try:
        # Opening a FIFO would block, and opening a device may have side effects.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - pathlib is slow to import
            raise LskelError(f"'{path}' is not a regular file")
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"no file '{path}'") from error
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


def _wanted(text: str) -> _Wanted:
    name, _, version = text.partition("@")
    return _Wanted(name, version.removeprefix("@"), version.startswith("@"))


def _script_hint(start: bytes) -> str:
    return "it is a script: use its interpreter" if start[:2] == b"#!" else ""


def _places(strings: bytes, name: bytes) -> set[int]:
    """Offsets of a name in a string table, also as the tail of others, with or without @."""
    found = set()
    place = strings.find(name)
    while place >= 0:
        if strings[place + len(name) : place + len(name) + 1] in (b"\0", b"@"):
            found.add(place)
        place = strings.find(name, place + 1)
    return found
