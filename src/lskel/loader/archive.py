"""Reading ZIP archives (PKWARE's APPNOTE.TXT), as far as bundles need it.

Nothing that the archive says of itself is believed: sizes are limited while members are read, and
an archive that two readers could take for two different ones is refused.
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
# How hard the compressor tried, sizes that follow the data, names in UTF-8; others encrypt.
_KNOWN_FLAGS = 0x80E
_SIZES_FOLLOW = 0x8
# What follows then: with or without a signature, with sizes of 32 or 64 bits.
_DESCRIPTORS = (12, 16, 20, 24)
# An extra field with another name for the member, which some readers take.
_UNICODE_PATH = 0x7075
_EXTRA = struct.Struct("<HH")


class _Entry(NamedTuple):
    """An entry of the directory: its fields, in order."""

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


class _Member(NamedTuple):
    """A member: its name, its entry, and where its data lies."""

    name: bytes
    entry: _Entry
    start: int
    end: int


def read_members(content: bytes, limits: Mapping[str, int]) -> dict[str, bytes]:
    """The members that `limits` names, of at most so many bytes each; others are ignored.

    BadBundle where one is missing or the archive is damaged, LimitExceeded where one is larger.
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
    return BadBundle(f"damaged bundle: {what}")


def _members(content: bytes) -> list[_Member]:
    """All members, in the order of their data."""
    first, entries = _directory(content)
    found = sorted(entries, key=lambda member: member.entry.offset)
    ends = [0, *(member.end for member in found)]
    starts = [*(member.entry.offset for member in found), first]
    follows = [False, *(bool(member.entry.flags & _SIZES_FOLLOW) for member in found)]
    for end, start, follow in zip(ends, starts, follows, strict=True):
        if start < end:
            raise _damaged("members overlap")
        # A reader that goes from member to member would find something there.
        if start - end not in (_DESCRIPTORS if follow else (0,)):
            raise _damaged(f"{start - end} bytes at {end:#x} belong to no member")
    if len({member.name for member in found}) < len(found):
        raise _damaged("two members have the same name")
    return found


def _directory(content: bytes) -> tuple[int, list[_Member]]:
    """Where the directory begins, and what it lists."""
    end = content.rfind(_END_MAGIC, max(0, len(content) - _END.size - _MAX_COMMENT))
    if end < 0:
        raise _damaged("the directory's end is missing (truncated file?)")
    _, disk, first_disk, here, count, size, first, comment = _END.unpack_from(content, end)
    if disk or first_disk or here != count:
        raise _damaged("multi-disk archives are not supported")
    if first + size != end or end + _END.size + comment != len(content):
        raise _damaged("the directory is not where its end says")
    at = first
    members = []
    for _ in range(count):
        entry = _Entry._make(_ENTRY.unpack_from(content, at))
        name = at + _ENTRY.size
        at = name + entry.name_length + entry.extra_length + entry.comment_length
        if entry.magic != _ENTRY_MAGIC or entry.disk or at > end:
            raise _damaged("bad directory entry")
        named = content[name : name + entry.name_length]
        _check_extra(content[name + entry.name_length : at - entry.comment_length])
        members.append(_member(content, named, entry, first))
    if at != end:
        raise _damaged("the directory has more entries than its end says")
    return first, members


def _check_extra(extra: bytes) -> None:
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, size = _EXTRA.unpack_from(extra, at)
        if kind == _UNICODE_PATH:
            raise _damaged("a member has a second name")
        at += _EXTRA.size + size


def _member(content: bytes, name: bytes, entry: _Entry, end: int) -> _Member:
    """The member of an entry; all members end before the directory."""
    if entry.flags & ~_KNOWN_FLAGS:
        raise _damaged(f"flags {entry.flags:#x} of a member are unknown: encrypted?")
    magic, _, flags, method, _, _, *sizes, name_length, extra_length = _LOCAL.unpack_from(
        content, entry.offset
    )
    at = entry.offset + _LOCAL.size
    named = content[at : at + name_length]
    if (magic, flags, method, named) != (MAGIC, entry.flags, entry.method, name):
        raise _damaged(f"the member at {entry.offset:#x} is not what the directory says")
    start = at + name_length + extra_length
    _check_extra(content[at + name_length : start])
    if not flags & _SIZES_FOLLOW and sizes != [entry.checksum, entry.compressed, entry.size]:
        raise _damaged(f"the sizes at {entry.offset:#x} are not what the directory says")
    if start + entry.compressed > end:
        raise _damaged(f"the member at {entry.offset:#x} reaches into the directory")
    return _Member(name, entry, start, start + entry.compressed)


def _read(content: bytes, member: _Member | None, name: str, limit: int) -> bytes:
    if member is None:
        raise _damaged(f"member {name} is missing")
    size, method = member.entry.size, member.entry.method
    budget.check(size, limit, f"bytes of {name}")
    if method not in (_STORED, _DEFLATED):
        raise _damaged(f"{name}: compression method {method} is not deflate")
    data = content[member.start : member.end]
    if method == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        # One byte more than there should be, whatever the data would become.
        data = inflater.decompress(data, size + 1)
        if not inflater.eof or inflater.unused_data:
            raise _damaged(f"{name}: its data do not end where the directory says")
    if len(data) != size or zlib.crc32(data) != member.entry.checksum:
        raise _damaged(f"{name}: size or checksum is wrong")
    return data
