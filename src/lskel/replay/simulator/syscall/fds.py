"""The file descriptors of the simulated process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check

# 0 to 2 are in use, as `run_loader` has it in the kernel: loaders take 0 for "no fd".
FIRST_FD = 3
# The usual RLIMIT_NOFILE, less those in use.
MAX_FDS = 1024 - FIRST_FD


class Object:
    """What an fd may stand for. `id` counts those of a kind from 1; 0 before there is an fd."""

    kind: ClassVar[str]
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class File:
    """An open file: the call (its number in the record) that opened it, and what it may do."""

    object: Object
    call: int
    readable: bool = True
    writable: bool = True


_T = TypeVar("_T", bound=Object)


class FdTable:
    """Numbers to files; a new file gets the lowest free number from `first` on."""

    def __init__(self, limit: int = MAX_FDS, first: int = FIRST_FD) -> None:
        self.limit = limit
        self._first = first
        self._files: dict[int, File] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._files)

    def __iter__(self) -> Iterator[tuple[int, File]]:
        """The open fds with their files, in order of number."""
        return iter(sorted(self._files.items()))

    def open(self, file: File) -> int:
        """The new fd; Refusal EMFILE where the limit is reached."""
        if len(self._files) >= self.limit:
            raise Refusal(Errno.EMFILE)
        fd = self._first
        while fd in self._files:
            fd += 1
        self._files[fd] = file
        return fd

    def file(self, fd: int) -> File | None:
        """The file, None where the fd is not open."""
        return self._files.get(fd)

    def is_open(self, fd: int) -> bool:
        """Whether the fd is one of these, or of those in use from the start."""
        return 0 <= fd < FIRST_FD or fd in self._files

    def get(self, fd: int, kind: type[_T]) -> _T:
        """The object of this class; Refusal EBADF for what is not open, EINVAL for others."""
        check(self.is_open(fd), Errno.EBADF)
        file = self._files.get(fd)
        if file is None or not isinstance(file.object, kind):
            raise Refusal(Errno.EINVAL)
        return file.object

    def close(self, fd: int) -> None:
        """Refusal EBADF where it is not open; 0 to 2 are not the loader's to close."""
        if self._files.pop(fd, None) is None:
            raise Refusal(Errno.EBADF)
