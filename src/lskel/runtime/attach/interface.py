"""Network interfaces, by name or index."""

from __future__ import annotations

from lskel.errors import NotFound

_HINT = "'ip link' lists those of this network namespace"


def interface_index(interface: str | int) -> int:
    """The index of an interface in the network namespace of the calling thread, from 1.

    NotFound if it does not exist. An index is checked as well: for a wrong one, the errno of the
    kernel depends on the attach kind.
    """
    import socket

    try:
        if isinstance(interface, str):
            return socket.if_nametoindex(interface)
        socket.if_indextoname(interface)
    except (OSError, OverflowError) as error:
        name = f"'{interface}'" if isinstance(interface, str) else f"with index {interface}"
        raise NotFound(f"no network interface {name}", hint=_HINT) from error
    return interface
