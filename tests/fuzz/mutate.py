"""Damaged copies of real objects, as a hypothesis strategy.

Most damage goes where structure is: the ELF header, section headers, symbols, relocations, BTF.
The `repr` of an example says what was done, so that hypothesis prints that and not the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from lskel.cursor import ByteOrder, mark

MAX_MUTATIONS = 4
# Longer runs of arbitrary bytes find nothing that these do not.
MAX_RUN = 64

_EHDR_SIZE = 64
_SHDR_SIZE = 64
_SHT_NOBITS = 8
_SHF_EXECINSTR = 4
_TARGETS = (".symtab", ".strtab", ".BTF", ".BTF.ext", ".maps", "license")


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes `start` up to (not including) `end` of an object."""

    name: str
    start: int
    end: int


class Damaged(bytes):
    """A damaged object that knows how it came about."""

    history: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{'; '.join(self.history)}>"


def byte_order(data: bytes | bytearray) -> ByteOrder:
    """The byte order that the ELF header gives."""
    return "big" if data[5] == 2 else "little"


def regions(data: bytes) -> tuple[Region, ...]:
    """Where to damage a valid ELF64 object; the last region is all of it."""
    order = mark(byte_order(data))
    (shoff,) = struct.unpack_from(f"{order}Q", data, 40)
    shnum, shstrndx = struct.unpack_from(f"{order}HH", data, 60)
    headers = [
        struct.unpack_from(f"{order}IIQQQQ", data, shoff + index * _SHDR_SIZE)
        for index in range(shnum)
    ]
    names_at = headers[shstrndx][4]
    found = [
        Region("ELF header", 0, _EHDR_SIZE),
        Region("section headers", shoff, shoff + shnum * _SHDR_SIZE),
    ]
    for name_offset, kind, flags, _addr, offset, size in headers:
        start = names_at + name_offset
        name = data[start : data.index(0, start)].decode()
        wanted = name in _TARGETS or name.startswith(".rel") or flags & _SHF_EXECINSTR
        if wanted and size and kind != _SHT_NOBITS:
            found.append(Region(name, offset, offset + size))
    return (*found, Region("anywhere", 0, len(data)))


# Changes the bytes within a region, which lies in them and is not empty, and says what it did.
Mutation = Callable[[DrawFn, bytearray, Region], str]


def _flip_bits(draw: DrawFn, data: bytearray, region: Region) -> str:
    bit = draw(st.integers(region.start * 8, region.end * 8 - 1))
    count = draw(st.integers(1, 8))
    for at in range(bit, min(bit + count, region.end * 8)):
        data[at // 8] ^= 1 << at % 8
    return f"bits {bit % 8}..{bit % 8 + count - 1} from {bit // 8:#x} flipped"


def _overwrite(draw: DrawFn, data: bytearray, region: Region) -> str:
    start = draw(st.integers(region.start, region.end - 1))
    run = draw(st.binary(min_size=1, max_size=min(MAX_RUN, region.end - start)))
    data[start : start + len(run)] = run
    return f"{start:#x} overwritten with {run.hex()}"


def _set_field(draw: DrawFn, data: bytearray, region: Region) -> str:
    fitting = [width for width in (2, 4, 8) if width <= region.end - region.start]
    if not fitting:
        return _overwrite(draw, data, region)
    width = draw(st.sampled_from(fitting))
    order = byte_order(data)
    # Fields are aligned within what holds them.
    index = draw(st.integers(0, (region.end - region.start) // width - 1))
    at = region.start + index * width
    old = int.from_bytes(data[at : at + width], order)
    sizes = (region.end - region.start, len(data))
    value = draw(
        st.sampled_from(
            (
                *(0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, -1),
                *(number + delta for number in (old, *sizes) for delta in (-1, 1)),
                *sizes,
            )
        )
    ) % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, order)
    return f"u{8 * width} at {at:#x}: {old:#x} -> {value:#x}"


def _swap(draw: DrawFn, data: bytearray, region: Region) -> str:
    longest = (region.end - region.start) // 2
    if not longest:
        return _overwrite(draw, data, region)
    length = draw(st.sampled_from([n for n in (1, 4, 8, 16, 24, 64, longest) if n <= longest]))
    first = draw(st.integers(region.start, region.end - 2 * length))
    second = draw(st.integers(first + length, region.end - length))
    one, other = data[first : first + length], data[second : second + length]
    data[first : first + length], data[second : second + length] = other, one
    return f"{length} bytes at {first:#x} and {second:#x} swapped"


def _truncate(draw: DrawFn, data: bytearray, region: Region) -> str:
    length = draw(st.integers(region.start, region.end - 1))
    del data[length:]
    return f"truncated to {length:#x} bytes"


_IN_PLACE: tuple[Mutation, ...] = (_set_field, _flip_bits, _overwrite, _swap)


def mutated(objects: Sequence[bytes]) -> SearchStrategy[bytes]:
    """One of `objects` (valid ELF64 files), damaged in one to `MAX_MUTATIONS` places."""
    found = [regions(data) for data in objects]

    @st.composite
    def damage(draw: DrawFn) -> bytes:
        index = draw(st.integers(0, len(objects) - 1))
        data, places = bytearray(objects[index]), st.sampled_from(found[index])
        history = [f"object {index}"]

        def apply(mutation: Mutation) -> None:
            region = draw(places)
            history.append(f"{region.name}: {mutation(draw, data, region)}")

        truncated = draw(st.integers(0, 9)) == 9
        for _ in range(draw(st.integers(0 if truncated else 1, MAX_MUTATIONS - truncated))):
            apply(draw(st.sampled_from(_IN_PLACE)))
        # Last, since the regions are those of the whole file.
        if truncated:
            apply(_truncate)
        damaged = Damaged(data)
        damaged.history = tuple(history)
        return damaged

    return damage()
