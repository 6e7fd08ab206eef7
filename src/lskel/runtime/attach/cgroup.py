"""Cgroup programs: for the processes in a cgroup and its descendants."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import AttachFlag
from lskel.errors import at
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.order import order
from lskel.runtime.attach.target_fd import target_fd
from lskel.runtime.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.order import Neighbour
    from lskel.runtime.attach.target_fd import Target


_HINTS = {
    errno.EBADF: "not a directory of a version 2 cgroup (mount -t cgroup2)",
    errno.EINVAL: "the kernel may be too old for this attach kind, or, before 6.17, for 'before', "
    "'after' and 'preorder'; neighbours must be links",
    errno.EPERM: "a program attached without a link may forbid others in this cgroup and below",
    errno.ENOENT: "the neighbour is not attached to it",
}


def attach_cgroup(
    prog_fd: int,
    cgroup: Target,
    attach_type: AttachType,
    *,
    before: Neighbour | None = None,
    after: Neighbour | None = None,
    preorder: bool = False,
) -> BpfLink:
    """Attach to a version 2 cgroup, by path or fd. Linux 5.7.

    Links allow other programs (BPF_F_ALLOW_MULTI): those of a cgroup run first, then those of its
    ancestors; with `preorder`, before those of its descendants. The program is added at the end of
    the cgroup's list, or next to a neighbour (see `order`), given by its link if it has one (6.17).
    NotFound if the cgroup does not exist, BpfError if the kernel refuses.
    """
    flags, relative = order(before, after)
    if preorder:
        flags |= AttachFlag.PREORDER
    place = f"cgroup {cgroup}" if not isinstance(cgroup, int) else f"cgroup of fd {cgroup}"
    fields = {"cgroup_relative_fd": relative} if flags else {}
    with target_fd(cgroup, "cgroup") as fd, at(place), with_hints(_HINTS):
        return link_create(prog_fd, fd, attach_type, flags, **fields)


class CgroupProgram(Program):
    """A program of ``SEC("cgroup/...")``, ``SEC("cgroup_skb/...")``, "sockops" or "lsm_cgroup"."""

    def attach(  # type: ignore[override]
        self,
        cgroup: Target,
        attach_type: AttachType | None = None,
        *,
        before: Neighbour | None = None,
        after: Neighbour | None = None,
        preorder: bool = False,
    ) -> BpfLink:
        """Attach to a version 2 cgroup, by path or fd, until the link is closed.

        `attach_type` is for ``SEC("cgroup/skb")``, which does not have one: by default ingress.
        Raises the errors of `attach_cgroup`.
        """
        if attach_type is None:
            attach_type = AttachType(self.definition.attach_type)
        link = attach_cgroup(
            self.fileno(), cgroup, attach_type, before=before, after=after, preorder=preorder
        )
        self.attached(link)
        return link
