"""Faults on demand: what goes wrong in a simulated kernel because someone asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Faults:
    """What shall go wrong.

    `calls`: errno (positive) that a call returns, by its number in the record: nothing is done
    then, but that a close gives back its fd all the same, as Linux does. `missing`: names that
    are not found in the kernel's BTF or among its symbols. `max_fds`: how many fds may be open at
    once, None for as many as usual.
    """

    calls: Mapping[int, int] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    max_fds: int | None = None
