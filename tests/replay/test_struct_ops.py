"""struct_ops as the target lays them out: kernels made for the purpose, and the running one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.bpf.struct_ops import Member, StructOps
from lskel.btf.kinds import Kind
from lskel.errors import NotSupported
from lskel.replay.simulator.names import KernelImage
from lskel.runtime import objects, one_element
from lskel.runtime.info import map_info, prog_info
from lskel.runtime.kernel_btf import VMLINUX, KernelBtf
from lskel.runtime.kernel_struct import member_index, type_size, value
from lskel.runtime.objects import by_id
from lskel.runtime.syscall import BpfError
from tests.build.btf import BtfBuilder
from tests.build.clang import compile_bpf
from tests.conftest import Run, lacking

F, G = 7, 9
PROGRAMS = {"f": F, "g": G}


def pointer(number: int) -> bytes:
    return number.to_bytes(8, "little")


class World:
    """A kernel with struct ops, whose members are added in any order, with gaps."""

    def __init__(self, *, in_module: bool = False) -> None:
        self.vmlinux = BtfBuilder()
        self.number = self.vmlinux.add_int("int", 4)
        char = self.vmlinux.add_int("char", 1)
        self.name = self.vmlinux.add_array(char, 4)
        self.function = self.vmlinux.add_const(
            self.vmlinux.add_ptr(self.vmlinux.add_func_proto(self.number))
        )
        self.data = self.vmlinux.add_ptr(self.number)
        self.long = self.vmlinux.add_typedef("u64", self.vmlinux.add_int("long", 8))
        self.module = BtfBuilder(self.vmlinux) if in_module else None

    def kernel(self, *members: tuple[str, int, int], data: str = "data") -> KernelImage:
        """`members` are (name, type, offset in bytes); the struct has 64 bytes, at 16 of 96."""
        home = self.module or self.vmlinux
        common = self.vmlinux.add_struct("bpf_struct_ops_common_value", 8)
        ops = home.add_struct("ops", 64, [(name, of, 8 * at) for name, of, at in members])
        named = home.add_typedef("ops_t", ops)
        home.add_struct("bpf_struct_ops_ops", 96, [("common", common, 0), (data, named, 128)])
        modules = {"mod": self.module.btf()} if self.module else {}
        return KernelImage(self.vmlinux.btf(), modules)


OPS = StructOps(
    "ops",
    (
        Member("on_f", bytes(8), True, "f"),
        Member("on_g", bytes(8), True, None),
        Member("flags", b"\1\2\3\4", False, None),
        Member("name", b"abc\0", False, None),
        Member("owner", bytes(8), False, None),
    ),
)


@pytest.mark.parametrize("in_module", [False, True])
def test_other_order(in_module: bool) -> None:
    world = World(in_module=in_module)
    kernel = world.kernel(
        ("name", world.name, 0),
        ("new", world.long, 8),
        ("owner", world.data, 16),
        ("on_g", world.function, 24),
        ("flags", world.number, 32),
        ("on_f", world.function, 40),
    )
    assert type_size(kernel, "bpf_struct_ops_ops") == 96
    assert [member_index(kernel, "ops", name) for name in ("name", "on_g", "on_f")] == [0, 3, 5]
    expected = bytearray(96)
    expected[16:20] = b"abc\0"
    expected[48:52] = b"\1\2\3\4"
    expected[56:64] = pointer(F)
    assert value(kernel, OPS, PROGRAMS) == expected
    # A program that was not loaded is none.
    expected[56:64] = bytes(8)
    assert value(kernel, OPS, {"g": G}) == expected
    changed = OPS.with_program("on_g", "g").with_value("flags", bytes(4))
    expected[40:48], expected[48:52], expected[56:64] = pointer(G), bytes(4), pointer(F)
    assert value(kernel, changed, PROGRAMS) == expected


def test_what_the_kernel_lacks() -> None:
    world = World()
    kernel = world.kernel(("on_f", world.function, 0), ("flags", world.number, 8))
    nameless = OPS.with_value("name", bytes(4))
    assert value(kernel, nameless, PROGRAMS)[16:24] == pointer(F)  # owner, name: 0
    with pytest.raises(NotSupported, match=r"struct ops: member 'name': .*does not have it"):
        value(kernel, OPS, PROGRAMS)
    with pytest.raises(NotSupported, match=r"struct ops: member 'on_g': .*does not have it"):
        value(kernel, nameless.with_program("on_g", "g"), PROGRAMS)
    assert value(kernel, nameless.with_program("on_g", "g"), {"f": F})[16:24] == pointer(F)
    with pytest.raises(
        NotSupported, match=r"struct ops has no member 'on_g' \(.*--no-autoload PROGRAM\)"
    ):
        member_index(kernel, "ops", "on_g")
    with pytest.raises(NotSupported, match=r"no struct other \(.*module"):
        member_index(kernel, "other", "f")
    with pytest.raises(NotSupported, match="no struct bpf_struct_ops_other"):
        type_size(kernel, "bpf_struct_ops_other")
    with pytest.raises(NotSupported, match="no struct bpf_struct_ops_other"):
        value(kernel, OPS._replace(type="other"), PROGRAMS)


def test_what_does_not_fit() -> None:
    world = World()
    bits = world.vmlinux.add_struct("bits", 4, [("a", world.number, 0, 3)])
    for name, of, says in [
        ("on_f", world.long, "'on_f': its kind differs"),
        ("on_f", world.data, "'on_f': its kind differs"),
        ("flags", world.long, "'flags': 8 bytes in this kernel, 4 in the object"),
        ("flags", world.function, "'flags': its kind differs"),
        ("name", world.data, "'name': 8 bytes"),
    ]:
        fresh = World()
        others = [("on_f", fresh.function, 0), ("flags", fresh.number, 8), ("name", fresh.name, 16)]
        kernel = fresh.kernel(*((n, of, at) if n == name else (n, o, at) for n, o, at in others))
        with pytest.raises(NotSupported, match=f"struct ops: member {says}"):
            value(kernel, OPS, PROGRAMS)
    kernel = world.kernel(("flags", bits, 0), ("owner", world.data, 8))
    ops = StructOps("ops", (Member("owner", pointer(1), False, None),))
    with pytest.raises(NotSupported, match="member 'owner': data pointers"):
        value(kernel, ops, {})


def test_value_without_data() -> None:
    world = World()
    with pytest.raises(NotSupported, match="bpf_struct_ops_ops has no member 'data'"):
        value(world.kernel(("flags", world.number, 0), data="other"), OPS, {})


# -- the running kernel --------------------------------------------------------------------------


@pytest.fixture
def running() -> KernelBtf:
    if not Path(VMLINUX).exists():
        lacking(f"there is no {VMLINUX}")
    return KernelBtf()


def test_every_struct_of_this_kernel(running: KernelBtf, run: Run) -> None:
    """Sizes and indexes, as bpftool reads them from the same BTF."""
    types = json.loads(run("bpftool", "--json", "btf", "dump", "file", VMLINUX))["types"]
    structs = {item["name"]: item for item in types if item["kind"] == "STRUCT"}
    prefix = "bpf_struct_ops_"
    # Others of that prefix are the kernel's own, such as bpf_struct_ops_map.
    names = [name for name in structs if prefix + name in structs]
    assert "tcp_congestion_ops" in names
    for name in names:
        assert type_size(running, prefix + name) == structs[prefix + name]["size"]
        for number, member in enumerate(structs[name]["members"]):
            assert member_index(running, name, member["name"]) == number


@pytest.mark.kernel
def test_missing_from_the_kernel_and_its_modules(running: KernelBtf) -> None:
    assert running.struct("lskel_has_this_nowhere") is None
    with pytest.raises(BpfError, match="ENOENT"):
        running.find("lskel_has_this_nowhere", Kind.STRUCT)


# Not the kernel's order, and by far not all of its members.
SOURCE = """
struct sock;
struct tcp_congestion_ops {
    char name[16];
    unsigned (*undo_cwnd)(struct sock *);
    unsigned (*ssthresh)(struct sock *);
    void (*init)(struct sock *);
    void *owner;
    void (*cong_avoid)(struct sock *, unsigned, unsigned);
    unsigned flags;
};
SEC("struct_ops/so_ssthresh") unsigned so_ssthresh(void *c) { return 2; }
SEC("struct_ops/so_undo") unsigned so_undo(void *c) { return 10; }
SEC("struct_ops/so_avoid") int so_avoid(void *c) { return 0; }
SEC(".struct_ops") struct tcp_congestion_ops NAME = {
    .name = "NAME", .flags = 2, .ssthresh = so_ssthresh, .undo_cwnd = so_undo,
    .cong_avoid = (void *)so_avoid };
"""
_COMMON = 8  # refcount and state come first


# Nobody else's, and short enough for the name of a map.
NAME = f"cc_{os.getpid()}"


@pytest.fixture
def registered(tmp_path: Path, run: Run) -> Iterator[tuple[lskel.Object, int]]:
    """An object, and the id of the map that libbpf registered of it."""
    path = tmp_path / "cc.o"
    path.write_bytes(compile_bpf(SOURCE.replace("NAME", NAME)))
    run("bpftool", "struct_ops", "register", path)
    try:
        listed = json.loads(run("bpftool", "--json", "struct_ops", "list"))
        (number,) = [item["id"] for item in listed if item["name"] == NAME]
        yield lskel.open_object(path), number
    finally:
        run("bpftool", "struct_ops", "unregister", "name", NAME)


@pytest.mark.kernel
def test_value_as_libbpf_has_it(running: KernelBtf, registered: tuple[lskel.Object, int]) -> None:
    """The kernel keeps what it was given, with the programs' ids in the place of their fds."""
    obj, number = registered
    with by_id(objects.ObjectKind.MAP, number) as fd:
        info = map_info(fd.fileno())
        kept = one_element.lookup(fd.fileno(), bytes(4), info.value_size)
    assert kept is not None and int.from_bytes(kept[4:8], sys.byteorder) == 1  # INUSE
    ids = {}
    for program_id in objects.ids(objects.ObjectKind.PROG):
        try:
            with by_id(objects.ObjectKind.PROG, program_id) as fd:
                program = prog_info(fd.fileno())
        except BpfError:
            continue  # somebody else's, which went
        if program.btf_id == info.btf_id:
            ids[program.name] = program.id
    assert ids.keys() == {"so_ssthresh", "so_undo", "so_avoid"}
    ops = obj.map(NAME).struct_ops
    assert ops is not None
    ours = value(running, ops, ids)
    assert len(ours) == info.value_size == type_size(running, "bpf_struct_ops_tcp_congestion_ops")
    assert not any(ours[:_COMMON]) and ours[_COMMON:] == kept[_COMMON:]
