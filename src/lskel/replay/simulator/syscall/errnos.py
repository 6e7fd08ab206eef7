"""Linux's error numbers, on any host system, and refusals with them."""

from __future__ import annotations

from enum import IntEnum


class Errno(IntEnum):
    """As in include/uapi/asm-generic/errno*.h; ENOTSUPP is in include/linux/errno.h."""

    EPERM = 1
    ENOENT = 2
    E2BIG = 7
    EBADF = 9
    ENOMEM = 12
    EACCES = 13
    EFAULT = 14
    EBUSY = 16
    EEXIST = 17
    EINVAL = 22
    EMFILE = 24
    ENOSPC = 28
    ERANGE = 34
    EPROTO = 71
    EOVERFLOW = 75
    ENOTSOCK = 88
    EOPNOTSUPP = 95
    ENOTSUPP = 524


class Refusal(Exception):
    """The simulated kernel refuses a call: `errno` is positive."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


def check(condition: bool, errno: Errno = Errno.EINVAL) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise Refusal(errno)
