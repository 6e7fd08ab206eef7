"""The filesystem that holds pins."""

from __future__ import annotations

import ctypes
import os

from lskel.errors import at
from lskel.runtime.syscall import KernelError

# uapi/linux/magic.h
_BPF_FS_MAGIC = 0xCAFE4A11


def is_on_bpffs(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is on a bpffs; KernelError where it cannot be looked at."""
    # A struct statfs has no more than 120 bytes. It begins with f_type, which is an int or a long.
    words = (ctypes.c_uint32 * 64)()
    with at(os.fspath(path)):
        if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), words):
            raise KernelError("statfs", ctypes.get_errno())
    return _BPF_FS_MAGIC in words[:2]
