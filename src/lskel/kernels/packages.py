"""The files in a Debian or RPM package of a kernel, one after another."""

from __future__ import annotations

import stat
import struct
import tarfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import BinaryIO

from lskel import budget
from lskel.budget import check
from lskel.errors import BadInput
from lskel.kernels.compression import Decompressed

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_RPM_MAGIC = b"\xed\xab\xee\xdb"
_RPM_LEAD = 96
_RPM_HEADER = b"\x8e\xad\xe8\x01"
_CPIO_MAGICS = (b"070701", b"070702")
_CPIO_HEADER = 110
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
        try:
            size = int(data[at + 48 : at + 58])
        except ValueError:
            raise BadInput(f"Debian package: the part at {at:#x} has no size") from None
        if name.startswith("data.tar"):
            part = data[at + _AR_HEADER : at + _AR_HEADER + size]
            yield from _tar(Decompressed.open(part) or BytesIO(part))
            return
        at += _AR_HEADER + size + size % 2
    raise BadInput("Debian package: it has no data.tar")


def _tar(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                # A sparse file has holes, which take no bytes of the archive.
                check(member.size, budget.KERNEL, "bytes of a file in a tar archive")
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, content.read()
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise BadInput(f"tar archive: {error}") from error


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
    while True:
        header = file.read(_CPIO_HEADER)
        try:
            mode, size, name_size = (int(header[at : at + 8], 16) for at in (14, 54, 94))
        except ValueError:
            raise BadInput("cpio archive: a header is damaged") from None
        if header[:6] not in _CPIO_MAGICS:
            raise BadInput("cpio archive: no header where one is expected")
        check(max(size, name_size), budget.KERNEL, "bytes of a file in a cpio archive")
        name = _padded(file, _CPIO_HEADER, name_size).rstrip(b"\0").decode("utf-8", "replace")
        if name == _CPIO_END:
            return
        content = _padded(file, 0, size)
        if stat.S_ISREG(mode):
            yield name, content


def _padded(file: BinaryIO, before: int, size: int) -> bytes:
    """`size` bytes, and what aligns them after `before` others."""
    content = file.read(size)
    if len(content) < size:
        raise BadInput("cpio archive: it is cut off")
    file.read(-(before + size) % 4)
    return content


_PACKAGES: Mapping[bytes, Callable[[bytes], Iterator[tuple[str, bytes]]]] = {
    _AR_MAGIC: _deb,
    _RPM_MAGIC: _rpm,
}
