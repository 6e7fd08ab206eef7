"""Programs of one socket: filters, and those that choose among the sockets of one port.

Programs for routes (``lwt_in`` and the like) are for ip(8) to attach, those for infrared receivers
(``lirc_mode2``) for ir-keytable(1).
"""

from __future__ import annotations

import errno
from enum import Enum

from lskel.runtime.attach.refusals import explained
from lskel.runtime.program import Program
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

_HINTS = {
    errno.EINVAL: "the program is of another type, or the socket lacks SO_REUSEPORT",
    errno.EPERM: "the socket's filter is locked (SO_LOCK_FILTER)",
}


class SocketHook(Enum):
    """Options of a socket, to attach and to detach: asm-generic/socket.h."""

    FILTER = ("BPF", 50, 27)
    REUSEPORT = ("REUSEPORT_EBPF", 52, 68)


class SocketAttachment:
    """A program that a socket holds. It stays with the socket unless it is closed."""

    def __init__(self, sock: socket.socket, hook: SocketHook) -> None:
        self._socket: socket.socket | None = sock
        self._hook = hook

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._socket is None

    def close(self) -> None:
        """Detach, unless the socket is closed. KernelError where the kernel refuses."""
        sock, self._socket = self._socket, None
        if sock is not None and sock.fileno() >= 0:
            name, _, option = self._hook.value
            with explained(_HINTS):
                _set(sock, option, 0, f"SO_DETACH_{name}")

    def __enter__(self) -> SocketAttachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach_socket(prog_fd: int, sock: socket.socket, hook: SocketHook) -> SocketAttachment:
    """Attach to a socket, in place of the program it has. Linux 4.5, to detach REUSEPORT 5.3.

    Programs of REUSEPORT are for the whole group of sockets. KernelError where the kernel refuses.
    """
    name, option, _ = hook.value
    with explained(_HINTS):
        _set(sock, option, prog_fd, f"SO_ATTACH_{name}")
    return SocketAttachment(sock, hook)


def _set(sock: socket.socket, option: int, value: int, name: str) -> None:
    import socket

    try:
        sock.setsockopt(socket.SOL_SOCKET, option, value)
    except OSError as error:
        raise KernelError(f"setsockopt({name})", error.errno or 0) from error


class SocketProgram(Program):
    """A program of ``SEC("socket")``: what it returns is how much of a packet the socket gets."""

    def attach(self, sock: socket.socket) -> SocketAttachment:  # type: ignore[override]
        """Attach to a socket until the link is closed. Raises what `attach_socket` does."""
        link = attach_socket(self.fileno(), sock, SocketHook.FILTER)
        self.attached(link)
        return link


class SkReuseportProgram(Program):
    """A program of ``SEC("sk_reuseport")``: it chooses the socket that gets a packet."""

    def attach(self, sock: socket.socket) -> SocketAttachment:  # type: ignore[override]
        """Attach to a socket's group (SO_REUSEPORT, bound) until the link is closed.

        Raises what `attach_socket` does.
        """
        link = attach_socket(self.fileno(), sock, SocketHook.REUSEPORT)
        self.attached(link)
        return link
