"""Sandboxed attach targets: a cgroup, a network namespace and a file without other users."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lskel.bpf.flags import NetlinkFlag
from lskel.doctor.child import fork
from lskel.errors import LskelError
from lskel.runtime.attach.netlink import NetlinkRequest, Rtnetlink, attribute, nested
from lskel.runtime.files import read_text
from lskel.runtime.objects import Fd
from lskel.runtime.signals import uninterrupted
from lskel.runtime.syscall import KernelError

_CLONE_NEWNET = 0x40000000
_PAGE = 4096

# uapi/linux/if_link.h.
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_IFINFOMSG_SIZE = 16


def cgroup_root() -> str:
    """The mount point of cgroup v2; empty if not mounted."""
    try:
        mounts = read_text("/proc/self/mounts").splitlines()
    except OSError:
        return ""
    for line in mounts:
        _, place, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place)
    return ""


@contextmanager
def own_cgroup(root: str) -> Iterator[str]:
    """Create a cgroup without processes and remove it at the end; Ctrl-C waits for that.

    It is also removed if this process is killed. LskelError if it cannot be created or removed.
    """
    path = f"{root}/lskel-doctor-{os.urandom(4).hex()}"
    with uninterrupted(), _removed_if_killed(path):
        try:
            os.mkdir(path)  # noqa: PTH102
        except OSError as error:
            raise LskelError(
                f"cannot create a cgroup in {root}: {error.strerror}",
                hint="run it where cgroup v2 is writable",
            ) from error
        try:
            yield path
        finally:
            _remove(path)


@contextmanager
def _removed_if_killed(directory: str) -> Iterator[None]:
    """If this process is killed, a child in its own session removes the directory."""
    read, write = map(Fd, os.pipe())
    with read, write:
        child = fork()
        if child == 0:
            try:
                os.setsid()
                write.close()
                os.read(read.fileno(), 1)  # returns when the other end is closed
                os.rmdir(directory)  # noqa: PTH106
            finally:
                os._exit(0)
        try:
            yield
        finally:
            write.close()
            os.waitpid(child, 0)


def _remove(cgroup: str) -> None:
    try:
        os.rmdir(cgroup)  # noqa: PTH106
    except OSError as error:
        raise LskelError(
            f"cannot remove {cgroup}: {error.strerror}",
            hint=f"find out what is in it, then rmdir {cgroup}",
        ) from error


def enter_own_network() -> None:
    """Move this thread into a new network namespace, which ends with it.

    KernelError if that is not permitted.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise KernelError("unshare(CLONE_NEWNET)", ctypes.get_errno())


def make_pair(kind: str, name: str) -> None:
    """Create a pair of interfaces of this kind in this network namespace; `name` is one end.

    NetlinkError if the kernel lacks the kind.
    """
    body = bytes(_IFINFOMSG_SIZE)
    body += attribute(_IFLA_IFNAME, name.encode() + b"\0")
    body += nested(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, kind.encode()))
    with Rtnetlink() as netlink:
        netlink.ask(NetlinkRequest.NEWLINK, body, NetlinkFlag.CREATE | NetlinkFlag.EXCL)


@contextmanager
def own_file() -> Iterator[str]:
    """The path of a file in memory that no process runs."""
    with Fd(os.memfd_create("lskel_doctor", os.MFD_CLOEXEC)) as file:
        os.ftruncate(file.fileno(), _PAGE)
        yield f"/proc/self/fd/{file.fileno()}"
