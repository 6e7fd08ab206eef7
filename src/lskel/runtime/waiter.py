"""Waiting for fds, until another thread ends the wait."""

from __future__ import annotations

import os
import select

from lskel.runtime.objects import Fd
from lskel.runtime.syscall import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class HasFileno(Protocol):
        """An fd that epoll supports."""

        def fileno(self) -> int: ...


class Waiter:
    """Waits until an fd is readable, in any number of threads; `end` wakes all of them.

    It has no `close`: its fds are closed with the last reference, which its owner drops after
    `end`. So a thread that is about to wait never finds their numbers reused. KernelError if no fd
    is left.
    """

    def __init__(self, *fds: HasFileno | int) -> None:
        with calling("epoll and eventfd"):
            self._epoll = select.epoll()
            self._ended = Fd(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            for fd in (self._ended, *fds):
                self.add(fd)

    def fileno(self) -> int:
        """For other epoll sets and selectors: readable while one of the fds is, or after `end`."""
        return self._epoll.fileno()

    def add(self, fd: HasFileno | int) -> None:
        """Wait for another fd, too."""
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: HasFileno) -> None:
        """Do not wait for an fd any more."""
        self._epoll.unregister(fd)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether an fd is readable, or `end` was called, within `timeout` seconds (None: ever)."""
        return bool(self._epoll.poll(timeout, 1))

    def end(self) -> None:
        """Wake all threads that wait now, or later."""
        os.eventfd_write(self._ended.fileno(), 1)
