"""The file descriptors of the simulated process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check

# 0 to 2 are in use, as `run_loader` ensures in the kernel: for loaders, 0 means "no fd".
FIRST_FD = 3
# The usual RLIMIT_NOFILE, minus those in use.
MAX_FDS = 1024 - FIRST_FD


class KernelObject:
    """A kernel object behind fds. `id` counts objects of a kind from 1; 0 before the first fd."""

    kind: ClassVar[str]
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class File:
    """An open file: the number of the call that opened it, and its access mode."""

    object: KernelObject
    call: int
    readable: bool = True
    writable: bool = True


_T = TypeVar("_T", bound=KernelObject)


class FdTable:
    """Files by fd; a new file gets the lowest free fd from `first` on."""

    def __init__(self, limit: int = MAX_FDS, first: int = FIRST_FD) -> None:
        self.limit = limit
        self._first = first
        self._files: dict[int, File] = {}

    def __len__(self) -> int:
        """The number of open fds."""
        return len(self._files)

    def __iter__(self) -> Iterator[tuple[int, File]]:
        """The open fds with their files, ascending."""
        return iter(sorted(self._files.items()))

    def open(self, file: File) -> int:
        """The new fd; Refusal EMFILE at the limit."""
        if len(self._files) >= self.limit:
            raise Refusal(Errno.EMFILE)
        fd = self._first
        while fd in self._files:
            fd += 1
        self._files[fd] = file
        return fd

    def file(self, fd: int) -> File | None:
        """The file; None if the fd is not open."""
        return self._files.get(fd)

    def is_open(self, fd: int) -> bool:
        """Whether the fd is open, including 0 to 2."""
        return 0 <= fd < FIRST_FD or fd in self._files

    def get(self, fd: int, kind: type[_T]) -> _T:
        """The object of this class; Refusal EBADF if not open, EINVAL if of another class."""
        check(self.is_open(fd), Errno.EBADF)
        file = self._files.get(fd)
        if file is None or not isinstance(file.object, kind):
            raise Refusal(Errno.EINVAL)
        return file.object

    def close(self, fd: int) -> None:
        """Close an fd; Refusal EBADF if not open. Loaders must not close 0 to 2."""
        if self._files.pop(fd, None) is None:
            raise Refusal(Errno.EBADF)
