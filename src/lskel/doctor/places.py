"""Places of our own to attach to: nothing of the machine's passes through them."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lskel.bpf.flags import NetlinkFlag
from lskel.doctor.apart import fork
from lskel.errors import LskelError
from lskel.runtime.attach.netlink import Request, Rtnetlink, attribute, nested
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
    """Where cgroups of version 2 are mounted; empty where they are not."""
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
    """A new cgroup, in which no process is; removed in the end, Ctrl-C waits for that.

    And so it is if this process is killed. LskelError where it cannot be made, or not be removed.
    """
    path = f"{root}/lskel-doctor-{os.urandom(4).hex()}"
    with uninterrupted(), _removed_if_killed(path):
        try:
            os.mkdir(path)  # noqa: PTH102
        except OSError as error:
            raise LskelError(
                f"no cgroup can be made in {root}: {error.strerror}",
                hint="run it where cgroups of version 2 are writable",
            ) from error
        try:
            yield path
        finally:
            _remove(path)


@contextmanager
def _removed_if_killed(directory: str) -> Iterator[None]:
    """Another process, which signals to this one's group do not reach, removes it then."""
    read, write = map(Fd, os.pipe())
    with read, write:
        child = fork()
        if child == 0:
            try:
                os.setsid()
                write.close()
                os.read(read.fileno(), 1)  # ends when this pipe's other end is gone
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
            f"{cgroup} cannot be removed: {error.strerror}",
            hint=f"see who has put something into it, and then: rmdir {cgroup}",
        ) from error


def enter_own_network() -> None:
    """Put this thread into a network namespace of its own, which goes with it.

    KernelError where that is not allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise KernelError("unshare(CLONE_NEWNET)", ctypes.get_errno())


def make_pair(kind: str, name: str) -> None:
    """A pair of interfaces of such a kind in this network namespace; `name` is one end's.

    NetlinkError where the kernel has none.
    """
    body = bytes(_IFINFOMSG_SIZE)
    body += attribute(_IFLA_IFNAME, name.encode() + b"\0")
    body += nested(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, kind.encode()))
    with Rtnetlink() as netlink:
        netlink.ask(Request.NEWLINK, body, NetlinkFlag.CREATE | NetlinkFlag.EXCL)


@contextmanager
def own_file() -> Iterator[str]:
    """The path of a file that is in memory, and that no process runs."""
    with Fd(os.memfd_create("lskel_doctor", os.MFD_CLOEXEC)) as file:
        os.ftruncate(file.fileno(), _PAGE)
        yield f"/proc/self/fd/{file.fileno()}"
