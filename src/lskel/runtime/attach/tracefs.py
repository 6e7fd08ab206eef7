"""Files of tracefs."""

from __future__ import annotations

import errno
import os

from lskel.errors import LskelError, NotFound
from lskel.runtime.files import read_text
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError, calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

ROOTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


def read_tracefs(name: str, what: str) -> str:
    """The content of a file, by its path below the mount.

    NotFound "the kernel has no `what`" if the file does not exist, LskelError if tracefs is not
    mounted or not readable.
    """
    return _in_mount(name, what, read_text)


def open_tracefs(name: str, what: str) -> Fd:
    """A file to write commands to, each by one call of write(2); errors as `read_tracefs`."""
    return _in_mount(name, what, _open)


def _open(path: str) -> Fd:
    # Opening it with O_TRUNC would be a command, too: to remove everything.
    with calling(f"open({path})"):
        return Fd(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))


def _in_mount(name: str, what: str, use: Callable[[str], T]) -> T:
    for root in ROOTS:
        try:
            return use(f"{root}/{name}")
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            if error.errno in (errno.EACCES, errno.EPERM):
                error.hint = "by default only root may use it"
            raise
    if any(os.access(f"{root}/events", os.F_OK) for root in ROOTS):
        raise NotFound(f"the kernel has no {what}")
    raise LskelError("tracefs is not mounted", hint=f"mount -t tracefs tracefs {ROOTS[0]}")
