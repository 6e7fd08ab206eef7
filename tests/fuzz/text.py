"""Damage to text: the headers of light skeletons, and verifiers' logs."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from tests.fuzz.damage import in_place, number
from tests.fuzz.names import NAMES

_NUMBER = re.compile(rb"(?:0x[0-9a-f]+|\d+)")
_WORD = re.compile(rb"[A-Za-z_]\w*")
_ESCAPE = re.compile(rb"\\x[0-9a-f]{2}")
_HUGE = (
    b"9" * 5000,
    b"-1",
    b"0x" + b"f" * 400,
    b"1e9",
    b"00",
    b"",
    "\u0663".encode(),
    "\u00b2".encode(),
)


def _replaced(
    rng: Random, data: bytes, pattern: re.Pattern[bytes], new: Callable[[bytes], bytes]
) -> bytes:
    """One of the places where the pattern is, not far behind any place, becomes something else."""
    found = pattern.search(data, rng.randrange(len(data))) if data else None
    return data[: found.start()] + new(found[0]) + data[found.end() :] if found else data


def _number(rng: Random, data: bytes) -> bytes:
    def other(old: bytes) -> bytes:
        if rng.random() < 0.3:
            return rng.choice(_HUGE)
        return b"%d" % number(rng, int(old[:18], 16))

    return _replaced(rng, data, _NUMBER, other)


def _word(rng: Random, data: bytes) -> bytes:
    return _replaced(rng, data, _WORD, lambda _: rng.choice(NAMES))


def _escape(rng: Random, data: bytes) -> bytes:
    """A byte of a C string."""
    for _ in range(rng.randint(1, 8)):
        data = _replaced(rng, data, _ESCAPE, lambda _: b"\\x%02x" % rng.randrange(256))
    return data


def _bytes(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    in_place(rng, changed, 0, len(changed))
    return bytes(changed)


def _lines(rng: Random, data: bytes, other: bytes) -> bytes:
    """Lines dropped, doubled, swapped, joined, made long, or of another text."""
    lines, theirs = data.split(b"\n"), other.split(b"\n")
    at, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(7)
    if how == 0:
        del lines[at : at + rng.choice((1, 1, 8))]
    elif how == 1:
        lines[at:at] = lines[second : second + 8]
    elif how == 2:
        lines[at], lines[second] = lines[second], lines[at]
    elif how == 3:
        lines[at : at + 2] = [b"".join(lines[at : at + 2])]
    elif how == 4:
        lines[at] *= rng.choice((2, 300))
    else:
        first = rng.randrange(len(theirs))
        lines[at : at + (how == 6)] = theirs[first : first + rng.choice((1, 4, 16))]
    return b"\n".join(lines)


def damaged_text(rng: Random, seed: bytes, other: bytes) -> bytes:
    """A text, changed in a few places; `other` is one to take lines of."""
    data = seed
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        if rng.random() < 0.3:
            data = _lines(rng, data, other)
        else:
            data = rng.choice((_number, _number, _word, _escape, _bytes))(rng, data)
    return data
