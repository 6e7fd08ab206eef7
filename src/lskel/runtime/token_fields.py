"""The BPF token in use, in the attrs of the commands that take one (Linux 6.9)."""

from __future__ import annotations

import _thread
import sys

from lskel.bpf.attr import load, size_through, store
from lskel.bpf.enums import Cmd
from lskel.bpf.flags import MapFlag
from lskel.bpf.layouts import BTF_LOAD, GET_ID, MAP_CREATE, PROG_LOAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.bpf.layouts import Layout

# The flags and the token's fd in the attr of each command that takes one.
_FIELDS: dict[int, tuple[Layout, str, str]] = {
    Cmd.MAP_CREATE: (MAP_CREATE, "map_flags", "map_token_fd"),
    Cmd.PROG_LOAD: (PROG_LOAD, "prog_flags", "prog_token_fd"),
    Cmd.BTF_LOAD: (BTF_LOAD, "btf_flags", "btf_token_fd"),
    Cmd.BTF_GET_FD_BY_ID: (GET_ID, "open_flags", "fd_by_id_token_fd"),  # Linux 6.16
}


class Scope(_thread._local):
    """What the calls of a thread have in common. `token` is the fd of a BPF token, 0 if none."""

    token = 0

    def take(self, token: int) -> None:
        """In a new thread: the token of the one that starts it."""
        self.token = token


scope = Scope()


def add_token(attr: bytearray, cmd: int, start: int = 0) -> None:
    """Add the token in use to an attr that begins at `start`; it grows at its end if too short."""
    fields = _FIELDS.get(cmd)
    if not scope.token or fields is None:
        return
    layout, flags, fd = fields
    attr.extend(bytes(max(0, start + size_through(layout, fd) - len(attr))))
    part = attr[start : start + size_through(layout, fd)]
    given = load(part, layout, flags, sys.byteorder)
    store(part, layout, flags, given | MapFlag.TOKEN_FD, sys.byteorder)
    store(part, layout, fd, scope.token, sys.byteorder)
    attr[start : start + len(part)] = part
