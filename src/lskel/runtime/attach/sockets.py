"""Socket programs: filters, and SO_REUSEPORT selection.

Programs of routes (``lwt_in`` etc.) are attached by ip(8), those of infrared receivers
(``lirc_mode2``) by ir-keytable(1).
"""

from __future__ import annotations

import errno
from enum import Enum

from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import Link
from lskel.runtime.program import Program
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

_HINTS = {
    errno.EINVAL: "wrong program type, or the socket lacks SO_REUSEPORT",
    errno.EPERM: "the socket's filter is locked (SO_LOCK_FILTER)",
}


class SocketHook(Enum):
    """Socket options to attach and detach: asm-generic/socket.h."""

    FILTER = ("BPF", 50, 27)
    REUSEPORT = ("REUSEPORT_EBPF", 52, 68)


class SocketAttachment(Link):
    """A program attached to a socket. It stays with the socket unless this is closed."""

    def __init__(self, sock: socket.socket, hook: SocketHook) -> None:
        self._socket: socket.socket | None = sock
        self._hook = hook

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._socket is None

    def close(self) -> None:
        """Detach, unless the socket is closed. KernelError if the kernel refuses."""
        sock, self._socket = self._socket, None
        if sock is not None and sock.fileno() >= 0:
            name, _, option = self._hook.value
            with with_hints(_HINTS):
                _set(sock, option, 0, f"SO_DETACH_{name}")


def attach_socket(prog_fd: int, sock: socket.socket, hook: SocketHook) -> SocketAttachment:
    """Attach to a socket, replacing its program. Linux 4.5; detaching REUSEPORT needs 5.3.

    REUSEPORT programs are for the whole reuseport group. KernelError if the kernel refuses.
    """
    name, option, _ = hook.value
    with with_hints(_HINTS):
        _set(sock, option, prog_fd, f"SO_ATTACH_{name}")
    return SocketAttachment(sock, hook)


def _set(sock: socket.socket, option: int, value: int, name: str) -> None:
    import socket

    try:
        sock.setsockopt(socket.SOL_SOCKET, option, value)
    except OSError as error:
        raise KernelError(f"setsockopt({name})", error.errno or 0) from error


class SocketProgram(Program):
    """A program of ``SEC("socket")``: it returns how many bytes of a packet the socket receives."""

    def attach(self, sock: socket.socket) -> SocketAttachment:  # type: ignore[override]
        """Attach to a socket until the link is closed. Raises the errors of `attach_socket`."""
        link = attach_socket(self.fileno(), sock, SocketHook.FILTER)
        self.attached(link)
        return link


class SkReuseportProgram(Program):
    """A program of ``SEC("sk_reuseport")``: it selects the socket that receives a packet."""

    def attach(self, sock: socket.socket) -> SocketAttachment:  # type: ignore[override]
        """Attach to the reuseport group of a bound socket until the link is closed.

        Raises the errors of `attach_socket`.
        """
        link = attach_socket(self.fileno(), sock, SocketHook.REUSEPORT)
        self.attached(link)
        return link
