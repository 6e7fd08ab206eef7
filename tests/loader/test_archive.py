"""ZIP archives as `zipfile` and others write them, and archives that lie."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import lskel
from lskel.loader.archive import read_members

LIMITS = {"a": 1000, "b": 1000}
CONTENT = {"a": b"x" * 1000, "b": b"", "other": b"z" * 5000}


def archive(
    members: dict[str, bytes] = CONTENT, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as written:
        written.comment = comment
        for name, content in members.items():
            written.writestr(name, content)
    return bytearray(out.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_zipfile(method: int, comment: bytes) -> None:
    content = bytes(archive(method=method, comment=comment))
    assert read_members(content, LIMITS) == {"a": CONTENT["a"], "b": b""}


def test_zip(tmp_path: Path) -> None:
    if shutil.which("zip") is None:
        pytest.skip("zip is not installed")
    for name in LIMITS:
        (tmp_path / name).write_bytes(CONTENT[name])
    subprocess.run(["zip", "-q", "x.zip", *LIMITS], cwd=tmp_path, check=True)
    assert read_members((tmp_path / "x.zip").read_bytes(), LIMITS)["a"] == CONTENT["a"]


def test_streams() -> None:
    """What is written to a pipe has its sizes behind the data."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    out = Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as written:
        for name in LIMITS:
            written.writestr(name, CONTENT[name])
    assert read_members(out.getvalue(), LIMITS)["a"] == CONTENT["a"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods(method: int) -> None:
    with pytest.raises(lskel.BadBundle, match="is not deflate"):
        read_members(bytes(archive(method=method)), LIMITS)


def test_many_members() -> None:
    members = {**CONTENT, **{f"{number}": b"" for number in range(60_000)}}
    assert read_members(bytes(archive(members)), LIMITS)["a"] == CONTENT["a"]


def test_too_large() -> None:
    with pytest.raises(lskel.LimitExceeded, match="1001 bytes of a, at most 1000 allowed"):
        read_members(bytes(archive({"a": bytes(1001), "b": b""})), LIMITS)


def entry(content: bytearray, number: int = 0) -> int:
    """Where an entry of the directory begins."""
    at = -1
    for _ in range(number + 1):
        at = content.index(b"PK\x01\x02", at + 1)
    return at


def put(fmt: str, *places: tuple[int, int]) -> Callable[[bytearray], None]:
    """Write numbers at offsets in the first entry of the directory."""

    def change(content: bytearray) -> None:
        for offset, value in places:
            struct.pack_into(f"<{fmt}", content, entry(content) + offset, value)

    return change


def lie(offset: int, value: int) -> Callable[[bytearray], None]:
    """Write a checksum or size in the first entry, and in the header of its member."""

    def change(content: bytearray) -> None:
        put("I", (offset, value))(content)
        struct.pack_into("<I", content, offset - 2, value)

    return change


def both_flags(content: bytearray) -> None:
    struct.pack_into("<H", content, 6, 1)
    put("H", (8, 1))(content)


def second_is_first(content: bytearray) -> None:
    struct.pack_into("<I", content, entry(content, 1) + 42, 0)
    content[entry(content, 1) + 16 : entry(content, 1) + 28] = content[14:26]
    content[entry(content, 1) + 46 : entry(content, 1) + 47] = b"a"


def other_local_name(content: bytearray) -> None:
    content[30:31] = b"c"


def at_end(fmt: str, offset: int, value: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        struct.pack_into(f"<{fmt}", content, content.rindex(b"PK\x05\x06") + offset, value)

    return change


def prefixed(content: bytearray) -> None:
    content[:0] = b"PK\x03\x04"


def overlapping(content: bytearray) -> None:
    """The first member's data reach into the second."""
    (size,) = struct.unpack_from("<I", content, entry(content) + 20)
    lie(20, size + 10)(content)


def unicode_path(content: bytearray) -> None:
    """Another name for the first member, in the directory alone."""
    extra = struct.pack("<HHBI", 0x7075, 6, 1, zlib.crc32(b"a")) + b"c"
    at = entry(content)
    struct.pack_into("<H", content, at + 30, len(extra))
    content[at + 47 : at + 47] = extra
    grow_directory(content, len(extra))


def grow_directory(content: bytearray, size: int) -> None:
    at = content.rindex(b"PK\x05\x06") + 12
    struct.pack_into("<I", content, at, struct.unpack_from("<I", content, at)[0] + size)


def unlisted(content: bytearray) -> None:
    """A second member `a` that only a reader from header to header finds."""
    hidden = bytes(archive({"a": b"other", "b": b""}))
    hidden = hidden[: hidden.index(b"PK\x03\x04", 4)]
    second = content.index(b"PK\x03\x04", 4)
    content[second:second] = hidden
    later = [entry(content, number) + 42 for number in (1, 2)]
    for place in (*later, content.rindex(b"PK\x05\x06") + 16):
        (old,) = struct.unpack_from("<I", content, place)
        struct.pack_into("<I", content, place, old + len(hidden))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lie(24, 10), "data size differs"),
        (lie(24, 999), "data size differs|size or checksum"),
        (lie(20, 5), "belong to no member"),
        (lie(16, 0), "wrong size or checksum"),
        (put("I", (24, 10)), "the sizes at 0x0 differ from the central directory"),
        (put("I", (16, 0)), "the sizes at 0x0 differ from the central directory"),
        (unicode_path, "a member has a second name"),
        (unlisted, "bytes at .* belong to no member"),
        (put("I", (42, 0xFFFFFFFF)), "unpack_from requires"),
        (put("H", (34, 1)), "bad central directory entry"),
        (put("H", (28, 0xFFFF)), "bad central directory entry"),
        (both_flags, "encrypted"),
        (second_is_first, "two members have the same name|members overlap"),
        (other_local_name, "differs from the central directory"),
        (overlapping, "members overlap"),
        (at_end("H", 4, 1), "multi-disk archives are not supported"),
        (at_end("H", 8, 2), "multi-disk archives are not supported"),
        (at_end("I", 16, 0), "wrong offset of the central directory"),
        (at_end("H", 20, 1), "wrong offset of the central directory"),
        (prefixed, "wrong offset of the central directory"),
        (lambda content: content.__delitem__(slice(-30, None)), "no end of central directory"),
    ],
)
def test_lies(change: Callable[[bytearray], None], message: str) -> None:
    content = archive()
    change(content)
    with pytest.raises(lskel.BadBundle, match=message):
        read_members(bytes(content), LIMITS)


def test_a_bomb_is_not_inflated() -> None:
    """The size that the directory says is all that is inflated."""
    content = archive({"a": bytes(64 << 20), "b": b""})
    lie(24, 1000)(content)
    bomb = bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(lskel.BadBundle, match="data size differs"):
            read_members(bomb, LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
