"""Fault injection for the simulated kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults to inject.

    `calls`: the errno (positive) that a call returns, by its number in the record; the call has no
    effect, except that close releases its fd, as in Linux. `missing`: names that are not found in
    the kernel's BTF or symbols. `max_fds`: the limit of open fds, None for the default.
    """

    calls: Mapping[int, int] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    max_fds: int | None = None
