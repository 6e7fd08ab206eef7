"""Arenas: memory that programs share with user space (kernel/bpf/arena.c, Linux 6.9)."""

from __future__ import annotations

import errno
import mmap

from lskel.bpf.attr import object_name
from lskel.bpf.enums import Cmd
from lskel.bpf.flags import MapFlag
from lskel.bpf.layouts import MAP_CREATE
from lskel.errors import NoPermission, ReplayError, UsageError
from lskel.runtime.memory import MappedFd, map_memory
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError, KernelError, bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.maps.base import MapDefinition


_HINTS = {
    errno.EINVAL: "arenas need Linux 6.9, the flag BPF_F_MMAPABLE, neither key nor value, and a "
    "map_extra that is 0 or the address of a page",
    errno.EOPNOTSUPP: "arenas need a JIT compiler that knows them, such as x86-64's, and "
    "sysctl net.core.bpf_jit_enable=1",
    errno.E2BIG: "arenas have up to 4 GiB",
    errno.ERANGE: "an arena at a map_extra may not cross a multiple of 4 GiB",
}


def create_arena(wanted: MapDefinition, initial: bytes) -> MappedFd:
    """Create and map an arena that begins with its initial content.

    The programs' addresses of its variables were fixed when the loader was generated, so these lie
    at its start; libbpf, which links when it loads, has put them at its end since 1.8.

    UsageError where it has no room for them; ReplayError or NoPermission where the kernel refuses.
    """
    _check(wanted, len(initial))
    attr = host_attr(
        MAP_CREATE,
        "map_extra",
        map_type=wanted.type,
        key_size=wanted.key_size,
        value_size=wanted.value_size,
        max_entries=wanted.max_entries,
        map_flags=wanted.flags,
        map_name=object_name(wanted.name),
        map_extra=wanted.map_extra,
    )
    try:
        created = Fd(bpf(Cmd.MAP_CREATE, attr))
    except BpfError as error:
        what = f"BPF_MAP_CREATE of map '{wanted.name}': {error.why}"
        if error.errno == errno.EPERM:
            raise NoPermission(what, errno=errno.EPERM, hint=why_refused()) from error
        raise ReplayError(what, errno=error.errno, hint=_HINTS.get(error.errno, "")) from error
    with created as fd:
        mapped = map_arena(wanted, fd)
    mapped.memory[: len(initial)] = initial
    return mapped


def map_arena(wanted: MapDefinition, fd: Fd) -> MappedFd:
    """Map an arena where it wants to be, or anywhere; ReplayError where it cannot be there."""
    try:
        return map_memory(fd.fileno(), _size(wanted), wanted.map_extra)
    except KernelError as error:
        where = f" at {wanted.map_extra:#x}" if wanted.map_extra else ""
        what = f"mmap of map '{wanted.name}'{where}: {error.why}"
        hint = "this process has other memory there" if error.errno == errno.EEXIST else ""
        raise ReplayError(what, errno=error.errno, hint=hint) from error


def _size(wanted: MapDefinition) -> int:
    return wanted.max_entries * mmap.PAGESIZE


def _check(wanted: MapDefinition, needed: int) -> None:
    if needed > _size(wanted):
        raise UsageError(
            f"map '{wanted.name}' of {wanted.max_entries} pages has no room for the {needed} bytes "
            "of its variables",
            hint=f"give it a max_entries of {-(-needed // mmap.PAGESIZE)} or more",
        )
    if needed and wanted.flags & MapFlag.SEGV_ON_FAULT:
        # Touching its memory would kill this process.
        raise UsageError(
            f"map '{wanted.name}' has variables, but lets nobody write them (BPF_F_SEGV_ON_FAULT)",
            hint="have a program allocate and write them",
        )
