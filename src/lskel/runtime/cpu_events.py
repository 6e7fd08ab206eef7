"""CPUs that come online: what the kernel says when it happens.

Source: Documentation/core-api/kobject.rst; drivers/base/cpu.c; lib/kobject_uevent.c.
"""

from __future__ import annotations

import errno

from lskel.runtime.cpus import online_cpus
from lskel.runtime.syscall import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

# uapi/linux/netlink.h, and the group of the kernel's own messages.
_KOBJECT_UEVENT = 15
_KERNEL = 1
_ONLINE = b"online@/devices/system/cpu/cpu"
# lib/kobject_uevent.c, UEVENT_BUFFER_SIZE, and the header.
_ROOM = 1 << 13


class CpuEvents:
    """Notices CPUs that come online; readable when there may be some. A context manager.

    KernelError if the system refuses such a socket.
    """

    def __init__(self) -> None:
        import socket

        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with calling("socket(AF_NETLINK)"):
            self._socket: socket.socket = socket.socket(socket.AF_NETLINK, kind, _KOBJECT_UEVENT)
            self._socket.bind((0, _KERNEL))

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def came_online(self) -> list[int]:
        """CPUs that came online since the last call, also those that went offline again."""
        found: dict[int, None] = {}
        while True:
            try:
                message, (sender, _) = self._socket.recvfrom(_ROOM)
            except BlockingIOError:
                return list(found)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # Messages were lost: it may have been any of them.
                found.update(dict.fromkeys(online_cpus()))
                continue
            cpu = message.partition(b"\0")[0].removeprefix(_ONLINE)
            # Messages of processes, which need CAP_NET_ADMIN for this, have a sender.
            if sender == 0 and message.startswith(_ONLINE) and cpu.isdigit():
                found[int(cpu)] = None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> CpuEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
