"""Registering struct_ops: their map's only element is written, and linked where it wants it."""

from __future__ import annotations

from lskel.bpf.enums import AttachType, Cmd
from lskel.bpf.layouts import LINK_CREATE
from lskel.runtime.maps import delete, update
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import bpf, host_attr

_KEY = bytes(4)


class Registration:
    """struct_ops that their map's update registered; closing it takes them back. Linux 5.6."""

    def __init__(self, map_fd: int) -> None:
        self._map_fd = map_fd
        self._open = True

    def close(self) -> None:
        """Unregister; does nothing the second time."""
        if self._open:
            self._open = False
            delete(self._map_fd, _KEY)


def register(map_fd: int, value: bytes, *, by_link: bool) -> Fd | Registration:
    """Register struct_ops: `value` is the map's element as the kernel lays it out.

    `by_link` for maps made with BPF_F_LINK (Linux 6.4). BpfError where the kernel refuses: EEXIST
    where others of that name are registered.
    """
    update(map_fd, _KEY, value)
    if not by_link:
        return Registration(map_fd)
    # The map's fd takes the program's place.
    attr = host_attr(LINK_CREATE, "flags", prog_fd=map_fd, attach_type=AttachType.STRUCT_OPS)
    return Fd(bpf(Cmd.LINK_CREATE, attr))
