"""Arenas: memory that programs share with user space (kernel/bpf/arena.c, Linux 6.9)."""

from __future__ import annotations

import errno
import mmap

from lskel.errors import NoPermission, ReplayError, UsageError
from lskel.replay.report import failure
from lskel.runtime.memory import MappedFd, map_memory
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError, KernelError, bpf, errno_name
from lskel.syscalls import call_of
from lskel.trace import Arena, MapCreate, Trace

# uapi/linux/bpf.h: user space may not be the first to touch a page.
_F_SEGV_ON_FAULT = 1 << 17

_HINTS = {
    errno.EINVAL: "arenas need Linux 6.9, the flag BPF_F_MMAPABLE, neither key nor value, and a "
    "map_extra that is 0 or the address of a page",
    errno.EOPNOTSUPP: "arenas need a JIT compiler that knows them, such as x86-64's, and "
    "sysctl net.core.bpf_jit_enable=1",
    errno.E2BIG: "arenas have up to 4 GiB",
    errno.ERANGE: "an arena at a map_extra may not cross a multiple of 4 GiB",
}


def create_arena(trace: Trace, arena: Arena) -> MappedFd:
    """Create and map an arena that begins with its initial content.

    The programs' addresses of its variables were fixed when the loader was generated, so these lie
    at its start; libbpf, which links when it loads, has put them at its end since 1.8.

    UsageError where it has no room for them; ReplayError or NoPermission where the kernel refuses.
    """
    create = trace.map_create(arena.slot)
    _check(create, arena)
    call = call_of(create, trace.order)
    assert call is not None
    number = trace.maps[arena.slot].op
    try:
        created = Fd(bpf(call.cmd, bytearray(call.attr)))
    except BpfError as error:
        refused = failure(trace, number, error.errno)
        if error.errno == errno.EPERM:
            raise NoPermission(refused.what, errno=errno.EPERM, hint=why_refused()) from error
        refused.hint = _HINTS.get(error.errno, refused.hint)
        raise refused from error
    with created as fd:
        mapped = map_arena(trace, create, fd)
    mapped.memory[: len(arena.initial)] = arena.initial
    return mapped


def map_arena(trace: Trace, create: MapCreate, fd: Fd) -> MappedFd:
    """Map an arena where it wants to be, or anywhere; ReplayError where it cannot be there."""
    try:
        return map_memory(fd.fileno(), _size(create), create.map_extra)
    except KernelError as error:
        where = f" at {create.map_extra:#x}" if create.map_extra else ""
        what = f"{trace.name}: mmap of map '{create.name}'{where}: {errno_name(error.errno)}: "
        hint = "this process has other memory there" if error.errno == errno.EEXIST else ""
        raise ReplayError(f"{what}{error.strerror}", errno=error.errno, hint=hint) from error


def _size(create: MapCreate) -> int:
    return create.max_entries * mmap.PAGESIZE


def _check(create: MapCreate, arena: Arena) -> None:
    needed = len(arena.initial)
    if needed > _size(create):
        raise UsageError(
            f"map '{create.name}' of {create.max_entries} pages has no room for the {needed} bytes "
            "of its variables",
            hint=f"give it a max_entries of {-(-needed // mmap.PAGESIZE)} or more",
        )
    if needed and create.flags & _F_SEGV_ON_FAULT:
        # Touching its memory would kill this process.
        raise UsageError(
            f"map '{create.name}' has variables, but lets nobody write them (BPF_F_SEGV_ON_FAULT)",
            hint="have a program allocate and write them",
        )
