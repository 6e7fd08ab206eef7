"""Programs of a cgroup: for the processes in it and below it."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import AttachFlag
from lskel.errors import at
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.linked import LinkedProgram
from lskel.runtime.attach.opened import opened
from lskel.runtime.attach.order import order
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.opened import Target
    from lskel.runtime.attach.order import Neighbour


_HINTS = {
    errno.EBADF: "that is not the directory of a cgroup of version 2 (mount -t cgroup2)",
    errno.EINVAL: "the kernel may be too old for this kind of program, or, before 6.17, for "
    "'before', 'after' and 'preorder'; neighbours are given as links",
    errno.EPERM: "a program that was attached without a link may forbid others here and below",
    errno.ENOENT: "the neighbour is not attached there",
}


def attach_cgroup(
    prog_fd: int,
    cgroup: Target,
    attach_type: AttachType,
    *,
    before: Neighbour | None = None,
    after: Neighbour | None = None,
    preorder: bool = False,
) -> Fd:
    """Attach to a cgroup of version 2: the path of its directory, or an fd. Linux 5.7.

    Links go together with others (BPF_F_ALLOW_MULTI): those of a cgroup run first, then those of
    the cgroups above it, or before those below it with `preorder`. At the end of the cgroup's list,
    or next to the neighbour given (see `order`), by its link if it was attached by one (6.17).
    NotFound where there is no such cgroup, BpfError where the kernel refuses.
    """
    flags, relative = order(before, after)
    if preorder:
        flags |= AttachFlag.PREORDER
    place = f"cgroup {cgroup}" if not isinstance(cgroup, int) else f"cgroup of fd {cgroup}"
    fields = {"cgroup_relative_fd": relative} if flags else {}
    with opened(cgroup, "cgroup") as fd, at(place), explained(_HINTS):
        return link_create(prog_fd, fd, attach_type, flags, **fields)


class CgroupProgram(LinkedProgram):
    """A program of ``SEC("cgroup/...")``, ``SEC("cgroup_skb/...")``, "sockops", "lsm_cgroup"."""

    def attach(  # type: ignore[override]
        self,
        cgroup: Target,
        attach_type: AttachType | None = None,
        *,
        before: Neighbour | None = None,
        after: Neighbour | None = None,
        preorder: bool = False,
    ) -> Fd:
        """Attach to a cgroup of version 2, its path or an fd, until the link is closed.

        `attach_type` is for ``SEC("cgroup/skb")``, which does not say which packets: by default
        those that come in. Raises what `attach_cgroup` does.
        """
        if attach_type is None:
            attach_type = AttachType(self.definition.attach_type)
        link = attach_cgroup(
            self.fileno(), cgroup, attach_type, before=before, after=after, preorder=preorder
        )
        self.attached(link)
        return link
