"""Parsing of offsets, from users and section names."""

from __future__ import annotations

# Larger than any file or function, without overflow when another one is added.
_LIMIT = 1 << 62
_LONGEST = len(f"{_LIMIT:#b}")


def parse_offset(text: str) -> int:
    """An offset, decimal or with a prefix (0x); ValueError if it is not one."""
    offset = int(text, 0) if len(text) <= _LONGEST else -1
    if not 0 <= offset < _LIMIT:
        raise ValueError(f"'{text}' is not an offset")
    return offset
