"""Offsets as users and the names of sections write them."""

from __future__ import annotations

# Larger than any file or function, and still an offset where one is added to it.
_LIMIT = 1 << 62
_LONGEST = len(f"{_LIMIT:#b}")


def parse_offset(text: str) -> int:
    """An offset, decimal or by its prefix; ValueError where this is none."""
    offset = int(text, 0) if len(text) <= _LONGEST else -1
    if not 0 <= offset < _LIMIT:
        raise ValueError(f"'{text}' is not an offset")
    return offset
