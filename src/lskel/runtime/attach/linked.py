"""Programs that can replace another one in its link (BPF_LINK_UPDATE)."""

from __future__ import annotations

import errno

from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import link_update
from lskel.runtime.objects import Fd
from lskel.runtime.program import Program

_HINTS = {
    errno.EINVAL: "the program must have the type of the link's program",
    errno.ENOLINK: "the link's target is gone",
    errno.EPERM: "the link's program is not `instead_of`",
}


class LinkedProgram(Program):
    """A program whose links support replacing the program."""

    def replace(self, link: Fd, instead_of: Program | None = None) -> None:
        """Replace the link's program atomically.

        With `instead_of` only if that is the current program. BpfError if the kernel refuses:
        EINVAL for a program of another type, ENOLINK if the target is gone.
        """
        expected = None if instead_of is None else instead_of.fileno()
        with with_hints(_HINTS):
            link_update(link.fileno(), self.fileno(), expected)
