"""Iterators: programs that the kernel calls for each of its objects on read(2)."""

from __future__ import annotations

import errno
import os
import struct
from enum import IntEnum

from lskel.bpf.enums import AttachType, Cmd
from lskel.bpf.layouts import ITER_CREATE
from lskel.errors import UsageError
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.target_fd import target_fd
from lskel.runtime.btf_target import BtfTargetProgram
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError, address_of, bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.target_fd import Target
    from lskel.runtime.maps.base import Map

_HINTS = {
    errno.EINVAL: "wrong arguments for this iterator, or the kernel is too old: 'cgroup', 'tid' "
    "and 'pid' need 6.1",
    errno.EBADF: "this iterator needs a map: attach(map)",
}
# Iterators over one map.
_OF_A_MAP = ("bpf_map_elem", "bpf_sk_storage_map", "sockmap")
_OF_CGROUPS = "cgroup"

# union bpf_iter_link_info of uapi/linux/bpf.h, and its members for a map, cgroups, tasks.
_INFO_SIZE = 16
_MAP = struct.Struct("=I")
_CGROUP = struct.Struct("=IIQ")
_TASK = struct.Struct("=III")

_CHUNK = 1 << 16


class CgroupOrder(IntEnum):
    """Which cgroups, starting from one, and in which order: enum bpf_cgroup_iter_order.

    CHILDREN needs Linux 7.2.
    """

    SELF_ONLY = 1
    DESCENDANTS_PRE = 2
    DESCENDANTS_POST = 3
    ANCESTORS_UP = 4
    CHILDREN = 5


def attach_iterator(
    prog_fd: int,
    *,
    map_fd: int | None = None,
    cgroup: Target | None = None,
    order: CgroupOrder | None = None,
    tid: int = 0,
    pid: int = 0,
) -> BpfLink:
    """Create a link for reading the iterator (`read_iterator`). Linux 5.8.

    An iterator over map elements needs the map; one over cgroups the `order` and a start, path or
    fd, by default the root (6.1); one over tasks, their files or memory can be restricted to one
    thread or process (6.1). UsageError for more than one of these; NotFound if the cgroup does not
    exist, BpfError if the kernel refuses.
    """
    for_cgroups = cgroup is not None or order is not None
    if (map_fd is not None) + for_cgroups + bool(tid) + bool(pid) > 1:
        raise UsageError("an iterator takes one of 'map', 'cgroup', 'tid' and 'pid'")
    if map_fd is not None:
        return _attach(prog_fd, _MAP.pack(map_fd))
    if tid or pid:
        return _attach(prog_fd, _TASK.pack(tid, pid, 0))
    if not for_cgroups:
        return _attach(prog_fd, b"")
    order = CgroupOrder.DESCENDANTS_PRE if order is None else order
    if cgroup is None:
        return _attach(prog_fd, _CGROUP.pack(order, 0, 0))
    with target_fd(cgroup, "cgroup") as fd:
        return _attach(prog_fd, _CGROUP.pack(order, fd, 0))


def _attach(prog_fd: int, info: bytes) -> BpfLink:
    fields = {}
    padded = info.ljust(_INFO_SIZE, b"\0")
    if info:
        fields = {"iter_info": address_of(padded), "iter_info_len": len(padded)}
    with with_hints(_HINTS):
        return link_create(prog_fd, 0, AttachType.TRACE_ITER, **fields)


def iterator_fd(link_fd: int) -> Fd:
    """An fd for one iteration over the objects; BpfError if the kernel refuses. Linux 5.8."""
    return Fd(bpf(Cmd.ITER_CREATE, host_attr(ITER_CREATE, "flags", link_fd=link_fd)))


def read_iterator(link_fd: int) -> bytes:
    """Iterate over the objects; returns the program's output. KernelError on failure."""
    chunks: list[bytes] = []
    with iterator_fd(link_fd) as iterator:
        while True:
            try:
                chunk = os.read(iterator.fileno(), _CHUNK)
            except BlockingIOError:
                continue  # the kernel skipped many objects without output
            except OSError as error:
                raise KernelError("read(iterator)", error.errno or 0) from error
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)


class IteratorProgram(BtfTargetProgram):
    """A program of ``SEC("iter/...")``."""

    @property
    def _of(self) -> str:
        """What it iterates over."""
        return self.target or self.definition.target

    def attaches_itself(self) -> bool:
        """Whether the iterator does not need a map."""
        return self._of not in _OF_A_MAP

    def attach(
        self,
        map: Map | None = None,
        *,
        cgroup: Target | None = None,
        order: CgroupOrder | None = None,
        tid: int = 0,
        pid: int = 0,
    ) -> BpfLink:
        """Create a link for reading the iterator; it may be pinned, and read as a file.

        The arguments are those of `attach_iterator`; cgroup iterators visit all cgroups by default,
        parents first. Raises the errors of that function.
        """
        link = self._link(map, cgroup, order, tid, pid)
        self.attached(link)
        return link

    def read(
        self,
        map: Map | None = None,
        *,
        cgroup: Target | None = None,
        order: CgroupOrder | None = None,
        tid: int = 0,
        pid: int = 0,
    ) -> bytes:
        """Iterate over the objects; returns the program's output.

        Creates a temporary link with the arguments of `attach`; for an existing link see
        `read_iterator`. Raises the errors of `attach`, KernelError if reading fails.
        """
        with self._link(map, cgroup, order, tid, pid) as link:
            return read_iterator(link.fileno())

    def _link(
        self,
        of: Map | None,
        cgroup: Target | None,
        order: CgroupOrder | None,
        tid: int,
        pid: int,
    ) -> BpfLink:
        if order is None and self._of == _OF_CGROUPS:
            order = CgroupOrder.DESCENDANTS_PRE
        return attach_iterator(
            self.fileno(),
            map_fd=None if of is None else of.fileno(),
            cgroup=cgroup,
            order=order,
            tid=tid,
            pid=pid,
        )
