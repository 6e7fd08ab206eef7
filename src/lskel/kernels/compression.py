"""Decompression of what kernels, their modules and their packages are compressed with.

zstd and LZ4 need a library (the extra `lskel[kernels]`), zstd only before Python 3.14.
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

from lskel import budget
from lskel.errors import BadInput, NotSupported

_CHUNK = 1 << 20
_SMALL_CHUNK = 1 << 12
# The blocks of LZ4's legacy format, which the kernel's images use.
_LZ4_BLOCK = 8 << 20
_INSTALL = 'install it: pip install "lskel[kernels]"'


class _Compression(NamedTuple):
    name: str
    magic: bytes
    read: Callable[[bytes], Iterator[bytes]]


class Decompressed(io.RawIOBase):
    """Compressed data as a file to read once; `open` gives None for what is not compressed.

    What follows the compressed stream is ignored. Reading raises BadInput if it is damaged,
    NotSupported without the library, LimitExceeded above `budget.KERNEL` bytes.
    """

    def __init__(self, compression: _Compression, data: bytes) -> None:
        self._name = compression.name
        self._parts = compression.read(data)
        self._part = memoryview(b"")
        self._allowance = budget.Allowance(budget.KERNEL, "bytes of compressed data")

    @classmethod
    def open(cls, data: bytes) -> io.BufferedReader | None:
        """A reader, by the magic number."""
        for compression in _COMPRESSIONS:
            if data.startswith(compression.magic):
                return io.BufferedReader(cls(compression, data), _CHUNK)
        return None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 at the end."""
        while not self._part:
            try:
                self._part = memoryview(next(self._parts))
            except StopIteration:
                return 0
            except _ERRORS as error:
                raise BadInput(f"{self._name}: {error}") from error
            self._allowance.spend(len(self._part))
        taken = self._part[: len(buffer)]
        buffer[: len(taken)] = taken
        self._part = self._part[len(taken) :]
        return len(taken)


def decompress(data: bytes) -> bytes | None:
    """The content of compressed data, of a file's size at most; None if it is not compressed."""
    reader = Decompressed.open(data)
    if reader is None:
        return None
    content = reader.read(budget.INPUT + 1)
    budget.check(len(content), budget.INPUT, "bytes of compressed data, or more")
    return content


def _stream(make: Callable[[], Any]) -> Callable[[bytes], Iterator[bytes]]:
    """Reads with a decompressor of the standard library, a chunk at a time."""

    def read(data: bytes) -> Iterator[bytes]:
        decompressor = make()
        yield decompressor.decompress(data, _CHUNK)
        while not decompressor.eof:
            rest = getattr(decompressor, "unconsumed_tail", b"")
            part = decompressor.decompress(rest, _CHUNK)
            if not part and not rest:
                raise EOFError("compressed data is cut off")
            yield part

    return read


def _zstd(data: bytes) -> Iterator[bytes]:
    try:
        standard = import_module("compression.zstd")
    except ImportError:
        yield from _zstandard(data)
    else:
        yield from _stream(standard.ZstdDecompressor)(data)


def _zstandard(data: bytes) -> Iterator[bytes]:
    library = _library("zstandard")
    decompressor = library.ZstdDecompressor().decompressobj()
    # Four bytes can become 128 KiB, and the library cannot stop within a chunk.
    for start in range(0, len(data), _SMALL_CHUNK):
        try:
            yield decompressor.decompress(data[start : start + _SMALL_CHUNK])
        except library.ZstdError as error:
            raise ValueError(str(error)) from error
        if decompressor.eof:
            return
    raise EOFError("compressed data is cut off")


def _lz4(data: bytes) -> Iterator[bytes]:
    block = _library("lz4.block")
    at = 4
    while at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        part = data[at + 4 : at + 4 + size]
        if not size or len(part) < size:
            break  # the image's own length, or what follows it
        content = block.decompress(part, uncompressed_size=_LZ4_BLOCK)
        yield content
        if len(content) < _LZ4_BLOCK:
            break  # only the last block is shorter
        at += 4 + size


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise NotSupported(f"reading this needs the package {package}", hint=_INSTALL) from None


_COMPRESSIONS = (
    _Compression("gzip", b"\x1f\x8b", _stream(lambda: zlib.decompressobj(wbits=31))),
    _Compression("xz", b"\xfd7zXZ\0", _stream(lzma.LZMADecompressor)),
    _Compression("lzma", b"\x5d\0\0", _stream(lzma.LZMADecompressor)),
    _Compression("bzip2", b"BZh", _stream(bz2.BZ2Decompressor)),
    _Compression("zstd", b"\x28\xb5\x2f\xfd", _zstd),
    _Compression("lz4", b"\x02\x21\x4c\x18", _lz4),
)
# RuntimeError: lz4's own errors.
_ERRORS = (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError)
