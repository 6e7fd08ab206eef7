"""Links: what keeps a program attached. Closing it detaches, unless the link was pinned."""

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
        """What detaches when it is closed: an `Fd`, or what stands for more than one."""

        @property
        def closed(self) -> bool:
            """Whether `close` was called."""

        def close(self) -> None:
            """Detach; does nothing the second time."""


def link_create(
    prog_fd: int, target: int, attach_type: AttachType, flags: int = 0, **fields: int
) -> Fd:
    """BPF_LINK_CREATE (Linux 5.7); BpfError where the kernel refuses.

    `target` is the fd or the interface number of what the program attaches to, which are one field
    of the attr; `fields` are those of the kind of link (layouts.LINK_CREATE). The attr ends with
    the last field that is given.
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
    """BPF_LINK_UPDATE (Linux 5.7): `prog_fd` takes the place of the link's program.

    With `expected`, an fd too, only if that is the link's program. BpfError where the kernel
    refuses.
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
