"""Where a program goes among those that are attached to the same hook: tcx, netkit, cgroups.

The kernel keeps them in a list and runs them from its start; without `before` and `after` a program
goes to the end. Source: include/uapi/linux/bpf.h, kernel/bpf/mprog.c.
"""

from __future__ import annotations

from lskel.errors import UsageError
from lskel.named import NamedTuple
from lskel.runtime.objects import Fd
from lskel.runtime.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # A program, a link, or the id of a program that the caller has no fd of. 0 is all of them:
    # `before=0` puts a program at the start.
    Neighbour: TypeAlias = Program | Fd | int

# uapi/linux/bpf.h.
_F_BEFORE = 1 << 3
_F_AFTER = 1 << 4
_F_ID = 1 << 5
_F_LINK = 1 << 13


class Order(NamedTuple):
    """What LINK_CREATE takes: `flags`, and the fd or id `relative`."""

    flags: int
    relative: int


def order(before: Neighbour | None, after: Neighbour | None) -> Order:
    """The flags and the neighbour for LINK_CREATE; both 0 where neither is given."""
    if before is not None and after is not None:
        raise UsageError("a program goes before another or after another, not both")
    if before is not None:
        return _relative(_F_BEFORE, before)
    if after is not None:
        return _relative(_F_AFTER, after)
    return Order(0, 0)


def _relative(flag: int, neighbour: Neighbour) -> Order:
    if isinstance(neighbour, Fd):
        return Order(flag | _F_LINK, neighbour.fileno())
    if isinstance(neighbour, Program):
        return Order(flag, neighbour.fileno())
    return Order(flag | (_F_ID if neighbour else 0), neighbour)
