"""The files in a Debian or RPM package of a kernel, one after another."""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import BinaryIO

from lskel import budget
from lskel.budget import Allowance, check
from lskel.errors import BadInput, NotSupported
from lskel.kernels.compression import Decompressed

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_TAR_BLOCK = 512
_TAR_FILES = (b"0", b"\0", b"7")
_TAR_LONG_NAME, _TAR_LONG_LINK = b"L", b"K"
_TAR_PAX = (b"x", b"g", b"X")
_CHUNK = 1 << 20
_RPM_MAGIC = b"\xed\xab\xee\xdb"
_RPM_LEAD = 96
_RPM_HEADER = b"\x8e\xad\xe8\x01"
# Two formats, which differ in a checksum, and 13 numbers.
_CPIO_NUMBERS = re.compile(rb"07070[12][0-9a-fA-F]{104}")
_CPIO_HEADER, _CPIO_ALIGN = 110, 4
_CPIO_END = "TRAILER!!!"


def files_in(data: bytes) -> Iterator[tuple[str, bytes]] | None:
    """Names and contents of a package's files; None if it is not a package."""
    for magic, read in _PACKAGES.items():
        if data.startswith(magic):
            return read(data)
    return None


def _deb(data: bytes) -> Iterator[tuple[str, bytes]]:
    """An archive of `ar`, one part of which is the tar archive of files (deb(5))."""
    at = len(_AR_MAGIC)
    while at + _AR_HEADER <= len(data):
        name = data[at : at + 16].decode("ascii", "replace").strip().rstrip("/")
        digits = data[at + 48 : at + 58].strip()
        if not digits.isdigit():
            raise BadInput(f"Debian package: the part at {at:#x} has no size")
        size = int(digits)
        if name.startswith("data.tar"):
            part = data[at + _AR_HEADER : at + _AR_HEADER + size]
            yield from _tar(Decompressed.open(part) or BytesIO(part))
            return
        at += _AR_HEADER + size + size % 2
    raise BadInput("Debian package: it has no data.tar")


def _tar(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """An archive in the formats that dpkg reads: ustar, and GNU's with long names (deb(5))."""
    files = Allowance(budget.FILES, "files in a tar archive")
    long_name = b""
    while (header := file.read(_TAR_BLOCK)).strip(b"\0"):
        files.spend()
        kind = header[156:157]
        if len(header) < _TAR_BLOCK or _tar_sum(header) != _octal(header[148:156]):
            raise BadInput("tar archive: a header is damaged")
        size = _octal(header[124:136])
        is_file = kind in _TAR_FILES
        if kind == _TAR_LONG_NAME:
            check(size, budget.NAME, "bytes of a name in a tar archive")
        elif kind in _TAR_PAX:
            raise NotSupported("tar archive: extended headers, which dpkg does not read either")
        name = header[:100].partition(b"\0")[0]
        if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
            name = prefix + b"/" + name
        content = _content(file, size, _TAR_BLOCK, is_kept=is_file or kind == _TAR_LONG_NAME)
        if is_file:
            yield (long_name or name).decode("utf-8", "replace"), content
        # It is the name of what follows; a long link target may come between.
        if kind == _TAR_LONG_NAME:
            long_name = content.rstrip(b"\0")
        elif kind != _TAR_LONG_LINK:
            long_name = b""


def _octal(field: bytes) -> int:
    digits = field.strip(b"\0 ")
    if digits.strip(b"01234567"):
        raise BadInput("tar archive: a header is damaged")
    return int(digits or b"0", 8)


def _tar_sum(header: bytes) -> int:
    """The header's checksum, which counts its own field as spaces."""
    return sum(header[:148]) + sum(header[156:]) + 8 * ord(" ")


def _rpm(data: bytes) -> Iterator[tuple[str, bytes]]:
    """A lead, a header with signatures, one with tags, and a cpio archive (rpm-format)."""
    at = _rpm_header(data, _RPM_LEAD)
    at = _rpm_header(data, at + -at % 8)
    part = data[at:]
    return _cpio(Decompressed.open(part) or BytesIO(part))


def _rpm_header(data: bytes, at: int) -> int:
    """Where the header at `at` ends."""
    if data[at : at + 4] != _RPM_HEADER or at + 16 > len(data):
        raise BadInput(f"RPM package: no header at {at:#x}")
    count, size = struct.unpack_from(">II", data, at + 8)
    return at + 16 + 16 * int(count) + int(size)


def _cpio(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """An archive in the "new ASCII" format: numbers are hexadecimal; parts are aligned to 4."""
    files = Allowance(budget.FILES, "files in a cpio archive")
    while True:
        files.spend()
        header = file.read(_CPIO_HEADER)
        if not _CPIO_NUMBERS.fullmatch(header):
            raise BadInput("cpio archive: a header is damaged")
        mode, size, name_size = (int(header[at : at + 8], 16) for at in (14, 54, 94))
        check(name_size, budget.NAME, "bytes of a name in a cpio archive")
        # The name is aligned together with the header.
        file_name = _content(file, name_size, _CPIO_ALIGN, before=_CPIO_HEADER)
        name = file_name.rstrip(b"\0").decode("utf-8", "replace")
        if name == _CPIO_END:
            return
        is_file = stat.S_ISREG(mode)
        content = _content(file, size, _CPIO_ALIGN, is_kept=is_file)
        if is_file:
            yield name, content


def _content(
    file: BinaryIO, size: int, align: int, *, before: int = 0, is_kept: bool = True
) -> bytes:
    """`size` bytes, and what aligns them after `before` others; empty if they are not kept."""
    padding = -(before + size) % align
    if is_kept:
        check(size, budget.INPUT, "bytes of a file in an archive")
        content = file.read(size)
        left = size - len(content)
    else:
        content, left = b"", size
        while left and (part := file.read(min(left, _CHUNK))):
            left -= len(part)
    if left:
        raise BadInput("the archive is cut off")
    file.read(padding)
    return content


_PACKAGES: Mapping[bytes, Callable[[bytes], Iterator[tuple[str, bytes]]]] = {
    _AR_MAGIC: _deb,
    _RPM_MAGIC: _rpm,
}
