"""Network interfaces, by name or by number."""

from __future__ import annotations

from lskel.errors import NotFound

_HINT = "'ip link' lists those of this network namespace"


def interface_index(interface: str | int) -> int:
    """The number of an interface in the network namespace of the calling thread, from 1.

    NotFound where there is none. A number is looked up, too: for a wrong one the kernel has a
    different errno with each way of attaching.
    """
    import socket

    try:
        if isinstance(interface, str):
            return socket.if_nametoindex(interface)
        socket.if_indextoname(interface)
    except (OSError, OverflowError) as error:
        name = f"'{interface}'" if isinstance(interface, str) else f"number {interface}"
        raise NotFound(f"there is no network interface {name}", hint=_HINT) from error
    return interface
