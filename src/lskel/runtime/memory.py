"""Maps that user space can mmap: arenas, and arrays with BPF_F_MMAPABLE."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from contextlib import suppress
from functools import cache

from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError, calling

# MAP_FIXED_NOREPLACE (uapi/asm-generic/mman-common.h, Linux 4.17).
_MAP_FIXED_NOREPLACE = 0x100000
_MAP_FAILED = ctypes.c_void_p(-1).value


class MappedFd(Fd):
    """The fd of a map and its mapped memory, as writable bytes at `address`.

    `close` unmaps it and releases `memory`. Buffers of parts of it (a slice, an array) keep all of
    it mapped until they are gone.
    """

    __slots__ = ("address", "memory")

    def __init__(self, fd: int, address: int, memory: memoryview) -> None:
        super().__init__(fd)
        self.address = address
        self.memory = memory

    def close(self) -> None:
        """Close and unmap; a second call does nothing."""
        super().close()
        with suppress(BufferError):  # unmapped with the other buffer
            self.memory.release()

    def __enter__(self) -> MappedFd:
        return self


def map_memory(fd: int, size: int, address: int = 0) -> MappedFd:
    """Map `size` bytes of a map, readable and writable; owns a duplicate of the fd.

    With `address` 0 the kernel chooses. KernelError with EEXIST if `address` is in use, EPERM if
    the map is frozen, ENODEV or ENOTSUPP if it cannot be mapped.
    """
    flags = mmap.MAP_SHARED | (_MAP_FIXED_NOREPLACE if address else 0)
    found = _libc().mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0)
    if found == _MAP_FAILED:
        raise KernelError("mmap", ctypes.get_errno())
    # Every view keeps the array alive, so none outlives the mapping.
    array = (ctypes.c_ubyte * size).from_address(found)
    weakref.finalize(array, _libc().munmap, found, size).atexit = False
    with calling("dup"):
        return MappedFd(os.dup(fd), found, memoryview(array).cast("B"))


@cache
def _libc() -> ctypes.CDLL:
    # Python's mmap takes no address.
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_long),
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
