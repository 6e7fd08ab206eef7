"""tc programs: for ingress and egress packets of a network interface.

Linux 6.6 has links for them, tcx; before, they are filters of the clsact qdisc (see `clsact`),
which newer kernels run after tcx. Actions (``SEC("action")``) are attached by tc(8).
"""

from __future__ import annotations

import errno
from enum import Enum

from lskel.bpf.enums import AttachType
from lskel.errors import UsageError, at
from lskel.runtime.attach.clsact import ClsactFilter, Direction, attach_clsact
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.interface import interface_index
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.order import order
from lskel.runtime.attach.target import choice
from lskel.runtime.program import Program
from lskel.runtime.syscall import BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.order import Neighbour

_HINTS = {
    errno.EINVAL: 'tcx needs Linux 6.6; use by="clsact" on older kernels',
    errno.ENOENT: "the neighbour is not attached to it",
    errno.EEXIST: "the program is already attached to it",
}
_DIRECTIONS = {
    AttachType.TCX_INGRESS: Direction.INGRESS,
    AttachType.TCX_EGRESS: Direction.EGRESS,
}
_ATTACH_TYPES = {direction: attach_type for attach_type, direction in _DIRECTIONS.items()}


class TcWay(Enum):
    """Mechanisms to attach tc programs."""

    TCX = "tcx"
    CLSACT = "clsact"


def attach_tcx(
    prog_fd: int,
    interface: str | int,
    direction: Direction | str,
    *,
    before: Neighbour | None = None,
    after: Neighbour | None = None,
) -> BpfLink:
    """Attach to an interface, by name or index, with a link. Linux 6.6.

    At the end of the list, or next to a neighbour (see `order`). NotFound if the interface does not
    exist, BpfError if the kernel refuses: EINVAL if it lacks tcx.
    """
    direction = choice(Direction, direction, "direction")
    flags, relative = order(before, after)
    index = interface_index(interface)
    with at(f"interface {interface}"), with_hints(_HINTS):
        attach_type = _ATTACH_TYPES[direction]
        return link_create(prog_fd, index, attach_type, flags, tcx_relative_fd=relative)


class TcProgram(Program):
    """A program of ``SEC("tc")``, ``SEC("tcx/ingress")`` etc."""

    def attach(  # type: ignore[override]
        self,
        interface: str | int,
        direction: Direction | str | None = None,
        *,
        by: TcWay | str | None = None,
        before: Neighbour | None = None,
        after: Neighbour | None = None,
        priority: int = 0,
        handle: int = 0,
    ) -> BpfLink | ClsactFilter:
        """Attach to an interface, by name or index, until the link is closed.

        `direction` ("ingress", "egress") defaults to that of the section name. Uses tcx if the
        kernel has it, else clsact, unless `by` ("tcx", "clsact") selects one; `before` and `after`
        are for tcx (see `attach_tcx`), `priority` and `handle` for clsact (see `attach_clsact`).
        UsageError for contradicting arguments; else the errors of those two functions.
        """
        if direction is None:
            direction = _DIRECTIONS.get(AttachType(self.definition.attach_type))
        if direction is None:
            raise UsageError(
                f"program '{self.name}' has no direction: expected ingress or egress",
                hint='use attach(interface, "ingress"), or SEC("tc/ingress")',
            )
        direction = choice(Direction, direction, "direction")
        if by is not None:
            by = choice(TcWay, by, "way to attach")
        for_tcx = before is not None or after is not None
        for_clsact = bool(priority or handle)
        if (for_tcx and for_clsact) or (for_tcx and by is TcWay.CLSACT):
            raise UsageError("'before' and 'after' are for tcx; clsact takes 'priority'")
        if for_clsact and by is TcWay.TCX:
            raise UsageError("'priority' and 'handle' are for clsact; tcx takes 'before', 'after'")
        link: BpfLink | ClsactFilter | None = None
        if by is not TcWay.CLSACT and not for_clsact:
            try:
                link = attach_tcx(self.fileno(), interface, direction, before=before, after=after)
            except BpfError as error:
                if error.errno != errno.EINVAL or for_tcx or by is TcWay.TCX:
                    raise
        if link is None:
            link = attach_clsact(
                self.fileno(),
                interface,
                direction,
                priority=priority,
                handle=handle,
                name=self.name,
            )
        self.attached(link)
        return link
