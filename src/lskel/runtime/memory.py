"""Maps whose content is memory that user space shares: arenas, and arrays with BPF_F_MMAPABLE."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from contextlib import suppress
from functools import cache

from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError, calling

# uapi/asm-generic/mman-common.h, Linux 4.17: there and nowhere else, or EEXIST.
_MAP_FIXED_NOREPLACE = 0x100000
_MAP_FAILED = ctypes.c_void_p(-1).value


class MappedFd(Fd):
    """The fd of a map with the map's memory, as writable bytes at `address`.

    `close` unmaps it and releases `memory`. A part of it that somebody else has made a buffer of (a
    slice, an array) keeps all of it mapped, until that is gone.
    """

    __slots__ = ("address", "memory")

    def __init__(self, fd: int, address: int, memory: memoryview) -> None:
        super().__init__(fd)
        self.address = address
        self.memory = memory

    def close(self) -> None:
        """Close and unmap; does nothing the second time."""
        super().close()
        with suppress(BufferError):  # it goes with the other buffer
            self.memory.release()

    def __enter__(self) -> MappedFd:
        return self


def map_memory(fd: int, size: int, address: int = 0) -> MappedFd:
    """Map `size` bytes of a map to read and write; keeps an fd of its own.

    `address` 0 leaves the place to the kernel. KernelError with EEXIST where something else is at
    `address`, with EPERM where the map is frozen, with ENODEV or ENOTSUPP where it has no memory.
    """
    flags = mmap.MAP_SHARED | (_MAP_FIXED_NOREPLACE if address else 0)
    found = _libc().mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0)
    if found == _MAP_FAILED:
        raise KernelError("mmap", ctypes.get_errno())
    # Every view of the array keeps it, so none outlives the mapping.
    array = (ctypes.c_ubyte * size).from_address(found)
    weakref.finalize(array, _libc().munmap, found, size).atexit = False
    with calling("dup"):
        return MappedFd(os.dup(fd), found, memoryview(array).cast("B"))


@cache
def _libc() -> ctypes.CDLL:
    # Python's own mmap takes no address.
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_long),
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
