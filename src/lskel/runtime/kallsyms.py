"""Addresses of kernel symbols, from /proc/kallsyms."""

from __future__ import annotations

import errno

from lskel.runtime.syscall import KernelError, calling

KALLSYMS = "/proc/kallsyms"


def symbol_address(name: str) -> int | None:
    """The address of the first symbol of this name, in the kernel or a module; None if not found.

    KernelError EPERM if the kernel hides addresses (sysctl kernel.kptr_restrict).
    """
    wanted = name.encode()
    with calling(f"open({KALLSYMS})"), open(KALLSYMS, "rb") as symbols:  # noqa: PTH123
        for line in symbols:
            # "ADDRESS TYPE NAME", then "\t[MODULE]" for modules.
            if line.split(None, 3)[2] == wanted:
                address = int(line.split(None, 1)[0], 16)
                if not address:
                    raise KernelError(f"{KALLSYMS} hides addresses", errno.EPERM)
                return address
    return None
