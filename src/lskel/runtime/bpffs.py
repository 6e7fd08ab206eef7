"""The filesystem that holds pins, and whether others can put theirs in the place of ours."""

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
_TRUST = "others may have put it there; --trust-pins, in Python trust_pins=True, takes it as it is"


def is_on_bpffs(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is on a bpffs; KernelError where it cannot be looked at."""
    # A struct statfs has no more than 120 bytes. It begins with f_type, which is an int or a long.
    words = (ctypes.c_uint32 * 64)()
    with at(os.fspath(path)):
        if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), words):
            raise KernelError("statfs", ctypes.get_errno())
    return _BPF_FS_MAGIC in words[:2]


def check_pin(path: str) -> None:
    """UsageError where others could have made this pin, or could put another in its place.

    So it is where the pin, or a directory on the way to it, belongs to neither this user nor root,
    or is writable by others; or where there is a symlink on the bpffs. Who may write to a directory
    with the sticky bit, as /tmp and the root of a bpffs have it, cannot replace what is not his
    own. Of symlinks above the bpffs, what they lead to counts as well. OSError where there is no
    such pin: in such a directory others may make it at any time.
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
    """The directories on the way to an absolute path, the outermost first, and itself."""
    names = path.split("/")
    return ["/".join(names[: count + 1]) or "/" for count in range(len(names))]


def _distrust(found: os.stat_result) -> str:
    """What is wrong with a part of a path; empty where nothing is."""
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
