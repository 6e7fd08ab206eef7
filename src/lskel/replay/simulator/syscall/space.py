"""Separate kernel and user memory."""

from __future__ import annotations

from enum import Enum, auto

from lskel.replay.simulator.memory import Memory, MemoryFault, MemoryRegion
from lskel.replay.simulator.syscall.errnos import Errno, Refusal


class Domain(Enum):
    """The memory of a pointer; pointers from SYSCALL programs are to kernel memory."""

    KERNEL = auto()
    USER = auto()


class Space:
    """Memory in two domains. Invalid reads and writes raise Refusal EFAULT."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._user: set[int] = set()

    def map_user(self, name: str, data: bytearray, *, writable: bool = True) -> MemoryRegion:
        """Map `data` into user memory."""
        region = self.memory.map(name, data, writable=writable)
        self._user.add(region.base)
        return region

    def read(self, address: int, size: int, domain: Domain) -> bytes:
        """The bytes at an address; empty for size 0."""
        if size:
            self._find(address, size, domain)
        return self.memory.read(address, size)

    def write(self, address: int, content: bytes, domain: Domain) -> None:
        """Replace the bytes at an address."""
        if content:
            self._find(address, len(content), domain, write=True)
        self.memory.write(address, content)

    def string(self, address: int, limit: int, domain: Domain) -> bytes:
        """The bytes before the NUL, at most `limit`."""
        region, offset = self._find(address, 1, domain)
        return bytes(region.data[offset : offset + limit]).partition(b"\0")[0]

    def domain(self, address: int) -> Domain | None:
        """The domain of an address, None if not mapped."""
        try:
            region, _ = self.memory.find(address, 1)
        except MemoryFault:
            return None
        return Domain.USER if region.base in self._user else Domain.KERNEL

    def _find(
        self, address: int, size: int, domain: Domain, *, write: bool = False
    ) -> tuple[MemoryRegion, int]:
        try:
            region, offset = self.memory.find(address, size, write=write)
        except MemoryFault:
            raise Refusal(Errno.EFAULT) from None
        if (region.base in self._user) != (domain is Domain.USER):
            raise Refusal(Errno.EFAULT)
        return region, offset
