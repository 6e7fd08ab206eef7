"""Names of enum values in lower case: `hash`, `raw_tracepoint`."""

from __future__ import annotations

from enum import IntEnum


def enum_name(enum: type[IntEnum], value: int) -> str:
    """The member's name in lower case, or the number if unknown."""
    member = enum._value2member_map_.get(value)
    return str(value) if member is None else str(getattr(member, "name", value)).lower()
