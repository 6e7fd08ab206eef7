"""Machine-specific numbers: syscalls, and the encoding of ioctl requests."""

from __future__ import annotations

import os
import sys
from functools import cache

from lskel.errors import NotSupported
from lskel.light_typing import NamedTuple


class Machine(NamedTuple):
    """Syscall numbers (arch/*/syscall.tbl, asm-generic/unistd.h) and uapi/asm/ioctl.h."""

    bpf: int
    perf_event_open: int
    ioc_none: int = 0 << 30
    ioc_write: int = 1 << 30


_GENERIC = Machine(280, 241)
_OLD_IOC = (1 << 29, 4 << 29)

_MACHINES_64 = {
    "x86_64": Machine(321, 298),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
    "s390x": Machine(351, 331),
    "ppc64": Machine(361, 319, *_OLD_IOC),
    "ppc64le": Machine(361, 319, *_OLD_IOC),
    "mips64": Machine(5315, 5292, *_OLD_IOC),
}

_I386 = Machine(357, 336)
_ARM = Machine(386, 364)

# A 32-bit Python may run on a 64-bit kernel, whose uname is the 64-bit name.
_MACHINES_32 = {
    "i386": _I386,
    "i486": _I386,
    "i586": _I386,
    "i686": _I386,
    "x86_64": _I386,
    "armv6l": _ARM,
    "armv7l": _ARM,
    "armv8l": _ARM,
    "aarch64": _ARM,
}


def machine(system: str, name: str, bits: int) -> Machine:
    """The numbers for a Python of `bits` bits; NotSupported if unknown."""
    known = _MACHINES_64 if bits == 64 else _MACHINES_32
    if system != "linux":
        raise NotSupported(
            f"bpf(2) needs Linux, this is {system}", hint="the simulator runs loaders anywhere"
        )
    if name not in known:
        raise NotSupported(f"the syscall number of bpf(2) on {bits}-bit {name} is unknown")
    return known[name]


@cache
def this_machine() -> Machine:
    """The numbers of the running system; NotSupported if unknown."""
    name = os.uname().machine if hasattr(os, "uname") else ""
    return machine(sys.platform, name, 64 if sys.maxsize > 1 << 32 else 32)
