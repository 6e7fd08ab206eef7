"""What the kernel says of objects, compared with what bpftool says."""

from __future__ import annotations

import errno
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lskel.bpf.enums import AttachType, Cmd, LinkType, MapType, ProgType
from lskel.bpf.layouts import BTF_LOAD, MAP_CREATE
from lskel.bpf.layouts import LINK_INFO as LINK_LAYOUT
from lskel.btf.types import Func
from lskel.runtime import objects
from lskel.runtime.attach.iterator import attach_iterator
from lskel.runtime.attach.raw_tracepoint import attach_raw_tracepoint
from lskel.runtime.info import btf_info, link_info, map_info, prog_info
from lskel.runtime.objects import Fd, ObjectKind, by_id, ids, obj_get, obj_pin
from lskel.runtime.syscall import BpfError, address_of, bpf, host_attr
from tests.build.btf import BtfBuilder
from tests.conftest import Run
from tests.runtime.programs import (
    counts_in,
    create_map,
    kernel_btf,
    load_program,
    returns,
    writes_to_iterator,
)

pytestmark = pytest.mark.kernel


def load_btf() -> tuple[Fd, bytes]:
    """A BTF object with the one type "int"."""
    builder = BtfBuilder()
    builder.add_int("int", 4)
    data = builder.bytes(sys.byteorder)
    attr = host_attr(BTF_LOAD, "btf_log_level", btf=address_of(data), btf_size=len(data))
    return Fd(bpf(Cmd.BTF_LOAD, attr)), data


def bpftool(run: Run, *words: str | int) -> Any:
    return json.loads(run("bpftool", "-j", *words))


def test_an_fd_closes_once() -> None:
    fd = Fd(os.open("/dev/null", os.O_RDONLY))
    number = fd.fileno()
    assert repr(fd) == f"Fd({number})"
    with fd as same:
        assert same is fd
    assert fd.closed
    assert repr(fd) == "Fd(closed)"
    other = os.open("/dev/null", os.O_RDONLY)
    assert other == number
    fd.close()
    os.fstat(other)  # the second close did not touch whoever got the number next
    os.close(other)
    with pytest.raises(ValueError, match="closed"):
        fd.fileno()


def test_an_fd_closes_when_dropped() -> None:
    number = Fd(os.open("/dev/null", os.O_RDONLY)).fileno()
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


@pytest.mark.parametrize(
    ("map_type", "key_size", "value_size", "max_entries"),
    [
        (MapType.HASH, 12, 5, 100),
        (MapType.ARRAY, 4, 7, 3),
        (MapType.PERCPU_HASH, 4, 9, 10),
        (MapType.RINGBUF, 0, 0, 4096),
        (MapType.QUEUE, 0, 4, 10),
    ],
)
def test_map_info_agrees_with_bpftool(
    run: Run, map_type: MapType, key_size: int, value_size: int, max_entries: int
) -> None:
    with create_map(map_type, key_size, value_size, max_entries) as fd:
        info = map_info(fd.fileno())
        shown = bpftool(run, "map", "show", "id", info.id)
    assert info.type == map_type
    assert info.name == shown["name"] == "lskel_test"
    assert map_type.name.lower() == shown["type"]
    assert (info.key_size, info.value_size) == (shown["bytes_key"], shown["bytes_value"])
    assert (info.max_entries, info.flags) == (shown["max_entries"], shown["flags"])
    assert (info.key_size, info.value_size, info.max_entries) == (key_size, value_size, max_entries)


def test_map_info_knows_the_types_of_key_and_value(run: Run) -> None:
    btf, _ = load_btf()
    attr = host_attr(
        MAP_CREATE,
        "btf_value_type_id",
        map_type=MapType.HASH,
        key_size=4,
        value_size=4,
        max_entries=1,
        btf_fd=btf.fileno(),
        btf_key_type_id=1,
        btf_value_type_id=1,
    )
    with btf, Fd(bpf(Cmd.MAP_CREATE, attr)) as fd:
        info = map_info(fd.fileno())
        assert info.btf_id == btf_info(btf.fileno()).id
        assert info.btf_id == bpftool(run, "map", "show", "id", info.id)["btf_id"]
        assert (info.btf_key_type_id, info.btf_value_type_id) == (1, 1)


def test_prog_info_agrees_with_bpftool(run: Run, tmp_path: Path) -> None:
    with (
        create_map(MapType.ARRAY, 4, 8, 1) as array,
        load_program(ProgType.RAW_TRACEPOINT, counts_in(array.fileno())) as prog,
    ):
        info = prog_info(prog.fileno(), xlated=True)
        shown = bpftool(run, "prog", "show", "id", info.id)
        run("bpftool", "prog", "dump", "xlated", "id", info.id, "file", tmp_path / "code")
        assert info.map_ids == (map_info(array.fileno()).id,)
        assert prog_info(prog.fileno()) == info._replace(xlated=b"")
    assert info.type == ProgType.RAW_TRACEPOINT
    assert (info.name, info.tag) == (shown["name"], shown["tag"])
    assert (info.xlated_len, info.jited_len) == (shown["bytes_xlated"], shown["bytes_jited"])
    assert list(info.map_ids) == shown["map_ids"]
    assert (info.created_by_uid, info.btf_id) == (shown["uid"], shown.get("btf_id", 0))
    assert info.xlated == (tmp_path / "code").read_bytes()
    assert len(info.xlated) == info.xlated_len
    assert info.verified_insns > 0
    assert info.load_time_ns > 0


def test_a_program_without_maps() -> None:
    with load_program(ProgType.SOCKET_FILTER, returns(7)) as prog:
        info = prog_info(prog.fileno(), xlated=True)
    assert info.map_ids == ()
    assert info.xlated == returns(7)


def test_btf_info_agrees_with_bpftool(run: Run) -> None:
    fd, data = load_btf()
    with fd:
        info = btf_info(fd.fileno(), data=True)
        (shown,) = (entry for entry in bpftool(run, "btf", "list") if entry["id"] == info.id)
        assert btf_info(fd.fileno()) == info._replace(data=b"")
    assert info.data == data
    assert info.size == shown["size"] == len(data)
    assert (info.name, info.kernel) == ("", False)


def test_the_kernels_own_btf_is_found_by_id() -> None:
    for number in ids(ObjectKind.BTF):
        with by_id(ObjectKind.BTF, number) as fd:
            info = btf_info(fd.fileno())
        if info.name == "vmlinux":
            assert info.kernel
            assert info.size == Path("/sys/kernel/btf/vmlinux").stat().st_size
            assert info.id == number
            return
    pytest.fail("no BTF is called vmlinux")


def test_objects_are_found_by_id() -> None:
    with create_map(MapType.HASH, 4, 4, 1, name=b"by_id") as fd:
        number = map_info(fd.fileno()).id
        assert number in ids(ObjectKind.MAP)
        with by_id(ObjectKind.MAP, number) as again:
            assert map_info(again.fileno()) == map_info(fd.fileno())
    with pytest.raises(BpfError) as raised:
        by_id(ObjectKind.PROG, 0x7FFFFFFF)
    assert raised.value.errno == errno.ENOENT


def test_link_info_agrees_with_bpftool(run: Run) -> None:
    with (
        load_program(ProgType.RAW_TRACEPOINT, returns(0)) as prog,
        attach_raw_tracepoint(prog.fileno(), "sched_process_exit") as link,
    ):
        info = link_info(link.fileno())
        shown = bpftool(run, "link", "show", "id", info.id)
        assert info.id in ids(ObjectKind.LINK)
        assert info.prog_id == prog_info(prog.fileno()).id == shown["prog_id"]
    assert info.type == LinkType.RAW_TRACEPOINT
    assert info.details["tp_name"] == shown["tp_name"] == "sched_process_exit"


def test_link_info_names_the_iterator() -> None:
    target = kernel_btf().require("bpf_iter_bpf_map", Func)
    with (
        load_program(
            ProgType.TRACING,
            writes_to_iterator(),
            attach_type=AttachType.TRACE_ITER,
            attach_btf_id=target,
        ) as prog,
        attach_iterator(prog.fileno()) as link,
    ):
        info = link_info(link.fileno())
    assert (info.type, info.details) == (LinkType.ITER, {"target_name": "bpf_map"})


def test_a_kernel_that_knows_no_names_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    offset, size = LINK_LAYOUT["raw_tracepoint_tp_name_len"]
    with (
        load_program(ProgType.RAW_TRACEPOINT, returns(0)) as prog,
        attach_raw_tracepoint(prog.fileno(), "sched_process_exit") as link,
    ):
        shorter = objects.read_info(link.fileno(), LINK_LAYOUT)[: offset + size - 1]
        monkeypatch.setattr("lskel.runtime.info.read_info", lambda *_: shorter)
        assert link_info(link.fileno()).details == {}


@pytest.mark.parametrize("trust_pins", [False, True])
def test_pins_that_fail_say_what_to_do(bpffs: Path, tmp_path: Path, trust_pins: bool) -> None:
    expected = {
        bpffs / "a.b": (errno.EPERM, "names on a bpffs have no dots"),
        tmp_path / "a.b": (errno.EPERM, "pins must be on a bpffs: mount -t bpf bpf /sys/fs/bpf"),
        bpffs / "none" / "a": (errno.ENOENT, "create the directory first"),
        bpffs / "none" / "a.b": (errno.ENOENT, "create the directory first"),
    }
    with create_map(MapType.HASH, 4, 4, 1) as fd:
        for path, said in expected.items():
            with pytest.raises(BpfError) as raised:
                obj_pin(fd.fileno(), path, trust_pins=trust_pins)
            assert (raised.value.errno, raised.value.hint) == said


def test_pins(bpffs: Path, run: Run) -> None:
    pin = bpffs / "map"
    with create_map(MapType.HASH, 4, 4, 1) as fd:
        info = map_info(fd.fileno())
        obj_pin(fd.fileno(), pin)
        with pytest.raises(BpfError) as raised:
            obj_pin(fd.fileno(), pin)
    assert raised.value.errno == errno.EEXIST
    assert str(raised.value).startswith(f"{pin}: bpf(BPF_OBJ_PIN): EEXIST")
    assert raised.value.hint == "choose another path, or remove what is there"
    assert bpftool(run, "map", "show", "pinned", str(pin))["id"] == info.id
    with obj_get(str(pin)) as again:
        assert map_info(again.fileno()) == info
    pin.unlink()
    with pytest.raises(BpfError) as raised:
        obj_get(pin)
    assert raised.value.errno == errno.ENOENT


def test_a_pin_outside_a_bpffs_says_where_pins_go(tmp_path: Path) -> None:
    with (
        create_map(MapType.HASH, 4, 4, 1) as fd,
        pytest.raises(BpfError, match="mount -t bpf") as raised,
    ):
        obj_pin(fd.fileno(), tmp_path / "pin")
    assert raised.value.errno == errno.EPERM
