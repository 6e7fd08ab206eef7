"""Alignment of two sequences: common items, and those of only one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from lskel import budget

# With more different items, frequent ones are ignored, since comparing them is slow.
MAX_ITEMS = 2000


class AlignedRange(NamedTuple):
    """Ranges of items in A and in B, of equal length if they are the `same`."""

    same: bool
    a: range
    b: range


def align(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[AlignedRange]:
    """All items of both, in order."""
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    stops = len(a) - end, len(b) - end
    yield AlignedRange(True, range(start), range(start))
    for same, (a_start, a_end, b_start, b_end) in _middle(a[start : stops[0]], b[start : stops[1]]):
        sides = range(start + a_start, start + a_end), range(start + b_start, start + b_end)
        yield AlignedRange(same, *sides)
    yield AlignedRange(True, range(stops[0], len(a)), range(stops[1], len(b)))


def _middle(
    a: Sequence[Hashable], b: Sequence[Hashable]
) -> Iterator[tuple[bool, tuple[int, int, int, int]]]:
    counts = Counter(b)
    if sum(counts[item] for item in a) > budget.EQUAL_PAIRS:
        yield False, (0, len(a), 0, len(b))
        return
    matcher = SequenceMatcher(None, a, b, autojunk=max(len(a), len(b)) > MAX_ITEMS)
    for tag, *place in matcher.get_opcodes():
        a_start, a_end, b_start, b_end = place
        yield tag == "equal", (a_start, a_end, b_start, b_end)


def _common(a: Sequence[object], b: Sequence[object]) -> int:
    """The length of the common prefix."""
    pairs = zip(a, b, strict=False)
    return next((n for n, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
