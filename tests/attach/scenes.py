"""Where programs of the network are attached in tests, and what makes them run there.

A scene is a network namespace, a cgroup or sockets of its own; all is gone when it ends.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lskel.bpf.enums import AttachType
from lskel.runtime.attach.sockmap import attach_sockmap
from lskel.runtime.attach.xdp import XdpMode
from lskel.runtime.collection import Collection
from lskel.runtime.elements import update
from tests.runtime.namespaces import cgroup, command, in_child, network_namespace

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link

V4 = (socket.AF_INET, "127.0.0.1")
V6 = (socket.AF_INET6, "::1")
Family = tuple[socket.AddressFamily, str]
TIMEOUT = 5


# -- events ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def bound(family: Family, kind: socket.SocketKind) -> Iterator[socket.socket]:
    """A socket with a port of its own."""
    with socket.socket(family[0], kind) as sock:
        sock.settimeout(TIMEOUT)
        sock.bind((family[1], 0))
        yield sock


def datagram(family: Family = V4) -> None:
    """Send a datagram to a port by its address, and receive it."""
    with bound(family, socket.SOCK_DGRAM) as receiver, bound(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", receiver.getsockname())
        receiver.recvfrom(1)


def connection(family: Family = V4) -> None:
    """Make a TCP connection."""
    for sock in connected(family):
        sock.close()


def connected(family: Family = V4) -> tuple[socket.socket, socket.socket]:
    """The ends of a TCP connection."""
    with bound(family, socket.SOCK_STREAM) as listener:
        listener.listen()
        ours = socket.create_connection(listener.getsockname()[:2], TIMEOUT)
        theirs, _ = listener.accept()
        theirs.settimeout(TIMEOUT)
        return ours, theirs


def names(family: Family = V4) -> None:
    """Ask for the addresses of a connection."""
    ours, theirs = connected(family)
    with ours, theirs:
        ours.getpeername()
        ours.getsockname()


def unix_datagram() -> None:
    """Send a datagram between sockets with names, connected and not, and ask for the names."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        receiver.settimeout(TIMEOUT)
        receiver.bind("")  # the kernel makes up a name
        sender.bind("")
        sender.sendto(b"x", receiver.getsockname())
        receiver.recvfrom(1)
        sender.connect(receiver.getsockname())
        sender.getpeername()


def sysctl() -> None:
    Path("/proc/sys/kernel/ostype").read_text()


def options() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def device() -> None:
    Path("/dev/null").write_text("x")


# An IPv4 header and as much of UDP: version 4 of 5 words, 28 bytes, TTL 1, UDP, from 10.9.0.2 to
# 10.9.0.1. Nobody looks at the checksum.
_IP = bytes.fromhex("4500001c 00000000 01110000 0a090002 0a090001 0001000100080000")


def raw_packet(interface: str, frame: bytes) -> None:
    """Send a packet as it is; it needs no route."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0x0800))
        sock.send(frame)


def ethernet_packet() -> None:
    """The kernel has such packets dissected to find where their transport header is."""
    raw_packet("lo", bytes(12) + b"\x08\x00" + _IP)


# -- scenes ---------------------------------------------------------------------------------------


class Scene(NamedTuple):
    """How a program is attached, and what makes it run."""

    attach: Callable[[Any], Link]
    event: Callable[[], object]


# What the object has besides the program: its maps, and its other programs.
Setting = Callable[[Collection], AbstractContextManager[Scene]]


def on_lo(attach: Callable[[Any], Link], event: Callable[[], object]) -> Setting:
    """In a network namespace that has lo only."""

    @contextlib.contextmanager
    def setting(_: Collection) -> Iterator[Scene]:
        with network_namespace():
            yield Scene(attach, event)

    return setting


def on_veth(mode: XdpMode) -> Setting:
    """On an end of a pair of interfaces, whose driver has XDP."""

    @contextlib.contextmanager
    def setting(_: Collection) -> Iterator[Scene]:
        with network_namespace():
            command("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
            for end in ("here", "there"):
                command("ip", "link", "set", end, "up")
            frame = b"\xff" * 6 + bytes(6) + b"\x08\x00" + _IP
            yield Scene(lambda p: p.attach("here", mode), lambda: raw_packet("there", frame))

    return setting


def on_netkit(sender: str) -> Setting:
    """On a netkit pair; `sender` is "primary" or "peer"."""

    @contextlib.contextmanager
    def setting(_: Collection) -> Iterator[Scene]:
        with network_namespace():
            command("ip", "link", "add", "primary", "type", "netkit")
            command("ip", "link", "set", "nk0", "name", "peer")
            for end in ("primary", "peer"):
                command("ip", "link", "set", end, "up")
            yield Scene(lambda p: p.attach("primary"), lambda: raw_packet(sender, _IP))

    return setting


def in_cgroup(event: Callable[[], object], attach_type: AttachType | None = None) -> Setting:
    """The event happens in a child process in a cgroup."""

    @contextlib.contextmanager
    def setting(_: Collection) -> Iterator[Scene]:
        with network_namespace(), cgroup() as group:
            yield Scene(lambda p: p.attach(group, attach_type), lambda: in_child(group, event))

    return setting


def on_socket(*, share_port: bool) -> Setting:
    """On a socket that receives datagrams; `share_port` makes it a group of one."""

    @contextlib.contextmanager
    def setting(_: Collection) -> Iterator[Scene]:
        with (
            network_namespace(),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            bound(V4, socket.SOCK_DGRAM) as sender,
        ):
            if share_port:
                receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            receiver.settimeout(TIMEOUT)
            receiver.bind((V4[1], 0))

            def event() -> None:
                sender.sendto(b"x", receiver.getsockname())
                receiver.recv(1)

            yield Scene(lambda p: p.attach(receiver), event)

    return setting


def in_sockmap(*, sender: bool, partner: tuple[str, AttachType] | None = None) -> Setting:
    """One end of a connection is in the map. The `partner` is a program that is attached, too.

    Every time it is a new connection: sockets keep the programs that the map had when they came.
    """

    @contextlib.contextmanager
    def setting(bpf: Collection) -> Iterator[Scene]:
        sockmap = bpf.maps["sockets"]

        def event() -> None:
            ours, theirs = connected()
            with ours, theirs:
                chosen = ours if sender else theirs
                update(sockmap.fileno(), bytes(4), chosen.fileno().to_bytes(8, sys.byteorder))
                ours.send(b"x")
                assert theirs.recv(1) == b"x"

        with network_namespace(), contextlib.ExitStack() as stack:
            if partner is not None:
                name, kind = partner
                program = bpf.progs[name].fileno()
                stack.callback(attach_sockmap(program, sockmap.fileno(), kind).close)
            yield Scene(lambda p: p.attach(sockmap), event)

    return setting
