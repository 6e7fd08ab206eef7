"""bpffs, the filesystem for pins, and whether other users could replace a pin."""

from __future__ import annotations

import ctypes
import os
import stat

from lskel.errors import UsageError, at
from lskel.runtime.syscall import KernelError

# uapi/linux/magic.h
_BPF_FS_MAGIC = 0xCAFE4A11

_ROOT_USER = 0
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_TRUST = "other users could have created it; to accept it: --trust-pins, in Python trust_pins=True"


def is_on_bpffs(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is on a bpffs; KernelError if statfs(2) fails."""
    # struct statfs has at most 120 bytes. Its first field is f_type, an int or a long.
    words = (ctypes.c_uint32 * 64)()
    with at(os.fspath(path)):
        if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), words):
            raise KernelError("statfs", ctypes.get_errno())
    return _BPF_FS_MAGIC in words[:2]


def check_pin(path: str) -> None:
    """UsageError if other users could have created this pin, or could replace it.

    That is the case if the pin or a parent directory belongs to neither this user nor root, if it
    is writable by others, or if there is a symlink on the bpffs. A writable directory is accepted
    if it has the sticky bit (/tmp, the root of a bpffs): users cannot replace files of others
    there. Symlinks above the bpffs are followed, and their targets checked. OSError if the pin does
    not exist: in such a directory others could create it at any time.
    """
    for part in _parts(path):
        found = os.lstat(part)
        if stat.S_ISLNK(found.st_mode) and not is_on_bpffs(os.path.dirname(part)):  # noqa: PTH120
            if why := _distrust_owner(found):
                raise UsageError(f"{part} {why}", hint=_TRUST)
            check_pin(os.path.realpath(part) + path[len(part) :])
            return
        if why := _distrust(found):
            raise UsageError(f"{part} {why}", hint=_TRUST)


def _parts(path: str) -> list[str]:
    """The parent directories of an absolute path, outermost first, and the path itself."""
    names = path.split("/")
    return ["/".join(names[: count + 1]) or "/" for count in range(len(names))]


def _distrust(found: os.stat_result) -> str:
    """Why a component of a path is not trusted; empty if it is."""
    if stat.S_ISLNK(found.st_mode):
        return "is a symlink"
    if why := _distrust_owner(found):
        return why
    is_sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_mode & _BY_OTHERS and not is_sticky:
        return f"is writable by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _distrust_owner(found: os.stat_result) -> str:
    is_ours = found.st_uid in (_ROOT_USER, os.geteuid())
    return "" if is_ours else f"belongs to user {found.st_uid}"
