"""Rtnetlink: requests to the kernel's network configuration, and its replies.

Older kernels attach tc programs only by rtnetlink. pyroute2 is not used, because a generated
skeleton needs only the standard library, and six messages are enough (see `clsact`). Source:
uapi/linux/netlink.h, uapi/linux/rtnetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

from lskel.bpf.flags import NetlinkFlag
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket


class NetlinkRequest(IntEnum):
    """Request types: RTM_*."""

    #: For probing a kernel; skeletons do not use it.
    NEWLINK = 16
    NEWQDISC = 36
    DELQDISC = 37
    GETQDISC = 38
    NEWTFILTER = 44
    DELTFILTER = 45
    GETTFILTER = 46


class NetlinkError(KernelError):
    """The kernel refused a request; `reason` is its message, may be empty."""

    def __init__(self, request: NetlinkRequest, number: int, reason: str) -> None:
        super().__init__(f"rtnetlink(RTM_{request.name})", number)
        self.reason = reason
        if reason:
            self.what += f": {reason}"


# struct nlmsghdr: length with the header, kind, flags, sequence number, port. struct nlattr: length
# with the header, kind.
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_ALIGN = 4
_NESTED = 1 << 15
_KIND_BITS = 0x3FFF

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_ERROR_TEXT = 1  # NLMSGERR_ATTR_MSG

# Errors repeat only the header of the request, followed by the kernel's message.
_SOL_NETLINK = 270
_CAP_ACK = 10
_EXT_ACK = 11

# The kernel sends at most 32 KiB of a dump at once (net/netlink/af_netlink.c).
_ROOM = 1 << 16


class Rtnetlink:
    """A rtnetlink socket; a context manager that closes it.

    It belongs to the network namespace of the calling thread at construction. KernelError if the
    system refuses it.
    """

    def __init__(self) -> None:
        import socket

        try:
            self._socket: socket.socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
        except OSError as error:
            raise KernelError("socket(AF_NETLINK)", error.errno or 0) from error
        self._sequence = 0
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: NetlinkRequest, body: bytes, flags: int = 0) -> list[bytes]:
        """Send a request; with NetlinkFlag.ECHO returns the bodies of the notifications.

        NetlinkError if the kernel refuses.
        """
        return self._exchange(request, body, flags | NetlinkFlag.ACK)

    def dump(self, request: NetlinkRequest, body: bytes) -> list[bytes]:
        """The bodies of the messages that describe all objects of a kind.

        NetlinkError if the kernel refuses.
        """
        return self._exchange(request, body, NetlinkFlag.DUMP)

    def _exchange(self, request: NetlinkRequest, body: bytes, flags: int) -> list[bytes]:
        self._sequence += 1
        header = (_HEADER.size + len(body), request, flags | NetlinkFlag.REQUEST, self._sequence, 0)
        self._socket.send(_HEADER.pack(*header) + body)
        answers: list[bytes] = []
        while True:
            for kind, sequence, content in _messages(self._socket.recv(_ROOM)):
                if sequence != self._sequence:
                    continue  # reply to an earlier request that was interrupted
                if kind == _NLMSG_ERROR:
                    _check(request, content, _ERROR.size + _HEADER.size)
                    return answers
                if kind == _NLMSG_DONE:
                    _check(request, content, _ERROR.size)
                    return answers
                answers.append(content)


def attribute(kind: int, content: bytes) -> bytes:
    """An attribute, padded for the next one."""
    length = _ATTRIBUTE.size + len(content)
    return _ATTRIBUTE.pack(length, kind) + content + bytes(-length % _ALIGN)


def nested(kind: int, *content: bytes) -> bytes:
    """A nested attribute."""
    return attribute(kind | _NESTED, b"".join(content))


def attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by type; the last of each."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _KIND_BITS] = data[_ATTRIBUTE.size : length]
        data = data[_padded(length) :]
    return found


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    while data:
        length, kind, _, sequence, _ = _HEADER.unpack_from(data)
        yield kind, sequence, data[_HEADER.size : length]
        data = data[_padded(length) :]


def _check(request: NetlinkRequest, content: bytes, size: int) -> None:
    """`content` starts with minus an errno or 0; attributes follow after `size` bytes."""
    (number,) = _ERROR.unpack_from(content)
    if number < 0:
        text = attributes(content[size:]).get(_ERROR_TEXT, b"").rstrip(b"\0")
        raise NetlinkError(request, -number, text.decode(errors="replace"))


def _padded(length: int) -> int:
    return length + -length % _ALIGN
