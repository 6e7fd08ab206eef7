"""Arenas: memory shared between programs and user space (kernel/bpf/arena.c, Linux 6.9)."""

from __future__ import annotations

import errno
import mmap

from lskel.bpf.flags import MapFlag
from lskel.errors import ReplayError, UsageError
from lskel.runtime.kernel import RUNNING
from lskel.runtime.maps.create import create_map
from lskel.runtime.memory import MappedFd, map_memory
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.objects import Fd


_HINTS = {
    errno.EINVAL: "arenas need Linux 6.9, the flag BPF_F_MMAPABLE, neither key nor value, and a "
    "map_extra that is 0 or the address of a page",
    errno.EOPNOTSUPP: "arenas need a JIT compiler that supports them, such as x86-64's, and sysctl "
    "net.core.bpf_jit_enable=1",
    errno.E2BIG: "an arena has at most 4 GiB",
    errno.ERANGE: "an arena at a fixed map_extra must not cross a 4 GiB boundary",
}


def create_arena(wanted: MapDefinition, initial: bytes) -> MappedFd:
    """Create and map an arena, with its initial content at the start.

    The addresses of its variables in programs were fixed when the loader was generated, so the
    variables are at its start. libbpf links at load time: 1.8 places them at the end if the kernel
    lets programs refer to all of an arena (resolve_pseudo_ldimm64, Linux 7.0), else at the start.

    UsageError if they do not fit; ReplayError or NoPermission if the kernel refuses.
    """
    _check(wanted, len(initial))
    with create_map(RUNNING, wanted, _HINTS) as fd:
        mapped = map_arena(wanted, fd)
    mapped.memory[: len(initial)] = initial
    return mapped


def map_arena(wanted: MapDefinition, fd: Fd) -> MappedFd:
    """Map an arena at its `map_extra`, or anywhere if that is 0; ReplayError if mmap fails."""
    try:
        return map_memory(fd.fileno(), _size(wanted), wanted.map_extra)
    except KernelError as error:
        where = f" at {wanted.map_extra:#x}" if wanted.map_extra else ""
        what = f"mmap of map '{wanted.name}'{where}: {error.why}"
        hint = "this process has another mapping there" if error.errno == errno.EEXIST else ""
        raise ReplayError(what, errno=error.errno, hint=hint) from error


def _size(wanted: MapDefinition) -> int:
    return wanted.max_entries * mmap.PAGESIZE


def _check(wanted: MapDefinition, needed: int) -> None:
    if needed > _size(wanted):
        raise UsageError(
            f"map '{wanted.name}': {needed} bytes of variables do not fit into "
            f"{wanted.max_entries} pages",
            hint=f"set max_entries to {-(-needed // mmap.PAGESIZE)} or more",
        )
    if needed:
        check_writable(wanted.name, wanted.flags)


def check_writable(name: str, flags: int) -> None:
    """UsageError if access to an arena's memory may kill the process that maps it."""
    if flags & MapFlag.SEGV_ON_FAULT:
        raise UsageError(
            f"map '{name}' has variables, but user space cannot write them (BPF_F_SEGV_ON_FAULT)",
            hint="allocate and write them in a program",
        )
