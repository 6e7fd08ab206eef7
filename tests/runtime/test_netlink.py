"""Filters of clsact: what tc(8) says of them, and what stays of others'."""

from __future__ import annotations

import errno
import json
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.flags import NetlinkFlag
from lskel.errors import LskelError, NotFound, UsageError
from lskel.runtime.attach.clsact import Direction, attach_clsact, filters
from lskel.runtime.attach.netlink import (
    NetlinkError,
    NetlinkRequest,
    Rtnetlink,
    attribute,
    attributes,
    nested,
)
from lskel.runtime.info import prog_info
from lskel.runtime.objects import Fd
from lskel.runtime.one_element import lookup
from tests.conftest import Run
from tests.runtime.namespaces import command, network_namespace
from tests.runtime.programs import counts_in, create_map, load_program, returns

pytestmark = pytest.mark.kernel

NEXT = -1  # TC_ACT_UNSPEC: the next filter has its say, too
BOTH = (Direction.INGRESS, Direction.EGRESS)


@pytest.fixture(autouse=True)
def _own_network() -> Iterator[None]:
    with network_namespace():
        yield


@pytest.fixture
def prog() -> Iterator[Fd]:
    with load_program(ProgType.SCHED_CLS, returns(NEXT), name=b"does_nothing") as fd:
        yield fd


def shown(direction: Direction, interface: str = "lo") -> list[dict[str, Any]]:
    """What tc(8) says of the filters that have a handle."""
    text = command("tc", "-json", "filter", "show", "dev", interface, direction.name.lower())
    return [found for found in json.loads(text) if "handle" in found.get("options", {})]


def qdiscs(interface: str = "lo") -> list[str]:
    text = command("tc", "-json", "qdisc", "show", "dev", interface)
    return [found["kind"] for found in json.loads(text)]


@pytest.mark.parametrize("direction", BOTH)
def test_tc_shows_the_filter(prog: Fd, direction: Direction) -> None:
    with attach_clsact(prog.fileno(), "lo", direction, name="mine.o:[tc]") as link:
        (found,) = shown(direction)
        assert found["pref"] == link.priority
        assert found["protocol"] == "all"
        assert found["kind"] == "bpf"
        options = found["options"]
        assert int(options["handle"], 16) == link.handle
        assert options["bpf_name"] == "mine.o:[tc]"
        assert options["direct-action"]
        assert options["prog"]["id"] == prog_info(prog.fileno()).id
        assert "clsact" in qdiscs()
        other = next(item for item in BOTH if item is not direction)
        assert not shown(other)
        assert not link.closed
    assert link.closed
    assert not shown(direction)
    assert "clsact" not in qdiscs()
    link.close()  # nothing is left to do


def test_bpftool_sees_it(prog: Fd, run: Run) -> None:
    with attach_clsact(prog.fileno(), "lo", Direction.INGRESS):
        (net,) = json.loads(run("bpftool", "net", "show", "-j"))
        (found,) = net["tc"]
        assert found["devname"] == "lo"
        assert found["kind"] == "clsact/ingress"
        assert found["id"] == prog_info(prog.fileno()).id
    (net,) = json.loads(run("bpftool", "net", "show", "-j"))
    assert net["tc"] == []


def test_an_interface_by_its_number(prog: Fd) -> None:
    with attach_clsact(prog.fileno(), socket.if_nametoindex("lo"), Direction.EGRESS):
        assert len(shown(Direction.EGRESS)) == 1


def test_priorities_and_handles(prog: Fd) -> None:
    with (
        attach_clsact(prog.fileno(), "lo", Direction.INGRESS, priority=7) as second,
        attach_clsact(prog.fileno(), "lo", Direction.INGRESS, priority=3, handle=0x21) as first,
        attach_clsact(prog.fileno(), "lo", Direction.INGRESS, priority=7, handle=0x22) as third,
        attach_clsact(prog.fileno(), "lo", Direction.INGRESS) as chosen,
    ):
        assert (first.priority, first.handle) == (3, 0x21)
        assert (third.priority, third.handle) == (7, 0x22)
        assert second.priority == 7
        assert chosen.priority == 49152
        places = {(item["pref"], int(item["options"]["handle"], 16)) for item in shown(BOTH[0])}
        links = (first, second, third, chosen)
        assert places == {(link.priority, link.handle) for link in links}
        first.close()
        assert {item["pref"] for item in shown(BOTH[0])} == {7, chosen.priority}
    assert qdiscs().count("clsact") == 0


def test_the_lower_priority_runs_first() -> None:
    """It lets no packet on, so that the other one does not run."""
    with (
        create_map(MapType.ARRAY, 4, 8, 1) as stopped,
        create_map(MapType.ARRAY, 4, 8, 1) as passed,
        load_program(ProgType.SCHED_CLS, counts_in(stopped.fileno())) as ends,
        load_program(ProgType.SCHED_CLS, counts_in(passed.fileno())) as never,
        attach_clsact(never.fileno(), "lo", Direction.INGRESS, priority=2),
        attach_clsact(ends.fileno(), "lo", Direction.INGRESS, priority=1) as first,
    ):
        send_datagram()
        assert (count(stopped), count(passed)) == (1, 0)
        first.close()
        send_datagram()
        assert (count(stopped), count(passed)) == (1, 1)


def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", receiver.getsockname())
        receiver.recv(1)


def count(array: Fd) -> int:
    value = lookup(array.fileno(), bytes(4), 8)
    assert value is not None
    return int.from_bytes(value, sys.byteorder)


def test_a_qdisc_of_others_stays(prog: Fd) -> None:
    command("tc", "qdisc", "add", "dev", "lo", "clsact")
    with attach_clsact(prog.fileno(), "lo", Direction.INGRESS):
        assert len(shown(Direction.INGRESS)) == 1
    assert not shown(Direction.INGRESS)
    assert "clsact" in qdiscs()


@pytest.mark.parametrize("theirs", BOTH)
def test_a_filter_of_others_stays(prog: Fd, theirs: Direction) -> None:
    with attach_clsact(prog.fileno(), "lo", Direction.INGRESS):
        # fmt: off
        command(
            "tc", "filter", "add", "dev", "lo", theirs.name.lower(), "protocol", "ip", "prio", "9",
            "u32", "match", "u8", "0", "0", "classid", "1:1",
        )
        # fmt: on
    text = command("tc", "-json", "filter", "show", "dev", "lo", theirs.name.lower())
    assert {(item["kind"], item["pref"]) for item in json.loads(text)} == {("u32", 9)}
    assert "clsact" in qdiscs()


def test_a_program_of_others_in_its_place_stays(prog: Fd) -> None:
    with load_program(ProgType.SCHED_CLS, returns(0)) as other:
        mine = attach_clsact(prog.fileno(), "lo", Direction.INGRESS, priority=1, handle=1)
        command("tc", "filter", "del", "dev", "lo", "ingress")
        with attach_clsact(other.fileno(), "lo", Direction.INGRESS, priority=1, handle=1):
            mine.close()
            (found,) = shown(Direction.INGRESS)
            assert found["options"]["prog"]["id"] == prog_info(other.fileno()).id


@pytest.mark.parametrize("undo", ["filter", "qdisc", "interface"])
def test_closing_what_is_gone(prog: Fd, undo: str) -> None:
    command("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
    link = attach_clsact(prog.fileno(), "here", Direction.INGRESS)
    if undo == "filter":
        command("tc", "filter", "del", "dev", "here", "ingress")
    elif undo == "qdisc":
        command("tc", "qdisc", "del", "dev", "here", "clsact")
    else:
        command("ip", "link", "del", "here")
    link.close()
    assert link.closed
    if undo != "interface":
        assert "clsact" not in qdiscs("here")


def test_closing_in_another_network_namespace(prog: Fd) -> None:
    link = attach_clsact(prog.fileno(), "lo", Direction.INGRESS)
    with network_namespace(), attach_clsact(prog.fileno(), "lo", Direction.INGRESS):
        link.close()
        assert len(shown(Direction.INGRESS)) == 1
    assert not shown(Direction.INGRESS)


def test_no_such_interface(prog: Fd) -> None:
    for interface, name in (("eth99", "'eth99'"), (4321, "with index 4321"), (-1, "with index -1")):
        with pytest.raises(NotFound) as caught:
            attach_clsact(prog.fileno(), interface, Direction.INGRESS)
        assert caught.value.what == f"no network interface {name}"


def test_places_that_there_are_not(prog: Fd) -> None:
    for priority, handle in ((1 << 16, 0), (-1, 0), (0, 1 << 32), (0, -1)):
        with pytest.raises(UsageError, match="priority has 16 bits, its handle 32"):
            attach_clsact(prog.fileno(), "lo", Direction.INGRESS, priority=priority, handle=handle)
    assert "clsact" not in qdiscs()


def test_a_place_that_is_taken(prog: Fd) -> None:
    with attach_clsact(prog.fileno(), "lo", Direction.INGRESS, priority=1, handle=5) as link:
        with pytest.raises(NetlinkError) as caught:
            attach_clsact(prog.fileno(), "lo", Direction.INGRESS, priority=1, handle=5)
        assert caught.value.errno == errno.EEXIST
        assert caught.value.reason == "Filter already exists"  # the kernel's own words
        assert str(caught.value) == (
            "interface lo: rtnetlink(RTM_NEWTFILTER): EEXIST: File exists: Filter already exists "
            "(a filter with this priority and handle exists: use others, or omit them)"
        )
        assert len(shown(Direction.INGRESS)) == 1
        assert not link.closed


def test_a_program_of_another_type_leaves_no_qdisc() -> None:
    with (
        load_program(ProgType.SOCKET_FILTER, returns(0)) as wrong,
        pytest.raises(NetlinkError) as caught,
    ):
        attach_clsact(wrong.fileno(), "lo", Direction.INGRESS)
    assert caught.value.errno == errno.EINVAL
    assert "clsact" not in qdiscs()


def test_an_ingress_qdisc_takes_no_filter_of_egress(prog: Fd) -> None:
    command("tc", "qdisc", "add", "dev", "lo", "ingress")
    with attach_clsact(prog.fileno(), "lo", Direction.INGRESS):
        assert len(shown(Direction.INGRESS)) == 1
    with pytest.raises(LskelError, match="its qdisc is ingress, which has no egress"):
        attach_clsact(prog.fileno(), "lo", Direction.EGRESS)
    assert not shown(Direction.INGRESS)
    assert "ingress" in qdiscs()


def test_many_filters_come_in_more_than_one_answer(prog: Fd) -> None:
    """A dump of these is longer than a message of the kernel."""
    many = 400
    command("tc", "qdisc", "add", "dev", "lo", "clsact")
    links = [
        attach_clsact(prog.fileno(), "lo", Direction.INGRESS, priority=1, handle=number)
        for number in range(1, many + 1)
    ]
    with Rtnetlink() as netlink:
        found = filters(netlink, socket.if_nametoindex("lo"), Direction.INGRESS)
    assert {item.handle for item in found if item.program} == set(range(1, many + 1))
    for link in links:
        link.close()


def test_attributes_of_attributes() -> None:
    data = attribute(1, b"bpf\0") + nested(2, attribute(6, b"12345"), attribute(7, b""))
    assert len(data) % 4 == 0
    found = attributes(data)
    assert found[1] == b"bpf\0"
    assert attributes(found[2]) == {6: b"12345", 7: b""}
    assert attributes(b"\0\0\0\0") == {}  # a length less than that of the header


def test_a_request_that_the_kernel_does_not_take() -> None:
    with Rtnetlink() as netlink, pytest.raises(NetlinkError) as caught:
        netlink.ask(NetlinkRequest.NEWQDISC, bytes(4), NetlinkFlag.CREATE)
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value).startswith("rtnetlink(RTM_NEWQDISC): EINVAL: Invalid argument")
