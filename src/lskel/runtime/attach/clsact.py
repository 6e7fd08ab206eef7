"""Attaching tc programs as filters of the clsact qdisc: the way of kernels without tcx.

Source: uapi/linux/rtnetlink.h (struct tcmsg), uapi/linux/pkt_sched.h, uapi/linux/pkt_cls.h.
"""

from __future__ import annotations

import errno
import struct
from enum import IntEnum

from lskel.bpf.flags import NetlinkFlag
from lskel.errors import LskelError, UsageError, at
from lskel.named import NamedTuple
from lskel.runtime.attach.given import choice
from lskel.runtime.attach.interface import interface_index
from lskel.runtime.attach.netlink import (
    NetlinkError,
    Request,
    Rtnetlink,
    attribute,
    attributes,
    nested,
)
from lskel.runtime.attach.refusals import explained
from lskel.runtime.info import prog_info

_HINTS = {
    errno.EEXIST: "a filter has this priority and handle: take others, or leave them out",
    errno.ENOENT: "the kernel lacks the clsact qdisc (CONFIG_NET_SCH_INGRESS) or the bpf filter "
    "(CONFIG_NET_CLS_BPF)",
}

# What removing a qdisc says where the interface is gone, and where the qdisc is: of one that was
# there once the kernel says that the handle is invalid.
_GONE = (errno.ENODEV, errno.ENOENT, errno.EINVAL)


class Direction(IntEnum):
    """Which packets of an interface: the minor numbers of the clsact qdisc's two classes."""

    INGRESS = 0xFFF2
    EGRESS = 0xFFF3


class Filter(NamedTuple):
    """A filter: its place, and the id of its program (0 for filters of other kinds)."""

    priority: int
    handle: int
    program: int


# struct tcmsg: family, 3 bytes of padding, interface, handle, parent, info.
_TCMSG = struct.Struct("=B3xiIII")
_U32 = struct.Struct("=I")

_CLSACT_MAJOR = 0xFFFF << 16
_CLSACT_PARENT = 0xFFFFFFF1
_ALL_PROTOCOLS = struct.unpack("=H", b"\0\3")[0]  # ETH_P_ALL, in network order

_TCA_KIND = 1
_TCA_OPTIONS = 2
_TCA_BPF_FD = 6
_TCA_BPF_NAME = 7
_TCA_BPF_FLAGS = 8
_TCA_BPF_ID = 11
# The program's result says what becomes of the packet.
_DIRECT_ACTION = 1


class ClsactFilter:
    """A program that runs as a filter.

    Unlike with a link of bpf(2), the filter outlives this process unless it is closed.
    """

    def __init__(
        self, netlink: Rtnetlink, index: int, direction: Direction, own: Filter, *, made_qdisc: bool
    ) -> None:
        # Kept, so that `close` works in the network namespace of the interface.
        self._netlink: Rtnetlink | None = netlink
        self._index = index
        self._direction = direction
        self._own = own
        self._made_qdisc = made_qdisc

    @property
    def priority(self) -> int:
        """Filters run in this order, the lowest first."""
        return self._own.priority

    @property
    def handle(self) -> int:
        """What tells filters of one priority apart."""
        return self._own.handle

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._netlink is None

    def close(self) -> None:
        """Remove the filter, unless it is gone or holds another program by now.

        Then the qdisc too, if attaching made it and no filter is left. NetlinkError where the
        kernel refuses.
        """
        netlink, self._netlink = self._netlink, None
        if netlink is None:
            return
        with netlink:
            if self._own in filters(netlink, self._index, self._direction):
                place = _place(self._index, self._direction, self.priority, self.handle)
                netlink.ask(Request.DELTFILTER, place)
            if self._made_qdisc and not any(
                filters(netlink, self._index, direction) for direction in Direction
            ):
                _delete_qdisc(netlink, self._index)

    def __enter__(self) -> ClsactFilter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach_clsact(
    prog_fd: int,
    interface: str | int,
    direction: Direction | str,
    *,
    priority: int = 0,
    handle: int = 0,
    name: str = "",
) -> ClsactFilter:
    """Attach to an interface, by name or number, and make its clsact qdisc if it has none.

    For 0 the kernel chooses the `handle` and the `priority`: 49152, and each time one less. `name`
    is what ``tc filter show`` tells. NotFound where there is no such interface, NetlinkError where
    the kernel refuses.
    """
    if not (0 <= priority < 1 << 16 and 0 <= handle < 1 << 32):
        raise UsageError("a filter's priority has 16 bits, its handle 32")
    direction = choice(Direction, direction, "direction")
    index = interface_index(interface)
    program = prog_info(prog_fd)
    netlink = Rtnetlink()
    try:
        with at(f"interface {interface}"), explained(_HINTS):
            made = _make_qdisc(netlink, index)
            if not made:
                _check_qdisc(netlink, index, direction)
            try:
                options = nested(
                    _TCA_OPTIONS,
                    attribute(_TCA_BPF_FD, _U32.pack(prog_fd)),
                    attribute(_TCA_BPF_NAME, (name or program.name).encode() + b"\0"),
                    attribute(_TCA_BPF_FLAGS, _U32.pack(_DIRECT_ACTION)),
                )
                flags = NetlinkFlag.CREATE | NetlinkFlag.EXCL | NetlinkFlag.ECHO
                place = _place(index, direction, priority, handle)
                (answer,) = netlink.ask(Request.NEWTFILTER, place + options, flags)
            except BaseException:
                if made:
                    _delete_qdisc(netlink, index)
                raise
    except BaseException:
        netlink.close()
        raise
    return ClsactFilter(netlink, index, direction, _filter(answer), made_qdisc=made)


def filters(netlink: Rtnetlink, index: int, direction: Direction) -> list[Filter]:
    """The filters of an interface; none where it, or its clsact qdisc, is gone."""
    # Of all priorities and protocols. Before those of one priority comes a Filter with handle 0.
    body = _TCMSG.pack(0, index, 0, _CLSACT_MAJOR | direction, 0)
    return [_filter(answer) for answer in netlink.dump(Request.GETTFILTER, body)]


def _make_qdisc(netlink: Rtnetlink, index: int) -> bool:
    """Whether there was none."""
    kind = attribute(_TCA_KIND, b"clsact\0")
    try:
        netlink.ask(Request.NEWQDISC, _qdisc(index) + kind, NetlinkFlag.CREATE | NetlinkFlag.EXCL)
    except NetlinkError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def _check_qdisc(netlink: Rtnetlink, index: int, direction: Direction) -> None:
    """A qdisc of the kind "ingress" would take a filter for EGRESS, and show it other packets."""
    (answer,) = netlink.ask(Request.GETQDISC, _qdisc(index), NetlinkFlag.ECHO)
    kind = attributes(answer[_TCMSG.size :])[_TCA_KIND].rstrip(b"\0").decode()
    if kind != "clsact" and direction is not Direction.INGRESS:
        raise LskelError(
            f"its qdisc is of the kind {kind}, which has no {direction.name.lower()}",
            hint=f"'tc qdisc del dev DEV {kind}' removes it, with its filters",
        )


def _delete_qdisc(netlink: Rtnetlink, index: int) -> None:
    try:
        netlink.ask(Request.DELQDISC, _qdisc(index))
    except NetlinkError as error:
        if error.errno not in _GONE:
            raise


def _qdisc(index: int) -> bytes:
    return _TCMSG.pack(0, index, _CLSACT_MAJOR, _CLSACT_PARENT, 0)


def _place(index: int, direction: Direction, priority: int, handle: int) -> bytes:
    info = priority << 16 | _ALL_PROTOCOLS
    message = _TCMSG.pack(0, index, handle, _CLSACT_MAJOR | direction, info)
    return message + attribute(_TCA_KIND, b"bpf\0")


def _filter(body: bytes) -> Filter:
    _, _, handle, _, info = _TCMSG.unpack_from(body)
    options = attributes(attributes(body[_TCMSG.size :]).get(_TCA_OPTIONS, b""))
    program = options.get(_TCA_BPF_ID)
    return Filter(info >> 16, handle, 0 if program is None else _U32.unpack(program)[0])
