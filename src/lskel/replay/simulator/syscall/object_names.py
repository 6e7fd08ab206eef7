"""Names of maps and programs in attrs."""

from __future__ import annotations

from lskel.replay.simulator.syscall.errnos import check

_ALLOWED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")


def object_name(field: bytes) -> str:
    """The name in a 16-byte field; Refusal EINVAL for invalid characters, or without a NUL."""
    name, nul, _ = field.partition(b"\0")
    check(bool(nul) and _ALLOWED.issuperset(name))
    return name.decode()
