"""Damage to bytes that knows no format: bits, fields, runs."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

# Longer runs of arbitrary bytes find nothing that these do not.
MAX_RUN = 64
EDGES = (
    *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)


def number(rng: Random, old: int, others: Sequence[int] = ()) -> int:
    """A number that is likely to be wrong where `old` was right; one of `others` is as likely."""
    near = (old - 1, old + 1, old + 4, old * 2, old << 16, -old, ~old)
    choices: tuple[Sequence[int], ...] = (EDGES, near, others or EDGES)
    return rng.choice(rng.choice(choices))


def set_field(
    rng: Random, data: bytearray, at: int, width: int, order: str, others: Sequence[int] = ()
) -> None:
    """Change a number of `width` bytes."""
    little: bool = order == "little"
    old = int.from_bytes(data[at : at + width], "little" if little else "big")
    value = number(rng, old, others) % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, "little" if little else "big")


def in_place(rng: Random, data: bytearray, start: int, end: int, order: str = "little") -> None:
    """Change bytes from `start` up to `end`, where there are any; their number stays."""
    size = end - start
    if size <= 0:
        return
    how = rng.randrange(5)
    if how == 0:
        width = rng.choice([width for width in (1, 2, 4, 8) if width <= size])
        at = start + rng.randrange(size // width) * width
        set_field(rng, data, at, width, order, (size, len(data)))
    elif how == 1:
        bit = rng.randrange(start * 8, end * 8)
        for at in range(bit, min(bit + rng.randint(1, 8), end * 8)):
            data[at // 8] ^= 1 << at % 8
    elif how == 2:
        at = rng.randrange(start, end)
        run = rng.randbytes(min(rng.randint(1, MAX_RUN), end - at))
        data[at : at + len(run)] = run
    else:
        longest = max(size // 2, 1)
        length = rng.choice([n for n in (1, 4, 8, 16, 24, 64, longest) if n <= longest])
        first, second = (rng.randint(start, end - length) for _ in range(2))
        one, other = data[first : first + length], data[second : second + length]
        data[second : second + length] = one
        if how == 3:  # swapped; else copied
            data[first : first + length] = other


def resize(rng: Random, data: bytearray) -> None:
    """Cut off an end, take out a run, or put one in."""
    if not data:
        return
    at = rng.randrange(len(data))
    how = rng.randrange(3)
    if how == 0:
        del data[at:]
    elif how == 1:
        del data[at : at + rng.randint(1, MAX_RUN)]
    else:
        data[at:at] = rng.randbytes(rng.randint(1, MAX_RUN))
