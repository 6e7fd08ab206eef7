"""Programs that can take the place of another one in its link."""

from __future__ import annotations

import errno

from lskel.runtime.attach.link import link_update
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd
from lskel.runtime.program import Program

_HINTS = {
    errno.EINVAL: "the program must be of the type that the link was made with",
    errno.ENOLINK: "what the link attached to is gone",
    errno.EPERM: "the link does not hold the program that `instead_of` says",
}


class LinkedProgram(Program):
    """A program of a kind whose links can be given another program while they are attached."""

    def replace(self, link: Fd, instead_of: Program | None = None) -> None:
        """Take the place of the link's program, with no moment in between that has none.

        With `instead_of` only if that is the link's program now. BpfError where the kernel
        refuses: EINVAL for a program of another type, ENOLINK if the target is gone.
        """
        expected = None if instead_of is None else instead_of.fileno()
        with explained(_HINTS):
            link_update(link.fileno(), self.fileno(), expected)
