"""Registering struct_ops: writing the only element of their map, and linking it (BPF_F_LINK)."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType, Cmd
from lskel.bpf.layouts import LINK_CREATE
from lskel.runtime.attach.link import BpfLink, Link
from lskel.runtime.objects import duplicate
from lskel.runtime.one_element import delete, update
from lskel.runtime.syscall import BpfError, bpf, host_attr

_KEY = bytes(4)


class Registration(Link):
    """struct_ops registered by a map update; closing it unregisters them. Linux 5.6."""

    def __init__(self, map_fd: int) -> None:
        # A duplicate: the caller's fd may be closed, and its number reused.
        self._map = duplicate(map_fd)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._map.closed

    def close(self) -> None:
        """Unregister, unless already done; a second call does nothing."""
        if self._map.closed:
            return
        with self._map:
            try:
                delete(self._map.fileno(), _KEY)
            except BpfError as error:
                if error.errno not in (errno.EINPROGRESS, errno.ENOENT):
                    raise


def register(map_fd: int, value: bytes, *, by_link: bool) -> BpfLink | Registration:
    """Register struct_ops: `value` is the map's element in the kernel's layout.

    `by_link` for maps with BPF_F_LINK (Linux 6.4). BpfError if the kernel refuses: EEXIST if
    struct_ops of that name are registered.
    """
    try:
        update(map_fd, _KEY, value)
    except BpfError as error:
        # After an earlier link, the element is still set.
        if not by_link or error.errno != errno.EBUSY:
            raise
    if not by_link:
        return Registration(map_fd)
    # The map's fd is passed as prog_fd.
    attr = host_attr(LINK_CREATE, "flags", prog_fd=map_fd, attach_type=AttachType.STRUCT_OPS)
    return BpfLink(bpf(Cmd.LINK_CREATE, attr))
