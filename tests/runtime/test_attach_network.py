"""Programs of the network and of cgroups: where others see them, their order, and refusals."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lskel.bpf.attr import load
from lskel.bpf.enums import AttachType, Cmd, LinkType, MapType, ProgType
from lskel.bpf.layouts import QUERY
from lskel.errors import Closed, LskelError, NotFound, UnknownName, UsageError, WrongType
from lskel.runtime.attach.cgroup import CgroupProgram
from lskel.runtime.attach.clsact import ClsactFilter, Direction
from lskel.runtime.attach.link import BpfLink
from lskel.runtime.attach.netfilter import (
    NetfilterFamily,
    NetfilterHook,
    NetfilterProgram,
    attach_netfilter,
)
from lskel.runtime.attach.netkit import NetkitProgram, attach_netkit
from lskel.runtime.attach.netns import NetnsProgram
from lskel.runtime.attach.sockets import SkReuseportProgram, SocketProgram
from lskel.runtime.attach.sockmap import SockmapProgram, attach_without_link
from lskel.runtime.attach.tc import TcProgram, TcWay
from lskel.runtime.attach.xdp import XdpMode, XdpProgram
from lskel.runtime.info import link_info
from lskel.runtime.maps.base import Map
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.program import Program, ProgramDefinition
from lskel.runtime.syscall import BpfError, KernelError, address_of, bpf, host_attr
from tests.conftest import Run
from tests.runtime.namespaces import cgroup, command, network_namespace
from tests.runtime.programs import create_map, load_program, returns

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link

pytestmark = pytest.mark.kernel

XDP_PASS = 2
TCX_NEXT = -1


class Made:
    """Programs of a test: loaded, closed with their links in the end."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.kept: list[tuple[str, Link]] = []

    def __call__(
        self,
        kind: type[Program],
        prog_type: ProgType,
        attach_type: int = 0,
        result: int = 0,
        *,
        name: str = "nothing",
    ) -> Any:
        program = kind(ProgramDefinition(name, "kind", "", prog_type, attach_type))
        fd = load_program(prog_type, returns(result), attach_type=attach_type, name=name.encode())
        program.bind(fd, self.keep)
        self.stack.callback(program.close)
        return program

    def keep(self, name: str, link: Link) -> None:
        self.kept.append((name, link))
        self.stack.callback(link.close)


@pytest.fixture
def made() -> Iterator[Made]:
    with network_namespace(), ExitStack() as stack:
        yield Made(stack)


def xdp(made: Made, name: str = "nothing") -> XdpProgram:
    program: XdpProgram = made(XdpProgram, ProgType.XDP, AttachType.XDP, XDP_PASS, name=name)
    return program


def tc(made: Made, attach_type: int = 0, name: str = "nothing") -> TcProgram:
    program: TcProgram = made(TcProgram, ProgType.SCHED_CLS, attach_type, TCX_NEXT, name=name)
    return program


def shown_by_ip(interface: str) -> dict[str, Any] | None:
    """What ip(8) says of the XDP program of an interface."""
    (found,) = json.loads(command("ip", "-json", "-details", "link", "show", interface))
    shown: dict[str, Any] | None = found.get("xdp")
    return shown


def attached(target: int, attach_type: AttachType) -> list[int]:
    """The ids of the programs that the kernel runs there, in its order."""
    room = bytearray(4 * 64)
    attr = host_attr(
        QUERY,
        "revision",
        target_fd=target,
        attach_type=attach_type,
        prog_ids=address_of(room),
        count=len(room) // 4,
    )
    bpf(Cmd.PROG_QUERY, attr)
    return list(memoryview(room).cast("I"))[: load(attr, QUERY, "count", sys.byteorder)]


def ids(*programs: Program) -> list[int]:
    return [program.info().id for program in programs]


# -- xdp ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "shown"),
    # As rtnetlink tells it: XDP_ATTACHED_DRV, XDP_ATTACHED_SKB.
    [(XdpMode.AUTO, 1), (XdpMode.NATIVE, 1), (XdpMode.GENERIC, 2), ("native", 1), ("Generic", 2)],
)
def test_xdp_modes(made: Made, mode: XdpMode | str, shown: int) -> None:
    command("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
    program = xdp(made)
    link = program.attach("here", mode)
    assert made.kept == [("nothing", link)]
    found = shown_by_ip("here")
    assert found is not None
    assert found["mode"] == shown
    assert found["prog"]["id"] == program.info().id
    assert link_info(link.fileno()).details["ifindex"] == socket.if_nametoindex("here")
    assert shown_by_ip("there") is None
    link.close()
    assert shown_by_ip("here") is None


def test_xdp_needs_an_interface_and_a_mode_it_has(made: Made) -> None:
    program = xdp(made)
    assert not program.attaches_itself()
    for interface, name in (("eth99", "'eth99'"), (4321, "with index 4321")):
        with pytest.raises(NotFound) as missing:
            program.attach(interface)
        assert missing.value.what == f"no network interface {name}"
    with pytest.raises(BpfError) as caught:
        program.attach("lo", XdpMode.NATIVE)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert str(caught.value).startswith("interface lo: bpf(BPF_LINK_CREATE): ")
    assert 'driver lacks this mode; "generic" needs no driver' in str(caught.value)
    assert made.kept == []


def test_names_of_modes(made: Made) -> None:
    """Each error says what there is; nothing is attached."""
    packets, filters = xdp(made), tc(made)
    wrong: tuple[tuple[Callable[[], object], str], ...] = (
        (
            lambda: packets.attach("lo", "fast"),
            "no XDP mode 'fast' (available: auto, generic, native, offload)",
        ),
        (lambda: packets.attach("lo", "7"), "no XDP mode '7' (available: auto"),
        (lambda: filters.attach("lo", "out"), "no direction 'out' (available: ingress, egress)"),
        (
            lambda: filters.attach("lo", "egress", by="qdisc"),
            "no way to attach 'qdisc' (available: tcx, clsact)",
        ),
        (
            lambda: attach_netkit(filters.fileno(), "lo", "left"),
            "no end of a netkit pair 'left' (available: primary, peer)",
        ),
        (
            lambda: attach_netfilter(filters.fileno(), "ipx", "forward"),
            "no protocol family 'ipx' (available: ipv4, ipv6)",
        ),
        (
            lambda: attach_netfilter(filters.fileno(), "ipv6", "input"),
            "no netfilter hook 'input' (available: pre_routing, local_in, forward, local_out, ",
        ),
    )
    for attach, says in wrong:
        with pytest.raises(UnknownName) as caught:
            attach()
        assert says in str(caught.value)
    assert made.kept == []


def test_tc_by_name(made: Made) -> None:
    program = tc(made)
    with program.attach("lo", "Egress", by="clsact"):
        shown = command("tc", "filter", "show", "dev", "lo", "egress")
        assert f"id {program.info().id} " in f"{shown} "


def test_xdp_is_one_at_a_time(made: Made) -> None:
    first, second = xdp(made), xdp(made)
    link = first.attach(socket.if_nametoindex("lo"))
    with pytest.raises(BpfError) as caught:
        second.attach("lo")
    assert caught.value.errno == errno.EBUSY
    assert "the interface has an XDP program, see 'ip link show'" in str(caught.value)
    link.close()
    second.attach("lo").close()


# -- in place of another program ------------------------------------------------------------------


def replacements(made: Made) -> Iterator[tuple[Program, Program, BpfLink]]:
    """Two programs of each kind, and the link of the first."""
    one, two = xdp(made), xdp(made)
    yield one, two, one.attach("lo")
    a, b = tc(made), tc(made)
    link = a.attach("lo", Direction.INGRESS, by=TcWay.TCX)
    assert isinstance(link, Fd)
    yield a, b, link
    lookups = [made(NetnsProgram, ProgType.SK_LOOKUP, AttachType.SK_LOOKUP, 1) for _ in range(2)]
    yield lookups[0], lookups[1], lookups[0].attach()
    devices = [
        made(CgroupProgram, ProgType.CGROUP_DEVICE, AttachType.CGROUP_DEVICE, 1) for _ in range(2)
    ]
    group = made.stack.enter_context(cgroup())
    yield devices[0], devices[1], devices[0].attach(group)


def test_a_program_takes_the_place_of_another(made: Made) -> None:
    for first, second, link in replacements(made):
        link.update(second)
        assert link.info().prog_id == second.info().id
        with pytest.raises(BpfError) as caught:
            link.update(first, instead_of=first)
        assert caught.value.errno == errno.EPERM
        assert "the link's program is not `instead_of`" in str(caught.value)
        link.update(first, instead_of=second)
        assert link.info().prog_id == first.info().id
        with pytest.raises(WrongType, match="link: expected a program, got 'second'"):
            link.update("second")  # type: ignore[arg-type]
        number = link.info().id
        link.close()
        with pytest.raises(Closed, match="the link is closed"):
            link.info()
        with pytest.raises(BpfError, match=rf"^link {number}: .*ENOENT.* \(no such link"):
            BpfLink.open(number)


# -- tc -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", list(Direction))
def test_tcx_keeps_an_order(made: Made, direction: Direction) -> None:
    lo = socket.if_nametoindex("lo")
    kind = AttachType.TCX_INGRESS if direction is Direction.INGRESS else AttachType.TCX_EGRESS
    a, b, c, d, e, f = (tc(made, kind, name) for name in "abcdef")
    link = a.attach("lo")
    assert isinstance(link, Fd)
    b.attach("lo")
    c.attach("lo", before=b)
    d.attach("lo", after=link)
    e.attach("lo", before=c.info().id)
    f.attach("lo", before=0)
    assert attached(lo, kind) == ids(f, a, d, e, c, b)
    other = AttachType.TCX_INGRESS + AttachType.TCX_EGRESS - kind
    assert attached(lo, AttachType(other)) == []
    link.close()
    assert attached(lo, kind) == ids(f, d, e, c, b)


def test_tcx_neighbours(made: Made) -> None:
    a, b = tc(made), tc(made)
    with pytest.raises(BpfError) as caught:
        a.attach("lo", Direction.EGRESS, before=b)
    assert caught.value.errno == errno.ENOENT
    assert "the neighbour is not attached to it" in str(caught.value)
    with pytest.raises(UsageError, match="'before' and 'after' are exclusive"):
        a.attach("lo", Direction.EGRESS, before=b, after=b)
    with pytest.raises(UsageError, match="'before' and 'after' are for tcx"):
        a.attach("lo", Direction.EGRESS, before=b, by=TcWay.CLSACT)
    with pytest.raises(UsageError, match="'before' and 'after' are for tcx"):
        a.attach("lo", Direction.EGRESS, before=b, priority=1)
    with pytest.raises(UsageError, match="'priority' and 'handle' are for clsact"):
        a.attach("lo", Direction.EGRESS, by=TcWay.TCX, handle=1)
    with pytest.raises(NotFound, match="no network interface 'eth99'"):
        a.attach("eth99", Direction.EGRESS)
    a.attach("lo", Direction.EGRESS, by=TcWay.TCX)
    with pytest.raises(BpfError) as again:
        a.attach("lo", Direction.EGRESS)
    assert again.value.errno == errno.EEXIST


def test_tc_asks_for_a_direction(made: Made) -> None:
    with pytest.raises(UsageError) as caught:
        tc(made, name="guess").attach("lo")
    assert caught.value.what == "program 'guess' has no direction: expected ingress or egress"


def test_tc_by_clsact(made: Made) -> None:
    a = tc(made, AttachType.TCX_EGRESS, "shown")
    link = a.attach("lo", by=TcWay.CLSACT)
    assert isinstance(link, ClsactFilter)
    assert attached(socket.if_nametoindex("lo"), AttachType.TCX_EGRESS) == []
    text = command("tc", "filter", "show", "dev", "lo", "egress")
    assert f"shown direct-action not_in_hw id {a.info().id}" in text
    assert made.kept == [("shown", link)]
    with a.attach("lo", priority=3) as other:
        assert isinstance(other, ClsactFilter)
        assert other.priority == 3


# -- netkit ---------------------------------------------------------------------------------------


def test_netkit_is_not_for_others(made: Made) -> None:
    program: NetkitProgram = made(
        NetkitProgram, ProgType.SCHED_CLS, AttachType.NETKIT_PRIMARY, TCX_NEXT
    )
    with pytest.raises(BpfError) as caught:
        program.attach("lo")
    assert caught.value.errno in (errno.ENXIO, errno.EINVAL)  # with netkit, without
    assert "netkit" in caught.value.hint
    vague: NetkitProgram = made(NetkitProgram, ProgType.SCHED_CLS, 0, TCX_NEXT, name="vague")
    with pytest.raises(UsageError, match="'vague' has no end: expected primary or peer"):
        vague.attach("lo")


# -- cgroups --------------------------------------------------------------------------------------


def in_group(made: Made, name: str = "nothing") -> CgroupProgram:
    program: CgroupProgram = made(
        CgroupProgram, ProgType.CGROUP_SKB, AttachType.CGROUP_INET_EGRESS, 1, name=name
    )
    return program


def test_bpftool_sees_the_programs_of_a_cgroup(made: Made, run: Run) -> None:
    with cgroup() as group:
        a, b = in_group(made, "first"), in_group(made, "second")
        link = a.attach(group)
        fd = os.open(group, os.O_RDONLY)
        b.attach(fd)
        os.close(fd)
        shown = json.loads(run("bpftool", "cgroup", "show", group, "-j"))
        assert [(item["name"], item["id"]) for item in shown] == [
            ("first", a.info().id),
            ("second", b.info().id),
        ]
        assert {item["attach_type"] for item in shown} <= {"egress", "cgroup_inet_egress"}
        link.close()
        shown = json.loads(run("bpftool", "cgroup", "show", group, "-j"))
        assert [item["name"] for item in shown] == ["second"]


def test_an_order_in_a_cgroup(made: Made) -> None:
    with cgroup() as group, Fd(os.open(group, os.O_RDONLY)) as fd:
        a, b, c, d = (in_group(made, name) for name in "abcd")
        first = a.attach(group)
        try:
            link = b.attach(group, before=first)
        except BpfError as error:
            assert error.errno == errno.EINVAL
            assert "before 6.17" in error.hint
            pytest.skip("this kernel has no order in cgroups (Linux 6.17)")
        c.attach(group, after=link)
        d.attach(group, preorder=True)
        assert attached(fd.fileno(), AttachType.CGROUP_INET_EGRESS) == ids(b, c, a, d)


def test_what_is_no_cgroup(made: Made, tmp_path: Path) -> None:
    program = in_group(made)
    with pytest.raises(NotFound) as missing:
        program.attach(tmp_path / "x")
    assert str(missing.value) == f"no cgroup '{tmp_path}/x'"
    with pytest.raises(BpfError) as caught:
        program.attach(tmp_path)
    assert str(caught.value) == (
        f"cgroup {tmp_path}: bpf(BPF_LINK_CREATE): EBADF: Bad file descriptor "
        "(not a directory of a version 2 cgroup (mount -t cgroup2))"
    )


# -- network namespaces ---------------------------------------------------------------------------


def dissector(made: Made) -> NetnsProgram:
    program: NetnsProgram = made(
        NetnsProgram, ProgType.FLOW_DISSECTOR, AttachType.FLOW_DISSECTOR, 0
    )
    return program


@pytest.mark.parametrize("how", ["own", "path", "fd", "pid"])
def test_ways_to_a_network_namespace(made: Made, run: Run, how: str) -> None:
    program = dissector(made)
    path = Path("/proc/self/ns/net")
    assert not program.attaches_itself()
    if how == "own":
        link = program.attach()
    elif how == "path":
        link = program.attach(path)
    elif how == "pid":
        link = program.attach(pid=os.getpid())
    else:
        with Fd(os.open(path, os.O_RDONLY)) as fd:
            link = program.attach(fd.fileno())
    # Its JSON of this is broken in Debian 12.
    assert f"flow_dissector:\nid {program.info().id}\n" in run("bpftool", "net", "show")
    link.close()
    assert f"id {program.info().id}\n" not in run("bpftool", "net", "show")


def test_refusals_of_a_network_namespace(made: Made, tmp_path: Path) -> None:
    program = dissector(made)
    program.attach()
    with pytest.raises(BpfError) as caught:
        dissector(made).attach()
    assert caught.value.errno in (errno.EEXIST, errno.E2BIG)
    assert "flow dissector" in str(caught.value) or "maximum number of programs" in str(
        caught.value
    )
    with pytest.raises(BpfError, match="not a network namespace"):
        program.attach(tmp_path)
    with pytest.raises(NotFound) as missing:
        program.attach("/run/netns/lskel-none")
    assert str(missing.value) == "no network namespace '/run/netns/lskel-none'"
    with pytest.raises(UsageError, match="'netns' and 'pid' are exclusive"):
        program.attach(tmp_path, pid=1)


# -- sockmaps, netfilter, sockets -----------------------------------------------------------------


class _AnyMap(Map):
    """A map of a test."""

    def __init__(self, fd: Fd) -> None:
        self._test_fd = fd

    def fileno(self) -> int:
        return self._test_fd.fileno()


def test_a_sockmap_takes_one_of_a_kind(made: Made) -> None:
    first, second = (
        made(SockmapProgram, ProgType.SK_MSG, AttachType.SK_MSG_VERDICT, 1) for _ in range(2)
    )
    with create_map(MapType.SOCKMAP, 4, 4, 1) as fd, create_map(MapType.ARRAY, 4, 4, 1) as array:
        sockmap = _AnyMap(fd)
        with pytest.raises(BpfError) as wrong:
            first.attach(_AnyMap(array))
        assert "not a sockmap or sockhash" in str(wrong.value)
        link = first.attach(sockmap)
        assert link_info(link.fileno()).type == LinkType.SOCKMAP
        with pytest.raises(BpfError) as caught:
            second.attach(sockmap)
        assert caught.value.errno == errno.EBUSY
        link.close()
        second.attach(sockmap).close()


def test_a_sockmap_without_links(made: Made) -> None:
    kind = AttachType.SK_MSG_VERDICT
    first, second = (made(SockmapProgram, ProgType.SK_MSG, kind, 1) for _ in range(2))
    with create_map(MapType.SOCKMAP, 4, 4, 1) as sockmap:
        number = sockmap.fileno()
        mine = attach_without_link(first.fileno(), number, kind)
        assert attached(number, kind) == ids(first)
        mine.close()
        assert mine.closed
        assert attached(number, kind) == []
        mine.close()
        taken = attach_without_link(first.fileno(), number, kind)
        with attach_without_link(second.fileno(), number, kind):
            taken.close()  # its program is not the map's any more
            assert attached(number, kind) == ids(second)
        assert attached(number, kind) == []


def test_what_sk_skb_programs_are(made: Made) -> None:
    with create_map(MapType.SOCKMAP, 4, 4, 1) as fd:
        vague = made(SockmapProgram, ProgType.SK_SKB, 0, 1, name="vague")
        with pytest.raises(
            UsageError, match="'vague' has no attach type: expected parser or verdict"
        ):
            vague.attach(_AnyMap(fd))
        vague.attach(_AnyMap(fd), AttachType.SK_SKB_STREAM_VERDICT).close()


def netfilter(made: Made) -> NetfilterProgram:
    program: NetfilterProgram = made(NetfilterProgram, ProgType.NETFILTER, AttachType.NETFILTER, 1)
    return program


def test_netfilter_priorities(made: Made) -> None:
    place = (NetfilterFamily.IPV4, NetfilterHook.LOCAL_IN)
    link = netfilter(made).attach(*place, priority=-5)
    assert link_info(link.fileno()).type == LinkType.NETFILTER
    with pytest.raises(BpfError) as caught:
        netfilter(made).attach(*place, priority=-5)
    assert str(caught.value) == (
        "bpf(BPF_LINK_CREATE): EBUSY: Device or resource busy "
        "(a BPF program with this priority exists on this hook)"
    )
    netfilter(made).attach(*place, priority=-4)
    netfilter(made).attach(NetfilterFamily.IPV6, NetfilterHook.LOCAL_IN, priority=-5)
    for priority, defrag in ((-(1 << 31), False), ((1 << 31) - 1, False), (-400, True)):
        with pytest.raises(BpfError) as out_of_range:
            netfilter(made).attach(*place, priority=priority, defrag=defrag)
        assert out_of_range.value.errno == errno.ERANGE
    netfilter(made).attach(*place, priority=-399, defrag=True)


def test_a_socket_takes_programs_of_its_types(made: Made) -> None:
    chooses = made(SkReuseportProgram, ProgType.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT, 1)
    filters = made(SocketProgram, ProgType.SOCKET_FILTER, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(KernelError) as caught:
            chooses.attach(sock)
        assert str(caught.value) == (
            "setsockopt(SO_ATTACH_REUSEPORT_EBPF): EINVAL: Invalid argument "
            "(wrong program type, or the socket lacks SO_REUSEPORT)"
        )
        link = filters.attach(sock)
    link.close()  # after its socket
    assert link.closed


def test_a_filter_of_a_socket_ends(made: Made) -> None:
    drops = made(SocketProgram, ProgType.SOCKET_FILTER, 0, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        with drops.attach(theirs):
            ours.send(b"lost")
        ours.send(b"seen")
        assert theirs.recv(16) == b"seen"
        with pytest.raises(KernelError) as caught:
            twice = drops.attach(theirs)
            theirs.setsockopt(socket.SOL_SOCKET, 44, 1)  # SO_LOCK_FILTER
            twice.close()
        assert "setsockopt(SO_DETACH_BPF): EPERM" in str(caught.value)
        assert "the socket's filter is locked" in str(caught.value)


# -- without permission ---------------------------------------------------------------------------


def test_a_user_may_not_attach(made: Made) -> None:
    """Of these the kernel asks for CAP_NET_ADMIN; for XDP it is enough to have the program."""
    filters = tc(made)
    counts = in_group(made)

    def attempt() -> Iterator[str]:
        os.setuid(65534)
        yield why_refused()
        attempts: tuple[Callable[[], Link], ...] = (
            lambda: filters.attach("lo", Direction.INGRESS, by=TcWay.CLSACT),
            lambda: counts.attach(group),
        )
        for attach in attempts:
            try:
                attach()
                yield "attached"
            except LskelError as error:
                yield str(error)

    with cgroup() as group:
        why, by_netlink, by_link = said_by_a_child(attempt)
    assert "CAP_NET_ADMIN" in why
    assert by_netlink == (
        f"interface lo: rtnetlink(RTM_NEWQDISC): EPERM: Operation not permitted ({why})"
    )
    assert by_link == (
        f"cgroup {group}: bpf(BPF_LINK_CREATE): EPERM: Operation not permitted ({why})"
    )


def said_by_a_child(attempt: Callable[[], Iterator[str]]) -> list[str]:
    """Lines that a function gives in a process of its own."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writes, "\n".join(attempt()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        return pipe.read().splitlines()
