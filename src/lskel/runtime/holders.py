"""Which programs processes hold: those of which they have an fd."""

from __future__ import annotations

import os

from lskel.runtime.files import read_text
from lskel.runtime.permissions import Capability
from lskel.runtime.syscall import KernelError

_PROGRAM = "anon_inode:bpf-prog"


def held_programs() -> frozenset[int] | None:
    """The ids of programs of which a process has an fd; None if that is not known.

    Only the processes of this PID namespace are known. It takes CAP_SYS_PTRACE to see what is held
    by processes with as many rights as this one, unless they are of the same user. Those with
    other rights are of other programs: what they hold is not looked for if it cannot be seen.
    """
    found: set[int] = set()
    for process in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208
        directory = f"/proc/{process}"
        try:
            found |= _held(directory)
        except PermissionError:
            if _may_hold(directory):
                return None
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return frozenset(found)


def _held(directory: str) -> set[int]:
    found = set()
    for fd in os.listdir(f"{directory}/fd"):  # noqa: PTH208 - pathlib is slow to import
        try:
            if os.readlink(f"{directory}/fd/{fd}") != _PROGRAM:  # noqa: PTH115
                continue
            number = _fields(f"{directory}/fdinfo/{fd}").get("prog_id")
        except (FileNotFoundError, KernelError):
            continue  # it was closed meanwhile
        if number is not None:  # else another file has the number by now
            found.add(int(number))
    return found


def _may_hold(directory: str) -> bool:
    """Whether a process has the right to attach filters, and no others than this one has."""
    try:
        theirs = _capabilities(directory)
    except KernelError:
        return True
    return bool(theirs >> Capability.NET_ADMIN & 1) and not theirs & ~_capabilities("/proc/self")


def _capabilities(directory: str) -> int:
    return int(_fields(f"{directory}/status")["CapPrm"], 16)


def _fields(path: str) -> dict[str, str]:
    """The fields of a file with a "NAME: VALUE" in each line."""
    lines = (line.partition(":") for line in read_text(path).splitlines())
    return {name: value.strip() for name, _, value in lines}
