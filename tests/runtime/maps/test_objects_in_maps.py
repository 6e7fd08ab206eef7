"""Maps of maps, programs, cgroups, sockets, devices and CPUs; storage; stack traces."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.bpf.asm import Assembler
from lskel.bpf.enums import AttachType, Cmd, MapType, ProgType
from lskel.bpf.layouts import MAP_CREATE
from lskel.errors import NotFound, NotSupported, UsageError
from lskel.runtime.info import map_info, prog_info
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.kinds import map_class
from lskel.runtime.maps.redirect import CpuQueue, Device
from lskel.runtime.maps.storage import LocalStorage
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError, bpf, host_attr
from lskel.runtime.values import u32, u64
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.runtime.maps.shapes import NAME, Task, dumped, map_id, new
from tests.runtime.namespaces import cgroup, network_namespace
from tests.runtime.programs import create_map, load_map, load_program, returns, run_program

pytestmark = pytest.mark.kernel


@contextmanager
def of_maps(map_type: MapType, entries: int, *types: Any) -> Iterator[Any]:
    """A map of maps whose inner maps are arrays of one u64."""
    with create_map(MapType.ARRAY, 4, 8, 1) as inner:
        attr = host_attr(
            MAP_CREATE,
            "inner_map_fd",
            map_type=map_type,
            key_size=4,
            value_size=4,
            max_entries=entries,
            inner_map_fd=inner.fileno(),
        )
        made: Any = map_class(map_type)(MapDefinition(NAME, map_type, 4, 4, entries), *types)
        made.bind(Fd(bpf(Cmd.MAP_CREATE, attr)))
        try:
            yield made
        finally:
            made.close()


@pytest.mark.parametrize(
    ("map_type", "types"), [(MapType.ARRAY_OF_MAPS, ()), (MapType.HASH_OF_MAPS, (u32,))]
)
def test_maps_of_maps(map_type: MapType, types: tuple[Any, ...]) -> None:
    with (
        of_maps(map_type, 4, *types) as outer,
        create_map(MapType.ARRAY, 4, 8, 1) as first,
        new(MapType.ARRAY, (4, 8), 1, u64) as second,
        create_map(MapType.HASH, 4, 8, 1) as other,
    ):
        outer[0] = first
        outer[2] = second
        outer[3] = first.fileno()
        ids = {0: map_id(first), 2: second.info().id, 3: map_id(first)}
        assert outer.ids() == ids
        assert {key: inner.info().id for key, inner in outer.items()} == ids
        assert sorted(inner.info().id for inner in outer.values()) == sorted(ids.values())
        assert (len(outer), set(outer), 1 in outer) == (3, {0, 2, 3}, False)
        with outer[2]._fd as again:
            assert map_info(again.fileno()).id == second.info().id
        with pytest.raises(BpfError) as raised:
            outer[1] = other
        assert raised.value.errno == errno.EINVAL
        with pytest.raises(KeyError):
            outer[1]
        for wrong in ("no fd", None, True):
            with pytest.raises(TypeError, match="map 'lskel_test': value: expected an fd"):
                outer[1] = wrong
        del outer[2]
        with pytest.raises(KeyError):
            outer[2]
        with pytest.raises(
            UsageError, match="'lskel_test': the object does not define its inner map"
        ):
            outer.new()


def tail_caller(array: Any) -> bytes:
    """Calls program 1 of the array, or returns 7."""
    asm = Assembler(sys.byteorder)
    load_map(asm, 2, array.fileno())
    asm.mov_imm(3, 1)
    asm.call("tail_call")
    asm.mov_imm(0, 7)
    asm.exit()
    return asm.assemble()


def test_tail_calls() -> None:
    packet = bytes(14)
    with (
        new(MapType.PROG_ARRAY, (4, 4), 3) as array,
        load_program(ProgType.SCHED_CLS, tail_caller(array)) as caller,
        load_program(ProgType.SCHED_CLS, returns(42)) as callee,
    ):
        assert run_program(caller, packet=packet) == 7
        array[1] = callee
        assert run_program(caller, packet=packet) == 42
        assert dict(array.items()) == {1: prog_info(callee.fileno()).id}
        del array[1]
        assert run_program(caller, packet=packet) == 7
        assert 1 not in array and len(array) == 0
        with pytest.raises(KeyError):
            del array[1]
        with pytest.raises(IndexError):
            array[3] = callee


def test_cgroups() -> None:
    with new(MapType.CGROUP_ARRAY, (4, 4), 2) as array, cgroup() as group:
        array[0] = str(group)
        array[1] = Path(group)
        with pytest.raises(
            NotSupported, match="map 'lskel_test': the kernel does not let user space read"
        ):
            array[0]
        del array[0], array[1]
        with pytest.raises(KeyError):
            del array[0]
        with pytest.raises(FileNotFoundError):
            array[0] = "/no/such/cgroup"


def test_sockets(run: Run) -> None:
    with socket.socket() as server, socket.socket() as one:
        server.bind(("127.0.0.1", 0))
        server.listen()
        one.connect(server.getsockname())
        cookie = int.from_bytes(one.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)
        for map_type, types in ((MapType.SOCKMAP, ()), (MapType.SOCKHASH, (u32,))):
            with new(map_type, (4, 8), 4, *types) as made:
                made[2] = one
                assert made[2] == cookie and 1 not in made
                assert dict(made.items()) == {2: cookie}
                assert [*dumped(run, made).values()] == [cookie.to_bytes(8, sys.byteorder)]
                del made[2]
                assert len(made) == 0
            with new(map_type, (4, 4), 4, *types) as made:
                made[2] = one.fileno()
                with pytest.raises(NotSupported, match="__u64"):
                    made[2]


def test_devices() -> None:
    with (
        network_namespace(),
        load_program(ProgType.XDP, returns(2), attach_type=AttachType.XDP_DEVMAP) as program,
    ):
        lo = socket.if_nametoindex("lo")
        for map_type in (MapType.DEVMAP, MapType.DEVMAP_HASH):
            with new(map_type, (4, 8), 4) as made:
                made[1] = "lo"
                made[2] = ("lo", program)
                made[3] = Device(lo)
                assert dict(made.items()) == {
                    1: Device(lo),
                    2: Device(lo, prog_info(program.fileno()).id),
                    3: Device(lo),
                }
                assert 0 not in made
                with pytest.raises(NotFound, match="no network interface 'nowhere'"):
                    made[0] = "nowhere"
                with pytest.raises(TypeError, match="value: expected a program"):
                    made[0] = made[2]
                del made[1]
                assert set(made) == {2, 3}
            with new(map_type, (4, 4), 4) as made:
                made[0] = lo
                assert made[0] == Device(lo)
                with pytest.raises(ValueError, match="no field for a program"):
                    made[0] = (lo, program)


def test_cpus() -> None:
    with (
        new(MapType.CPUMAP, (4, 8), 4) as made,
        load_program(ProgType.XDP, returns(2), attach_type=AttachType.XDP_CPUMAP) as program,
    ):
        made[0] = 192
        assert dict(made.items()) == {0: CpuQueue(192)}
        made[0] = (64, program)
        assert made[0] == CpuQueue(64, prog_info(program.fileno()).id)
        for wrong in (0, -1, 1 << 32):
            with pytest.raises(OverflowError, match="map 'lskel_test': value"):
                made[0] = wrong
        del made[0]
        assert len(made) == 0


def test_stack_traces() -> None:
    """A program takes the stack that it was run from."""
    with new(MapType.STACK_TRACE, (4, 8 * 16), 64) as stacks:
        asm = Assembler(sys.byteorder)
        load_map(asm, 2, stacks.fileno())
        asm.mov_imm(3, 0)
        asm.call("get_stackid")
        asm.exit()
        with load_program(ProgType.RAW_TRACEPOINT, asm.assemble()) as program:
            number = run_program(program)
        assert set(stacks) == {number}
        frames = stacks[number]
        assert 0 < len(frames) < 16 and all(frame >> 63 for frame in frames)
        assert stacks.pop(number) == frames
        assert len(stacks) == 0


STORAGE = """
struct task { __u32 pid; __u16 cpu; __u64 start; };
#define STORAGE(NAME, TYPE) struct { __uint(type, TYPE); __uint(map_flags, BPF_F_NO_PREALLOC); \\
    __type(key, int); __type(value, struct task); } NAME SEC(".maps")
STORAGE(tasks, BPF_MAP_TYPE_TASK_STORAGE);
STORAGE(sockets, BPF_MAP_TYPE_SK_STORAGE);
STORAGE(cgroups, 32); // CGRP_STORAGE, which older headers do not have
"""


@contextmanager
def storage(name: str) -> Iterator[LocalStorage[Task]]:
    with lskel.load(compile_bpf(STORAGE), name="storage") as bpf:
        made: LocalStorage[Task] = LocalStorage.open(bpf.maps[name].info().id, Task)
        try:
            yield made
        finally:
            made.close()


@pytest.mark.parametrize("name", ["tasks", "sockets", "cgroups"])
def test_storage(name: str) -> None:
    with storage(name) as made, cgroup() as group, socket.socket() as plain:
        owner: Any = plain
        if name == "tasks":
            owner = Fd(os.pidfd_open(os.getpid()))
        elif name == "cgroups":
            owner = Fd(os.open(group, os.O_RDONLY))
        assert owner not in made and made.get(owner) is None
        with pytest.raises(KeyError):
            made[owner]
        made[owner] = Task(1, 2, 3)
        assert made[owner] == made[owner.fileno()] == Task(1, 2, 3)
        made[owner] = Task(4)
        assert owner in made and made.get(owner) == Task(4)
        with pytest.raises(OverflowError, match=r"value: Task\.pid"):
            made[owner] = {"pid": -1}  # type: ignore[assignment]
        with pytest.raises(BpfError):
            made[0x7FFFFFFF] = Task()
        del made[owner]
        with pytest.raises(KeyError):
            del made[owner]
        owner.close()
