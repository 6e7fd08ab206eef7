"""Attaching tc programs as filters of the clsact qdisc, for kernels without tcx.

Source: uapi/linux/rtnetlink.h (struct tcmsg), uapi/linux/pkt_sched.h, uapi/linux/pkt_cls.h.
"""

from __future__ import annotations

import errno
import struct
from enum import IntEnum

from lskel.bpf.flags import NetlinkFlag
from lskel.errors import LskelError, UsageError, at
from lskel.light_typing import NamedTuple
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.interface import interface_index
from lskel.runtime.attach.link import Link
from lskel.runtime.attach.netlink import (
    NetlinkError,
    NetlinkRequest,
    Rtnetlink,
    attribute,
    attributes,
    nested,
)
from lskel.runtime.attach.target import choice
from lskel.runtime.info import prog_info
from lskel.runtime.objects import Fd, duplicate

_HINTS = {
    errno.EEXIST: "a filter with this priority and handle exists: use others, or omit them",
    errno.ENOENT: "the kernel lacks the clsact qdisc (CONFIG_NET_SCH_INGRESS) or the bpf filter "
    "(CONFIG_NET_CLS_BPF)",
}

# Errnos of removing a filter or qdisc that another process has removed, or with its interface:
# EINVAL (invalid handle) if there was a qdisc before.
_GONE = (errno.ENODEV, errno.ENOENT, errno.EINVAL)


class Direction(IntEnum):
    """Direction of packets: the minor numbers of the two classes of the clsact qdisc."""

    INGRESS = 0xFFF2
    EGRESS = 0xFFF3


class Filter(NamedTuple):
    """A filter: its position, the id of its program (0 for other filters), and its name."""

    priority: int
    handle: int
    program: int
    name: str = ""


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
# TCA_BPF_FLAG_ACT_DIRECT: the return value is the verdict.
_DIRECT_ACTION = 1


class ClsactFilter(Link):
    """A tc filter that runs a program.

    Unlike a link of bpf(2), the filter outlives this process unless it is closed.
    """

    def __init__(
        self,
        netlink: Rtnetlink,
        program: Fd,
        index: int,
        direction: Direction,
        own: Filter,
        *,
        made_qdisc: bool,
    ) -> None:
        # Kept open, so that `close` works in the network namespace of the interface.
        self._netlink: Rtnetlink | None = netlink
        # By this other processes know that the filter is not abandoned.
        self._program = program
        self._index = index
        self._direction = direction
        self._own = own
        self._made_qdisc = made_qdisc

    @property
    def priority(self) -> int:
        """Filters run in order of priority, the lowest first."""
        return self._own.priority

    @property
    def handle(self) -> int:
        """Identifies a filter within a priority."""
        return self._own.handle

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._netlink is None

    def close(self) -> None:
        """Remove the filter, unless it is gone or has another program meanwhile.

        Also the qdisc, if attaching created it and no filter is left. NetlinkError if the kernel
        refuses.
        """
        netlink, self._netlink = self._netlink, None
        if netlink is None:
            return
        with netlink, self._program:
            if self._own in filters(netlink, self._index, self._direction):
                _delete_filter(netlink, self._index, self._direction, self._own)
            if self._made_qdisc and not any(
                filters(netlink, self._index, direction) for direction in Direction
            ):
                _delete_qdisc(netlink, self._index)


def attach_clsact(
    prog_fd: int,
    interface: str | int,
    direction: Direction | str,
    *,
    priority: int = 0,
    handle: int = 0,
    name: str = "",
) -> ClsactFilter:
    """Attach to an interface, by name or index; creates its clsact qdisc if missing.

    With 0 the kernel chooses `handle` and `priority` (49152, then descending). `name` is shown by
    ``tc filter show``, by default that of the program. A filter of the same name that a killed
    process left is replaced, at its priority and handle, without a moment in between; if there are
    several, the others are removed. It is one whose program no process holds: the processes of
    other PID namespaces are not seen, and no filter is replaced if it is not known (see
    `held_programs`). NotFound if the interface does not exist, NetlinkError if the kernel refuses.
    """
    if not (0 <= priority < 1 << 16 and 0 <= handle < 1 << 32):
        raise UsageError("a filter's priority has 16 bits, its handle 32 bits")
    direction = choice(Direction, direction, "direction")
    index = interface_index(interface)
    name = name or prog_info(prog_fd).name
    held = duplicate(prog_fd)
    netlink = Rtnetlink()
    try:
        with at(f"interface {interface}"), with_hints(_HINTS):
            made = _make_qdisc(netlink, index)
            abandoned: list[Filter] = []
            if not made:
                _check_qdisc(netlink, index, direction)
                found = filters(netlink, index, direction)
                abandoned = _abandoned(found, Filter(priority, handle, 0, name))
            try:
                options = nested(
                    _TCA_OPTIONS,
                    attribute(_TCA_BPF_FD, _U32.pack(prog_fd)),
                    attribute(_TCA_BPF_NAME, name.encode() + b"\0"),
                    attribute(_TCA_BPF_FLAGS, _U32.pack(_DIRECT_ACTION)),
                )
                flags = NetlinkFlag.CREATE | NetlinkFlag.EXCL
                if abandoned:
                    flags = NetlinkFlag.CREATE | NetlinkFlag.REPLACE
                    priority, handle = abandoned[0].priority, abandoned[0].handle
                place = _place(index, direction, priority, handle)
                body = place + options
                (answer,) = netlink.ask(NetlinkRequest.NEWTFILTER, body, flags | NetlinkFlag.ECHO)
                for old in abandoned[1:]:
                    _delete_filter(netlink, index, direction, old)
            except BaseException:
                if made:
                    _delete_qdisc(netlink, index)
                raise
    except BaseException:
        netlink.close()
        held.close()
        raise
    return ClsactFilter(netlink, held, index, direction, _filter(answer), made_qdisc=made)


def _abandoned(found: list[Filter], wanted: Filter) -> list[Filter]:
    """The filters of this name, and priority and handle unless 0, whose process was killed."""
    same = [
        one
        for one in found
        if one.program
        and one.name == wanted.name
        and wanted.priority in (0, one.priority)
        and wanted.handle in (0, one.handle)
    ]
    if not same:
        return []
    from lskel.runtime.holders import held_programs

    held = held_programs()
    return [] if held is None else [one for one in same if one.program not in held]


def filters(netlink: Rtnetlink, index: int, direction: Direction) -> list[Filter]:
    """The filters of an interface; none if it, or its clsact qdisc, is gone."""
    # Of all priorities and protocols. Each priority starts with an entry with handle 0.
    body = _TCMSG.pack(0, index, 0, _CLSACT_MAJOR | direction, 0)
    return [_filter(answer) for answer in netlink.dump(NetlinkRequest.GETTFILTER, body)]


def _make_qdisc(netlink: Rtnetlink, index: int) -> bool:
    """Create the qdisc; whether it did not exist."""
    kind = attribute(_TCA_KIND, b"clsact\0")
    try:
        netlink.ask(
            NetlinkRequest.NEWQDISC, _qdisc(index) + kind, NetlinkFlag.CREATE | NetlinkFlag.EXCL
        )
    except NetlinkError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def _check_qdisc(netlink: Rtnetlink, index: int, direction: Direction) -> None:
    """Refuse EGRESS on an "ingress" qdisc: it accepts the filter, but runs it on other packets."""
    (answer,) = netlink.ask(NetlinkRequest.GETQDISC, _qdisc(index), NetlinkFlag.ECHO)
    kind = attributes(answer[_TCMSG.size :])[_TCA_KIND].rstrip(b"\0").decode()
    if kind != "clsact" and direction is not Direction.INGRESS:
        raise LskelError(
            f"its qdisc is {kind}, which has no {direction.name.lower()}",
            hint=f"'tc qdisc del dev DEV {kind}' removes it, with its filters",
        )


def _delete_filter(netlink: Rtnetlink, index: int, direction: Direction, old: Filter) -> None:
    _delete(netlink, NetlinkRequest.DELTFILTER, _place(index, direction, old.priority, old.handle))


def _delete_qdisc(netlink: Rtnetlink, index: int) -> None:
    _delete(netlink, NetlinkRequest.DELQDISC, _qdisc(index))


def _delete(netlink: Rtnetlink, request: NetlinkRequest, body: bytes) -> None:
    try:
        netlink.ask(request, body)
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
    return Filter(
        info >> 16,
        handle,
        0 if program is None else _U32.unpack(program)[0],
        options.get(_TCA_BPF_NAME, b"").rstrip(b"\0").decode(errors="replace"),
    )
