"""The position of a program among those of the same hook: tcx, netkit, cgroups.

The kernel runs them in list order; without `before` and `after` a program is appended. Source:
include/uapi/linux/bpf.h, kernel/bpf/mprog.c.
"""

from __future__ import annotations

from lskel.bpf.flags import AttachFlag
from lskel.errors import UsageError
from lskel.light_typing import NamedTuple
from lskel.runtime.objects import Fd
from lskel.runtime.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # A program, a link, or a program id if the caller has no fd. 0 means all: `before=0` puts a
    # program at the start.
    Neighbour: TypeAlias = Program | Fd | int


class Order(NamedTuple):
    """Fields of LINK_CREATE: `flags`, and the fd or id `relative`."""

    flags: int
    relative: int


def order(before: Neighbour | None, after: Neighbour | None) -> Order:
    """The flags and the neighbour for LINK_CREATE; both 0 if neither is given."""
    if before is not None and after is not None:
        raise UsageError("'before' and 'after' are exclusive")
    if before is not None:
        return _relative(AttachFlag.BEFORE, before)
    if after is not None:
        return _relative(AttachFlag.AFTER, after)
    return Order(0, 0)


def _relative(flag: int, neighbour: Neighbour) -> Order:
    if isinstance(neighbour, Fd):
        return Order(flag | AttachFlag.LINK, neighbour.fileno())
    if isinstance(neighbour, Program):
        return Order(flag, neighbour.fileno())
    return Order(flag | (AttachFlag.ID if neighbour else 0), neighbour)
