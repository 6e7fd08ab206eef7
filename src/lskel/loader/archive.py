"""Reading ZIP archives (PKWARE's APPNOTE.TXT), as far as bundles need them.

The archive is not trusted: sizes are limited while reading members, and ambiguous archives, which
two readers could interpret differently, are refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from lskel import budget
from lskel.errors import BadBundle

MAGIC = b"PK\x03\x04"
_ENTRY_MAGIC, _END_MAGIC = b"PK\x01\x02", b"PK\x05\x06"
_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_MAX_COMMENT = 0xFFFF
_STORED, _DEFLATED = 0, 8
# Allowed flags: compression level, data descriptor, UTF-8 names. Others include encryption.
_KNOWN_FLAGS = 0x80E
_SIZES_FOLLOW = 0x8
# Data descriptors: with or without signature, sizes of 32 or 64 bits.
_DESCRIPTORS = (12, 16, 20, 24)
# An extra field with another name for the member, which some readers use.
_UNICODE_PATH = 0x7075
_EXTRA = struct.Struct("<HH")


class _Entry(NamedTuple):
    """The fields of a central directory entry, in order."""

    magic: bytes
    made_by: int
    needed: int
    flags: int
    method: int
    time: int
    date: int
    checksum: int
    compressed: int
    size: int
    name_length: int
    extra_length: int
    comment_length: int
    disk: int
    internal: int
    external: int
    offset: int


class _ZipMember(NamedTuple):
    """A member: its name, its entry, and the range of its data."""

    name: bytes
    entry: _Entry
    start: int
    end: int


def read_members(content: bytes, limits: Mapping[str, int]) -> dict[str, bytes]:
    """The members in `limits`, of at most that many bytes each; others are ignored.

    BadBundle if one is missing or the archive is corrupt, LimitExceeded if one is larger.
    """
    try:
        members = {member.name: member for member in _members(content)}
        return {
            name: _read(content, members.get(name.encode()), name, limit)
            for name, limit in limits.items()
        }
    except (struct.error, zlib.error) as error:
        raise _damaged(str(error)) from error


def _damaged(what: str) -> BadBundle:
    return BadBundle(f"corrupt bundle: {what}")


def _members(content: bytes) -> list[_ZipMember]:
    """All members, in the order of their data."""
    first, entries = _directory(content)
    found = sorted(entries, key=lambda member: member.entry.offset)
    ends = [0, *(member.end for member in found)]
    starts = [*(member.entry.offset for member in found), first]
    follows = [False, *(bool(member.entry.flags & _SIZES_FOLLOW) for member in found)]
    for end, start, follow in zip(ends, starts, follows, strict=True):
        if start < end:
            raise _damaged("members overlap")
        # A sequential reader would read these bytes.
        if start - end not in (_DESCRIPTORS if follow else (0,)):
            raise _damaged(f"{start - end} bytes at {end:#x} belong to no member")
    if len({member.name for member in found}) < len(found):
        raise _damaged("two members have the same name")
    return found


def _directory(content: bytes) -> tuple[int, list[_ZipMember]]:
    """The offset of the central directory, and its members."""
    end = content.rfind(_END_MAGIC, max(0, len(content) - _END.size - _MAX_COMMENT))
    if end < 0:
        raise _damaged("no end of central directory (truncated file?)")
    _, disk, first_disk, here, count, size, first, comment = _END.unpack_from(content, end)
    if disk or first_disk or here != count:
        raise _damaged("multi-disk archives are not supported")
    if first + size != end or end + _END.size + comment != len(content):
        raise _damaged("wrong offset of the central directory")
    at = first
    members = []
    for _ in range(count):
        entry = _Entry._make(_ENTRY.unpack_from(content, at))
        name = at + _ENTRY.size
        at = name + entry.name_length + entry.extra_length + entry.comment_length
        if entry.magic != _ENTRY_MAGIC or entry.disk or at > end:
            raise _damaged("bad central directory entry")
        named = content[name : name + entry.name_length]
        _check_extra(content[name + entry.name_length : at - entry.comment_length])
        members.append(_member(content, named, entry, first))
    if at != end:
        raise _damaged("more central directory entries than announced")
    return first, members


def _check_extra(extra: bytes) -> None:
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, size = _EXTRA.unpack_from(extra, at)
        if kind == _UNICODE_PATH:
            raise _damaged("a member has a second name")
        at += _EXTRA.size + size


def _member(content: bytes, name: bytes, entry: _Entry, end: int) -> _ZipMember:
    """The member of an entry; all members end before the central directory."""
    if entry.flags & ~_KNOWN_FLAGS:
        raise _damaged(f"unknown member flags {entry.flags:#x} (encrypted?)")
    magic, _, flags, method, _, _, *sizes, name_length, extra_length = _LOCAL.unpack_from(
        content, entry.offset
    )
    at = entry.offset + _LOCAL.size
    named = content[at : at + name_length]
    if (magic, flags, method, named) != (MAGIC, entry.flags, entry.method, name):
        raise _damaged(f"the member at {entry.offset:#x} differs from the central directory")
    start = at + name_length + extra_length
    _check_extra(content[at + name_length : start])
    if not flags & _SIZES_FOLLOW and sizes != [entry.checksum, entry.compressed, entry.size]:
        raise _damaged(f"the sizes at {entry.offset:#x} differ from the central directory")
    if start + entry.compressed > end:
        raise _damaged(f"the member at {entry.offset:#x} overlaps the central directory")
    return _ZipMember(name, entry, start, start + entry.compressed)


def _read(content: bytes, member: _ZipMember | None, name: str, limit: int) -> bytes:
    if member is None:
        raise _damaged(f"member {name} is missing")
    size, method = member.entry.size, member.entry.method
    budget.check(size, limit, f"bytes of {name}")
    if method not in (_STORED, _DEFLATED):
        raise _damaged(f"{name}: compression method {method} is not deflate")
    data = content[member.start : member.end]
    if method == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        # One byte more than expected, to limit decompression.
        data = inflater.decompress(data, size + 1)
        if not inflater.eof or inflater.unused_data:
            raise _damaged(f"{name}: its data size differs from the central directory")
    if len(data) != size or zlib.crc32(data) != member.entry.checksum:
        raise _damaged(f"{name}: wrong size or checksum")
    return data
