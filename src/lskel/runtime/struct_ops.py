"""Registering struct_ops: their map's only element is written, and linked where it wants it."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType, Cmd
from lskel.bpf.layouts import LINK_CREATE
from lskel.runtime.objects import Fd, duplicate
from lskel.runtime.one_element import delete, update
from lskel.runtime.syscall import BpfError, bpf, host_attr

_KEY = bytes(4)


class Registration:
    """struct_ops that their map's update registered; closing it takes them back. Linux 5.6."""

    def __init__(self, map_fd: int) -> None:
        # An fd of its own: the caller's may be closed first, and its number be another map's then.
        self._map = duplicate(map_fd)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._map.closed

    def close(self) -> None:
        """Unregister, unless somebody did; does nothing the second time."""
        if self._map.closed:
            return
        with self._map:
            try:
                delete(self._map.fileno(), _KEY)
            except BpfError as error:
                if error.errno not in (errno.EINPROGRESS, errno.ENOENT):
                    raise


def register(map_fd: int, value: bytes, *, by_link: bool) -> Fd | Registration:
    """Register struct_ops: `value` is the map's element as the kernel lays it out.

    `by_link` for maps made with BPF_F_LINK (Linux 6.4). BpfError where the kernel refuses: EEXIST
    where others of that name are registered.
    """
    try:
        update(map_fd, _KEY, value)
    except BpfError as error:
        # What an earlier link used stays ready for the next one.
        if not by_link or error.errno != errno.EBUSY:
            raise
    if not by_link:
        return Registration(map_fd)
    # The map's fd takes the program's place.
    attr = host_attr(LINK_CREATE, "flags", prog_fd=map_fd, attach_type=AttachType.STRUCT_OPS)
    return Fd(bpf(Cmd.LINK_CREATE, attr))
