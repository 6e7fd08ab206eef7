"""Files of the kernel's tracefs."""

from __future__ import annotations

import errno
import os

from lskel.errors import LskelError, NotFound
from lskel.runtime.files import read_text
from lskel.runtime.syscall import KernelError

ROOTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


def read_tracefs(name: str, what: str) -> str:
    """What is in a file, by its path below the mount.

    NotFound "the kernel has no `what`" where there is no such file, LskelError where tracefs is not
    mounted or may not be read.
    """
    for root in ROOTS:
        path = f"{root}/{name}"
        try:
            return read_text(path)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            if error.errno in (errno.EACCES, errno.EPERM):
                error.hint = "by default only root may"
            raise
    if any(os.access(f"{root}/events", os.F_OK) for root in ROOTS):
        raise NotFound(f"the kernel has no {what}")
    raise LskelError("tracefs is not mounted", hint=f"mount -t tracefs tracefs {ROOTS[0]}")
