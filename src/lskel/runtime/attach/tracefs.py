"""Reading files of tracefs."""

from __future__ import annotations

import errno
import os

from lskel.errors import LskelError, NotFound
from lskel.runtime.files import read_text
from lskel.runtime.syscall import KernelError

ROOTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


def read_tracefs(name: str, what: str) -> str:
    """The content of a file, by its path below the mount.

    NotFound "the kernel has no `what`" if the file does not exist, LskelError if tracefs is not
    mounted or not readable.
    """
    for root in ROOTS:
        path = f"{root}/{name}"
        try:
            return read_text(path)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            if error.errno in (errno.EACCES, errno.EPERM):
                error.hint = "by default only root may read it"
            raise
    if any(os.access(f"{root}/events", os.F_OK) for root in ROOTS):
        raise NotFound(f"the kernel has no {what}")
    raise LskelError("tracefs is not mounted", hint=f"mount -t tracefs tracefs {ROOTS[0]}")
