"""Names of enum values and flags in lower case: `hash`, `raw_tracepoint`, `no_prealloc`."""

from __future__ import annotations

from enum import IntEnum

from lskel.errors import unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    E = TypeVar("E", bound=IntEnum)

# The kernel's names begin so (uapi/linux/bpf.h).
MAP_TYPE_PREFIX, PROG_TYPE_PREFIX = "BPF_MAP_TYPE_", "BPF_PROG_TYPE_"
ATTACH_TYPE_PREFIX, FLAG_PREFIX = "BPF_", "BPF_F_"


def enum_name(enum: type[IntEnum], value: int) -> str:
    """The member's name in lower case, or the number if unknown."""
    member = enum._value2member_map_.get(value)
    return str(value) if member is None else str(getattr(member, "name", value)).lower()


def enum_names(enum: type[IntEnum]) -> list[str]:
    """The names of all members but UNSPEC."""
    return [name.lower() for name in enum.__members__ if name != "UNSPEC"]


def enum_value(enum: type[E], name: str, prefix: str, what: str, usual: Iterable[str] = ()) -> E:
    """The member of this name, with or without the kernel's `prefix`.

    UnknownName lists the `usual` names, or those that are similar.
    """
    bare = name.upper().removeprefix(prefix)
    names = enum_names(enum)
    if bare.lower() in names:
        return enum[bare]
    from difflib import get_close_matches

    raise unknown(what, name, list(usual) or get_close_matches(bare.lower(), names) or names)


def flag_names(flags: type) -> list[str]:
    """The names of flags of `bpf.flags`."""
    return [name.lower() for name, value in vars(flags).items() if isinstance(value, int)]


def flag_value(flags: type, text: str) -> int:
    """The flags of these names, separated by "|"; UnknownName for a wrong one."""
    value = 0
    for name in text.split("|"):
        bare = name.strip().upper().removeprefix(FLAG_PREFIX)
        if bare.lower() not in flag_names(flags):
            raise unknown("flag", name.strip(), flag_names(flags))
        value |= int(getattr(flags, bare))
    return value
