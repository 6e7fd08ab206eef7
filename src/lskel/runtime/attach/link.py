"""Links: a program is attached until its link is closed, unless the link is pinned."""

from __future__ import annotations

from lskel.bpf.enums import AttachType, Cmd
from lskel.bpf.flags import AttachFlag
from lskel.bpf.layouts import LINK_CREATE, LINK_UPDATE
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Link(Protocol):
        """An attachment that ends on close: an `Fd`, or an object that owns several."""

        @property
        def closed(self) -> bool:
            """Whether `close` was called."""

        def close(self) -> None:
            """Detach; a second call does nothing."""


def link_create(
    prog_fd: int, target: int, attach_type: AttachType, flags: int = 0, **fields: int
) -> Fd:
    """BPF_LINK_CREATE (Linux 5.7); BpfError if the kernel refuses.

    `target` is the fd or interface index of the attach target (one field of the attr); `fields` are
    those of the link type (layouts.LINK_CREATE). The attr ends with the last of these.
    """
    last = max((*fields, "flags"), key=lambda name: sum(LINK_CREATE[name]))
    attr = host_attr(
        LINK_CREATE,
        last,
        prog_fd=prog_fd,
        target_fd=target,
        attach_type=attach_type,
        flags=flags,
        **fields,
    )
    return Fd(bpf(Cmd.LINK_CREATE, attr))


def link_update(link_fd: int, prog_fd: int, expected: int | None = None) -> None:
    """BPF_LINK_UPDATE (Linux 5.7): `prog_fd` replaces the link's program.

    With `expected`, also an fd, only if that is the link's program. BpfError if the kernel refuses.
    """
    attr = host_attr(
        LINK_UPDATE,
        "old_prog_fd",
        link_fd=link_fd,
        new_prog_fd=prog_fd,
        flags=0 if expected is None else AttachFlag.REPLACE,
        old_prog_fd=expected or 0,
    )
    bpf(Cmd.LINK_UPDATE, attr)
