"""The simulated kernel, compared with the running one where both can be asked."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.bpf.enums import AttachType, Cmd, MapType, ProgType
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.bpf.layouts import (
    BTF_LOAD,
    GET_ID,
    LINK_CREATE,
    MAP_CREATE,
    MAP_ELEM,
    PROG_BIND_MAP,
    PROG_LOAD,
    RAW_TRACEPOINT,
    Layout,
)
from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.cursor import ByteOrder
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import AnyName, KernelImage, parse_kallsyms
from lskel.replay.simulator.record import (
    CallRecord,
    FdRef,
    FoundType,
    Pointer,
    RecordedCode,
    RecordedFdArray,
    RecordedHelper,
)
from lskel.replay.simulator.syscall.attrs import SIZE
from lskel.replay.simulator.syscall.errnos import Errno
from lskel.replay.simulator.syscall.maps import SimulatedMap
from lskel.replay.simulator.syscall.programs import Link, SimulatedProgram
from lskel.runtime.syscall import ENOTSUPP
from tests.build.btf import BtfBuilder
from tests.runtime.programs import returns
from tests.simulator.worlds import (
    Field,
    Simulated,
    World,
    agree,
    create,
    delete,
    freeze,
    issue,
    load_btf,
    load_prog,
    lookup,
    make_attr,
    next_key,
    u32,
    update,
)

NO_FD = 9999


def types(order: ByteOrder = sys.byteorder) -> bytes:
    """1: int, 2: a prototype, 3: the function f, 4: the function g."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4, 1)
    proto = btf.add_func_proto(number)
    btf.add_func("f", proto)
    btf.add_func("g", proto, 0)
    return btf.bytes(order)


TYPES = types()
F, G = 3, 4

# -- attrs ----------------------------------------------------------------------------------------

# A complete attr for each command, and what it leaves unused at its end.
WHOLE: dict[Cmd, tuple[Layout, str]] = {
    Cmd.MAP_CREATE: (MAP_CREATE, "excl_prog_hash_size"),
    Cmd.MAP_LOOKUP_ELEM: (MAP_ELEM, "flags"),
    Cmd.MAP_UPDATE_ELEM: (MAP_ELEM, "flags"),
    Cmd.MAP_DELETE_ELEM: (MAP_ELEM, "key"),
    Cmd.MAP_GET_NEXT_KEY: (MAP_ELEM, "next_key"),
    Cmd.MAP_FREEZE: (MAP_ELEM, "map_fd"),
    Cmd.MAP_GET_FD_BY_ID: (GET_ID, "fd_by_id_token_fd"),
    Cmd.PROG_LOAD: (PROG_LOAD, "keyring_id"),
    Cmd.PROG_BIND_MAP: (PROG_BIND_MAP, "flags"),
    Cmd.BTF_LOAD: (BTF_LOAD, "btf_token_fd"),
    Cmd.RAW_TRACEPOINT_OPEN: (RAW_TRACEPOINT, "cookie"),
    Cmd.LINK_CREATE: (LINK_CREATE, "uprobe_multi_pid"),
}


@pytest.mark.kernel
@pytest.mark.parametrize("cmd", WHOLE, ids=lambda cmd: cmd.name)
def test_unused_fields_like_the_kernels(cmd: Cmd) -> None:
    """Bytes after a command's last field are EINVAL, but nothing else in a good enough attr is."""

    def script(world: World) -> dict[str, int]:
        fd = create(world)
        key, value = bytearray(4), bytearray(8)
        good: dict[Cmd, dict[str, Field]] = {
            Cmd.MAP_CREATE: {
                "map_type": MapType.HASH,
                "key_size": 4,
                "value_size": 4,
                "max_entries": 1,
            },
            Cmd.MAP_LOOKUP_ELEM: {"map_fd": NO_FD},
            Cmd.MAP_UPDATE_ELEM: {"map_fd": fd, "key": key, "value": value},
            Cmd.MAP_DELETE_ELEM: {"map_fd": fd, "key": key},
            Cmd.MAP_GET_NEXT_KEY: {"map_fd": fd, "next_key": key},
            Cmd.MAP_FREEZE: {"map_fd": fd},
            Cmd.MAP_GET_FD_BY_ID: {"map_id": (1 << 32) - 1},
            Cmd.PROG_LOAD: {},
            Cmd.PROG_BIND_MAP: {"prog_fd": NO_FD},
            Cmd.BTF_LOAD: {"btf": TYPES, "btf_size": len(TYPES)},
            Cmd.RAW_TRACEPOINT_OPEN: {"prog_fd": NO_FD},
            Cmd.LINK_CREATE: {"prog_fd": NO_FD},
        }
        layout, last = WHOLE[cmd]
        answers = {}
        for at in (None, *range(sum(layout[last]), SIZE, 4)):
            attr = make_attr(world, layout, good[cmd])
            if at is not None:
                attr[at] = 1
            answers[f"byte {at}"] = world.call(cmd, attr)
        return answers

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "tail",
    [b"", bytes(1), bytes(8), b"\1", bytes(100) + b"\1", bytes(4096 - SIZE), bytes(4097 - SIZE)],
    ids=lambda tail: f"{len(tail)} {any(tail)}",
)
def test_tails_like_the_kernels(tail: bytes) -> None:
    def script(world: World) -> int:
        attr = make_attr(
            world,
            MAP_CREATE,
            {"map_type": MapType.ARRAY, "key_size": 4, "value_size": 4, "max_entries": 1},
        )
        return world.call(Cmd.MAP_CREATE, attr + tail)

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize("size", [4, 8, 16, 20, 28, 72])
def test_short_attrs_like_the_kernels(size: int) -> None:
    def script(world: World) -> int:
        attr = make_attr(
            world,
            MAP_CREATE,
            {"map_type": MapType.ARRAY, "key_size": 4, "value_size": 4, "max_entries": 1},
        )
        return world.call(Cmd.MAP_CREATE, attr[:size])

    agree(script)


@pytest.mark.kernel
@pytest.mark.parametrize("cmd", [38, 99, (1 << 31) - 1])
def test_unknown_commands_like_the_kernels(cmd: int) -> None:
    agree(lambda world: issue(world, cmd, MAP_CREATE))


def test_commands_that_are_not_simulated() -> None:
    world = Simulated()
    assert issue(world, Cmd.PROG_ATTACH, MAP_CREATE) == -Errno.EINVAL
    (record,) = world.kernel.records
    assert (record.name, record.attr, record.result) == ("BPF_PROG_ATTACH", {}, -Errno.EINVAL)


# -- fds ------------------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("fd", [NO_FD, 0, (1 << 32) - 1, -1], ids=str)
def test_fds_that_are_no_maps_like_the_kernels(fd: int) -> None:
    def script(world: World) -> list[Any]:
        return [
            update(world, fd, u32(0), bytes(8)),
            lookup(world, fd, u32(0)),
            delete(world, fd, u32(0)),
            next_key(world, fd, None),
            freeze(world, fd),
            create(world, MapType.ARRAY_OF_MAPS, value_size=4, inner_map_fd=fd),
            create(world, btf_fd=fd, btf_key_type_id=1, btf_value_type_id=1),
        ]

    agree(script)


@pytest.mark.kernel
def test_fds_of_other_objects_like_the_kernels() -> None:
    def script(world: World) -> list[Any]:
        btf, prog, found = load_btf(world, TYPES), load_prog(world), create(world)
        return [
            *(update(world, fd, u32(0), bytes(8)) for fd in (btf, prog)),
            *(create(world, btf_fd=fd, btf_value_type_id=1) for fd in (prog, found)),
            *(issue(world, Cmd.PROG_BIND_MAP, PROG_BIND_MAP, prog_fd=fd) for fd in (btf, found)),
            *(
                issue(world, Cmd.PROG_BIND_MAP, PROG_BIND_MAP, prog_fd=prog, map_fd=fd, flags=flags)
                for fd in (found, btf, NO_FD)
                for flags in (0, 1)
            ),
        ]

    agree(script)


def test_lowest_free_fd_from_3_on() -> None:
    world = Simulated()
    kernel = world.kernel
    assert [create(world), load_btf(world, TYPES), create(world), load_prog(world)] == [3, 4, 5, 6]
    assert [kernel.close(fd) for fd in (5, 3)] == [0, 0]
    assert [create(world), create(world), create(world)] == [3, 5, 7]
    assert kernel.close(NO_FD) == -Errno.EBADF
    assert [str(ref) for ref in kernel.open_fds.values()] == [
        *("map #3", "btf #1", "map #4", "prog #1", "map #5"),
    ]


def test_out_of_fds() -> None:
    world = Simulated(SimulatedKernel("little", faults=Faults(max_fds=2)))
    assert [create(world), create(world), create(world)] == [3, 4, -Errno.EMFILE]
    assert world.kernel.close(3) == 0
    assert create(world) == 3
    # What got no fd was not made.
    assert [str(ref) for ref in world.kernel.open_fds.values()] == ["map #3", "map #2"]


# -- BTF ------------------------------------------------------------------------------------------


def header(**fields: int) -> Callable[[bytes], bytes]:
    """Changes fields of a BTF header."""
    places = {"magic": (0, "H"), "version": (2, "B"), "flags": (3, "B")}
    words = ("hdr_len", "type_off", "type_len", "str_off", "str_len")
    places |= {name: (4 + 4 * at, "I") for at, name in enumerate(words)}

    def change(raw: bytes) -> bytes:
        changed = bytearray(raw)
        for name, value in fields.items():
            at, form = places[name]
            struct.pack_into(f"={form}", changed, at, value)
        return bytes(changed)

    return change


def longer_header(extra: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: header(hdr_len=24 + len(extra))(raw[:24] + extra + raw[24:])


BTF_CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "good": lambda raw: raw,
    "nothing": lambda raw: b"",
    "4 bytes": lambda raw: raw[:4],
    "8 bytes": lambda raw: raw[:8],
    "header": lambda raw: raw[:24],
    "cut": lambda raw: raw[:-1],
    "longer": lambda raw: raw + bytes(4),
    "foreign": lambda raw: types("big" if sys.byteorder == "little" else "little"),
    "magic": header(magic=0xEB9E),
    "version": header(version=2),
    "flags": header(flags=1),
    "short header": header(hdr_len=20),
    "no header": header(hdr_len=0),
    "huge header": header(hdr_len=1 << 20),
    "longer header, zero": longer_header(bytes(8)),
    "longer header, used": longer_header(b"\1" + bytes(7)),
    "gap": header(type_off=4),
    "types overlap strings": header(type_len=1 << 20),
    "types end early": header(type_len=4),
    "no types": header(type_len=0),
    "strings cut": header(str_len=3),
    "no strings": header(str_len=0),
    "strings do not end": lambda raw: raw[:-1] + b"x",
    "strings do not begin": lambda raw: raw.replace(b"\0int\0", b"xint\0"),
    "kind": lambda raw: raw[:24] + raw[24:].replace(struct.pack("=I", 1 << 24), b"\0\0\0\x1f", 1),
}


@pytest.mark.kernel
@pytest.mark.parametrize("change", BTF_CHANGES)
def test_btf_like_the_kernels(change: str) -> None:
    agree(lambda world: load_btf(world, BTF_CHANGES[change](TYPES)))


LOGS = [
    {"level": level, "size": size, "buf": buf}
    for level in (0, 1, 4, 15, 16)
    for size in (0, 4096)
    for buf in (0, 1)
]


@pytest.mark.kernel
def test_btf_attrs_like_the_kernels() -> None:
    def script(world: World) -> dict[str, int]:
        tried: list[dict[str, Field]] = [
            {"btf_size": 0},
            {"btf_size": (16 << 20) + 1},
            {"btf": 0},
            {"btf_flags": 1},
        ]
        for log in LOGS:
            tried.append(
                {
                    "btf_log_level": log["level"],
                    "btf_log_size": log["size"],
                    "btf_log_buf": bytearray(4096) if log["buf"] else 0,
                }
            )
        return {repr(fields)[:99]: load_btf(world, TYPES, **fields) for fields in tried}

    agree(script)


# -- programs -------------------------------------------------------------------------------------

PROG_FIELDS: tuple[dict[str, Field], ...] = (
    {},
    {"insn_cnt": 0},
    {"insn_cnt": 1_000_001},
    {"insns": 0},
    {"license": 0},
    {"prog_type": 0},
    {"prog_type": 33},
    {"prog_type": 99},
    {"prog_name": b"ok_1.b"},
    {"prog_name": b"no-"},
    {"prog_name": b"x" * 15},
    {"prog_name": b"x" * 16},
    {"kern_version": 99},
    {"prog_flags": 0x0F},
    {"prog_flags": 1 << 5},
    {"prog_flags": 1 << 6},
    {"prog_flags": 1 << 7},
    {"prog_flags": 1 << 8},
    {"prog_flags": 1 << 31},
    {"prog_btf_fd": NO_FD},
    {"attach_btf_obj_fd": NO_FD},
    {"attach_btf_id": 1},
    {"attach_btf_id": 1 << 20},
    {"prog_type": ProgType.TRACING},
    {"prog_type": ProgType.TRACING, "attach_btf_obj_fd": NO_FD, "attach_btf_id": 1},
    {"prog_type": ProgType.SYSCALL, "expected_attach_type": 1, "prog_flags": 16},
    {"prog_type": ProgType.SYSCALL, "prog_flags": 16},
    {"log_level": 16},
    {"log_level": 1, "log_size": 4096},
    {"log_size": 4096, "log_buf": bytearray(4096)},
    {"log_level": 1, "log_size": 4096, "log_buf": bytearray(4096)},
    {"log_level": 1, "log_size": 4096, "log_buf": 1},
    {"fd_array_cnt": 1},
    {"fd_array_cnt": 1, "fd_array": u32(NO_FD)},
    {"fd_array": u32(NO_FD)},
)


@pytest.mark.kernel
@pytest.mark.parametrize("fields", PROG_FIELDS, ids=lambda fields: repr(fields)[:60])
def test_programs_like_the_kernels(fields: dict[str, Field]) -> None:
    agree(lambda world: load_prog(world, returns(0), **fields))


# Not compared: a kernel that is locked down has EPERM for all programs of these types.
@pytest.mark.parametrize("prog_type", [ProgType.LSM, ProgType.EXT, ProgType.STRUCT_OPS])
def test_programs_that_need_a_target(prog_type: ProgType) -> None:
    world = Simulated()
    assert load_prog(world, prog_type=prog_type) == -Errno.EINVAL
    assert load_prog(world, prog_type=prog_type, attach_btf_id=1) > 0


def test_programs_of_many_functions() -> None:
    """They have no target, whichever BTF they are loaded for (bpf_prog_load_check_attach)."""
    world = Simulated()
    multi = {"expected_attach_type": AttachType.TRACE_FENTRY_MULTI}
    module = world.kernel.state.open_module("dummy", 0)
    assert load_prog(world, prog_type=ProgType.TRACING, **multi) > 0
    assert load_prog(world, prog_type=ProgType.TRACING, attach_btf_obj_fd=module, **multi) > 0
    for wrong in ({"prog_type": ProgType.LSM}, {"attach_btf_id": 1}):
        fields = {"prog_type": ProgType.TRACING, **multi, **wrong}
        assert load_prog(world, **fields) == -Errno.EINVAL


@pytest.mark.kernel
@pytest.mark.parametrize(
    "prog_type",
    [
        ProgType.CGROUP_SOCK,
        ProgType.CGROUP_SOCK_ADDR,
        ProgType.CGROUP_SKB,
        ProgType.CGROUP_SOCKOPT,
        ProgType.SK_LOOKUP,
        ProgType.SK_REUSEPORT,
        ProgType.XDP,
        ProgType.SYSCALL,
        ProgType.SOCKET_FILTER,
    ],
    ids=lambda prog_type: prog_type.name,
)
def test_attach_types_like_the_kernels(prog_type: ProgType) -> None:
    def script(world: World) -> dict[str, int]:
        flags = 16 if prog_type is ProgType.SYSCALL else 0
        return {
            str(attach_type): load_prog(
                world,
                returns(1),
                prog_type=prog_type,
                expected_attach_type=attach_type,
                prog_flags=flags,
            )
            for attach_type in range(len(AttachType) + 2)
        }

    agree(script)


def loads_map(pseudo: Pseudo, number: int, offset: int = 0) -> bytes:
    """A program that loads a map's address."""
    asm = Assembler(sys.byteorder)
    asm.emit(Insn(i.OP_LD_IMM64, 1, pseudo, imm=number))
    asm.emit(Insn(0, imm=offset))
    asm.mov_imm(0, 0)
    asm.exit()
    return asm.assemble()


@pytest.mark.kernel
def test_maps_of_programs_like_the_kernels() -> None:
    def script(world: World) -> dict[str, int]:
        array, btf, hashed = create(world, MapType.ARRAY), load_btf(world, TYPES), create(world)
        single = create(world, MapType.ARRAY, max_entries=1)
        fds = u32(array) + u32(NO_FD) + u32(btf) + u32(hashed) + u32(single)
        answers = {}
        for pseudo in (Pseudo.MAP_IDX, Pseudo.MAP_IDX_VALUE):
            for index in range(5):
                for offset in (0, 4, 8):
                    code = loads_map(pseudo, index, offset)
                    name = f"{pseudo.name} {index}+{offset}"
                    answers[name] = load_prog(world, code, fd_array=fds)
        for pseudo in (Pseudo.MAP_FD, Pseudo.MAP_VALUE):
            for what, fd in {"single": single, "none": NO_FD, "btf": btf, "-1": -1}.items():
                answers[f"{pseudo.name} {what}"] = load_prog(world, loads_map(pseudo, fd))
        answers["no array"] = load_prog(world, loads_map(Pseudo.MAP_IDX, 0))
        answers["array of nothing"] = load_prog(world, loads_map(Pseudo.MAP_IDX, 0), fd_array=1)
        return answers

    agree(script)


def calls_kfunc(off: int) -> bytes:
    asm = Assembler(sys.byteorder)
    asm.emit(Insn(i.OP_CALL, src=CallKind.KFUNC, off=off, imm=1))
    asm.mov_imm(0, 0)
    asm.exit()
    return asm.assemble()


@pytest.mark.kernel
def test_btf_of_modules_like_the_kernels() -> None:
    def script(world: World) -> dict[str, int]:
        btf, found = load_btf(world, TYPES), create(world)
        fds = u32(0) + u32(NO_FD) + u32(btf) + u32(found)
        answers = {
            f"kfunc {off}": load_prog(
                world,
                calls_kfunc(off),
                fd_array=fds,
                prog_type=ProgType.SYSCALL,
                prog_flags=16,
            )
            for off in (1, 2, 3)
        }
        answers["no array"] = load_prog(
            world, calls_kfunc(1), prog_type=ProgType.SYSCALL, prog_flags=16
        )
        for what, fd in {"none": NO_FD, "map": found}.items():
            code = loads_map(Pseudo.BTF_ID, 1, fd)
            answers[f"variable of {what}"] = load_prog(world, code)
        for what, fd in {"none": NO_FD, "own btf": btf, "map": found}.items():
            answers[f"target in {what}"] = load_prog(
                world, prog_type=ProgType.TRACING, attach_btf_obj_fd=fd, attach_btf_id=3
            )
        return answers

    agree(script)


def calls_function() -> bytes:
    """A program of 5 instructions; a function begins at instruction 3."""
    asm = Assembler(sys.byteorder)
    asm.mov_imm(0, 0)
    asm.emit(Insn(i.OP_CALL, src=CallKind.SUBPROGRAM, imm=1))
    asm.exit()
    asm.mov_imm(0, 0)
    asm.exit()
    return asm.assemble()


def words(*numbers: int) -> bytes:
    return struct.pack(f"={len(numbers)}I", *numbers)


GOOD_FUNCTIONS = words(0, F, 3, G)
GOOD_LINES = words(0, 1, 1, 1, 3, 1, 1, 1)


def functions(data: bytes, size: int = 8) -> dict[str, Field]:
    return {"func_info": data, "func_info_cnt": len(data) // size, "func_info_rec_size": size}


def lines(data: bytes, size: int = 16) -> dict[str, Field]:
    return {"line_info": data, "line_info_cnt": len(data) // size, "line_info_rec_size": size}


def relocations(data: bytes, size: int = 16) -> dict[str, Field]:
    return {"core_relos": data, "core_relo_cnt": len(data) // size, "core_relo_rec_size": size}


TABLES: dict[str, dict[str, Field]] = {
    "none": {},
    "functions": functions(GOOD_FUNCTIONS),
    "functions and lines": functions(GOOD_FUNCTIONS) | lines(GOOD_LINES),
    "long records": functions(words(0, F, 0, 3, G, 0), 12),
    "long records in use": functions(words(0, F, 1, 3, G, 0), 12),
    "short records": functions(words(0, 3), 4),
    "uneven records": functions(bytes(20), 10),
    "huge records": functions(bytes(512), 256),
    "one function": functions(words(0, F)),
    "three functions": functions(words(0, F, 3, G, 4, G)),
    "function elsewhere": functions(words(0, F, 2, G)),
    "first function later": functions(words(1, F, 3, G)),
    "type is no function": functions(words(0, 1, 3, G)),
    "no such type": functions(words(0, F, 3, 99)),
    "functions nowhere": functions(GOOD_FUNCTIONS) | {"func_info": 1},
    "lines only": lines(GOOD_LINES),
    "line missing": functions(GOOD_FUNCTIONS) | lines(words(0, 1, 1, 1)),
    "lines descend": functions(GOOD_FUNCTIONS) | lines(GOOD_LINES + words(2, 1, 1, 1)),
    "line twice": functions(GOOD_FUNCTIONS) | lines(GOOD_LINES + words(3, 1, 1, 1)),
    "line past the end": functions(GOOD_FUNCTIONS) | lines(GOOD_LINES + words(5, 1, 1, 1)),
    "no such file": functions(GOOD_FUNCTIONS) | lines(GOOD_LINES + words(4, 9999, 1, 1)),
    "no such text": functions(GOOD_FUNCTIONS) | lines(GOOD_LINES + words(4, 1, 9999, 1)),
    "line records": functions(GOOD_FUNCTIONS) | lines(bytes(24), 12),
    "lines nowhere": functions(GOOD_FUNCTIONS) | lines(GOOD_LINES) | {"line_info": 1},
    "relocation past the end": functions(GOOD_FUNCTIONS) | relocations(words(40, 1, 0, 0)),
    "relocation of half": functions(GOOD_FUNCTIONS) | relocations(words(4, 1, 0, 0)),
    "relocation records": functions(GOOD_FUNCTIONS) | relocations(bytes(24), 12),
    "relocation in use": functions(GOOD_FUNCTIONS) | relocations(words(0, 1, 0, 0, 1), 20),
    "relocations nowhere": functions(GOOD_FUNCTIONS) | relocations(bytes(16)) | {"core_relos": 1},
    "relocations alone": relocations(words(40, 1, 0, 0)),
    "no BTF": functions(GOOD_FUNCTIONS) | {"prog_btf_fd": NO_FD},
    "BTF 0": functions(GOOD_FUNCTIONS) | {"prog_btf_fd": 0},
}


@pytest.mark.kernel
@pytest.mark.parametrize("table", TABLES)
def test_tables_like_the_kernels(table: str) -> None:
    def script(world: World) -> int:
        fields: dict[str, Field] = {"prog_btf_fd": load_btf(world, TYPES)}
        return load_prog(world, calls_function(), **(fields | TABLES[table]))

    agree(script)


@pytest.mark.kernel
def test_prog_arrays_like_the_kernels() -> None:
    def script(world: World) -> list[int]:
        array = create(world, MapType.PROG_ARRAY, value_size=4)
        progs = [
            load_prog(world),
            load_prog(world),
            load_prog(world, returns(1), prog_type=ProgType.CGROUP_SKB),
            load_prog(world, returns(1), prog_type=ProgType.XDP),
        ]
        answers = [update(world, array, u32(0), u32(fd)) for fd in progs]
        return [*answers, update(world, array, u32(7), u32(progs[0])), delete(world, array, u32(0))]

    agree(script)


# -- links ----------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_raw_tracepoints_like_the_kernels() -> None:
    def open_(world: World, **fields: Field) -> int:
        return issue(world, Cmd.RAW_TRACEPOINT_OPEN, RAW_TRACEPOINT, **fields)

    def script(world: World) -> list[int]:
        filter_ = load_prog(world)
        return [
            open_(world, prog_fd=NO_FD, name=b"sys_enter\0"),
            open_(world, prog_fd=filter_, name=b"sys_enter\0"),
            open_(world, prog_fd=create(world), name=b"sys_enter\0"),
            open_(
                world,
                prog_fd=load_prog(world, prog_type=ProgType.RAW_TRACEPOINT),
                name=0,
            ),
        ]

    agree(script)


def test_raw_tracepoint() -> None:
    world = Simulated(SimulatedKernel(sys.byteorder, names=image()))
    prog = load_prog(world, prog_type=ProgType.RAW_TRACEPOINT)
    tried = {b"there\0": 4, b"missing\0": -Errno.ENOENT}
    for name, expected in tried.items():
        fd = issue(world, Cmd.RAW_TRACEPOINT_OPEN, RAW_TRACEPOINT, prog_fd=prog, name=name)
        assert fd == expected
    link = world.kernel.fds.get(4, Link)
    assert (link.name, link.of) == ("there", world.kernel.fds.get(prog, SimulatedProgram))


def test_link() -> None:
    world = Simulated()
    prog = load_prog(world, prog_type=ProgType.XDP)
    attach = AttachType.XDP
    fields = {"prog_fd": prog, "target_fd": 1, "attach_type": attach}
    assert issue(world, Cmd.LINK_CREATE, LINK_CREATE, **fields) == 4
    assert world.kernel.fds.get(4, Link).attach_type == attach
    fields["prog_fd"] = NO_FD
    assert issue(world, Cmd.LINK_CREATE, LINK_CREATE, **fields) == -Errno.EBADF


def test_map_by_id() -> None:
    world = Simulated()
    kernel = world.kernel
    fd = create(world)
    again = issue(world, Cmd.MAP_GET_FD_BY_ID, GET_ID, map_id=1)
    assert kernel.fds.get(again, SimulatedMap) is kernel.fds.get(fd, SimulatedMap)
    kernel.close(fd)
    kernel.close(again)
    assert issue(world, Cmd.MAP_GET_FD_BY_ID, GET_ID, map_id=1) == -Errno.ENOENT


# -- names ----------------------------------------------------------------------------------------


def image() -> KernelImage:
    """A kernel with one module."""
    vmlinux = BtfBuilder()
    number = vmlinux.add_int("int", 4, 1)
    vmlinux.add_func("do_work", vmlinux.add_func_proto(number))
    vmlinux.add_typedef("btf_trace_there", number)
    vmlinux.add_struct("bpf_struct_ops_some_ops", 16)
    module = BtfBuilder(vmlinux)
    module.add_func("mod_work", 2)
    base = vmlinux.btf(sys.byteorder)

    return KernelImage(
        base,
        {"mod": Btf(module.bytes(sys.byteorder), base)},
        parse_kallsyms("ffffffff81000000 T do_work\nffffffffc0000000 t mod_work\t[mod]\n"),
    )


def test_types_of_a_kernel_and_its_modules() -> None:
    kernel = SimulatedKernel(sys.byteorder, names=image())
    assert kernel.find_type(b"do_work\0", Kind.FUNC, 0) == 3
    assert kernel.find_type(b"do_work\0", Kind.VAR, 0) == -Errno.ENOENT
    assert kernel.find_type(b"do_work\0", 99, 0) == -Errno.ENOENT
    assert kernel.find_type(b"do_work\0", Kind.FUNC, 1) == -Errno.EINVAL
    assert kernel.find_type(b"do_work", Kind.FUNC, 0) == -Errno.EINVAL
    assert kernel.find_type(b"\0", Kind.FUNC, 0) == -Errno.EINVAL
    # Each lookup opens the module's BTF anew.
    assert kernel.find_type(b"mod_work\0", Kind.FUNC, 0) == 3 << 32 | 6
    assert kernel.find_type(b"mod_work\0", Kind.FUNC, 0) == 4 << 32 | 6
    assert kernel.records[-1].result == FoundType(6, FdRef("btf", 0, "mod", 7, 4))


def test_symbols_of_a_kernel() -> None:
    kernel = SimulatedKernel(sys.byteorder, names=image())
    assert kernel.find_symbol(b"do_work\0", 0) == (0, 0xFFFFFFFF81000000)
    assert kernel.find_symbol(b"nothing\0", 0) == (-Errno.ENOENT, 0)
    assert kernel.find_symbol(b"do_work\0", 1) == (-Errno.EINVAL, 0)
    assert kernel.find_symbol(b"do_work", 0) == (-Errno.EINVAL, 0)


def test_struct_ops_of_a_kernel() -> None:
    world = Simulated(SimulatedKernel(sys.byteorder, names=image()))
    base: dict[str, Field] = {"max_entries": 1, "btf_fd": load_btf(world, TYPES)}

    def make(type_id: int, size: int) -> int:
        fields = base | {"value_size": size, "btf_vmlinux_value_type_id": type_id}
        return create(world, MapType.STRUCT_OPS, **fields)

    assert make(5, 16) > 0
    assert make(5, 8) == -Errno.EINVAL
    assert make(1, 4) == make(99, 4) == -ENOTSUPP


def test_invented_names_are_stable() -> None:
    names = AnyName({"mod": ["mod_work"]})
    found = names.type("anything", Kind.FUNC)
    assert found == AnyName().type("anything", Kind.FUNC)
    assert found is not None and found.module == "vmlinux"
    assert found != names.type("anything", Kind.VAR)
    module = names.type("mod_work", Kind.FUNC)
    assert module is not None and module.module == "mod"
    assert names.address("a") == AnyName().address("a") != names.address("b")


# -- faults ---------------------------------------------------------------------------------------


def test_injected_errors() -> None:
    world = Simulated(SimulatedKernel(sys.byteorder, faults=Faults(calls={1: 12, 2: 1, 4: 5})))
    kernel = world.kernel
    assert create(world) == 3
    assert create(world) == -Errno.ENOMEM
    assert kernel.find_type(b"f\0", Kind.FUNC, 0) == -Errno.EPERM
    assert create(world) == 4
    # As Linux does, a close that fails has closed all the same.
    assert kernel.close(3) == -5
    assert list(kernel.open_fds) == [4]
    assert [record.injected for record in kernel.records] == [False, True, True, False, True]
    assert kernel.records[1].attr["map_type"] == MapType.HASH


def test_missing_names() -> None:
    kernel = SimulatedKernel("little", faults=Faults(missing=frozenset(("f",))))
    assert kernel.find_type(b"f\0", Kind.FUNC, 0) == -Errno.ENOENT
    assert kernel.find_symbol(b"f\0", 0) == (-Errno.ENOENT, 0)
    assert kernel.find_type(b"g\0", Kind.FUNC, 0) > 0


# -- the record -----------------------------------------------------------------------------------


def attr_of(record: CallRecord) -> dict[str, Any]:
    """The fields that are not zero or empty."""
    return {name: value for name, value in record.attr.items() if value not in (0, "", b"")}


def test_record_of_a_map() -> None:
    world = Simulated()
    btf = load_btf(world, TYPES)
    fields = {"btf_fd": btf, "btf_key_type_id": 1, "btf_value_type_id": 1}
    fd = create(world, MapType.HASH, value_size=4, map_name=b"m", **fields)
    update(world, fd, u32(7), u32(8))
    freeze(world, fd)
    world.kernel.close(fd)
    loaded, made, written, frozen, closed = world.kernel.records
    assert (loaded.name, attr_of(loaded)) == (
        "BPF_BTF_LOAD",
        {"btf": TYPES, "btf_size": len(TYPES)},
    )
    assert attr_of(made) == {
        "map_type": MapType.HASH,
        "key_size": 4,
        "value_size": 4,
        "max_entries": 2,
        "map_name": "m",
        "btf_fd": loaded.result,
        "btf_key_type_id": 1,
        "btf_value_type_id": 1,
    }
    assert made.result == FdRef("map", 1, "m", 1, fd)
    assert attr_of(written) == {"map_fd": made.result, "key": u32(7), "value": u32(8)}
    assert attr_of(frozen) == {"map_fd": made.result}
    assert (closed.cmd, closed.attr, closed.result) == (
        RecordedHelper.CLOSE,
        {"fd": made.result},
        0,
    )
    assert [record.n for record in world.kernel.records] == [0, 1, 2, 3, 4]


def test_record_of_an_inner_map() -> None:
    world = Simulated()
    inner = create(world, MapType.ARRAY, map_name=b"inner")
    outer = create(world, MapType.ARRAY_OF_MAPS, value_size=4, inner_map_fd=inner)
    update(world, outer, u32(0), u32(inner))
    made, _, written = world.kernel.records
    assert written.attr["value"] == made.result == FdRef("map", 1, "inner", 0, inner)


def test_record_of_a_program() -> None:
    world = Simulated(SimulatedKernel(sys.byteorder, names=AnyName({"mod": ["v", "k"]})))
    kernel = world.kernel
    first, second = create(world, map_name=b"a"), create(world, map_name=b"b")
    variable = kernel.find_type(b"v\0", Kind.VAR, 0) >> 32
    kfunc = kernel.find_type(b"k\0", Kind.FUNC, 0) >> 32
    btf = load_btf(world, TYPES)
    code = (
        loads_map(Pseudo.MAP_IDX, 1)[:16]
        + loads_map(Pseudo.BTF_ID, 5, variable)[:16]
        + calls_kfunc(2)
    )
    log = bytearray(b"x" * 8)
    load_prog(
        world,
        code,
        fd_array=u32(first) + u32(second) + u32(kfunc) + u32(NO_FD),
        prog_btf_fd=btf,
        log_level=1,
        log_size=8,
        log_buf=log,
        **functions(words(0, F)),
    )
    record = kernel.records[-1]
    assert record.result == FdRef("prog", 1, "", 5, 8)
    module = FdRef("btf", 0, "mod", None, 0)
    without = loads_map(Pseudo.MAP_IDX, 1)[:16] + loads_map(Pseudo.BTF_ID, 5)[:16] + calls_kfunc(2)
    assert attr_of(record) == {
        "prog_type": ProgType.SOCKET_FILTER,
        "insn_cnt": len(code) // 8,
        "insns": RecordedCode(without, ((2, module),)),
        "license": "GPL",
        "log_level": 1,
        "log_size": 8,
        "log_buf": Pointer("user memory", 0),
        "prog_btf_fd": kernel.state.ref(btf),
        "func_info_rec_size": 8,
        "func_info": words(0, F),
        "func_info_cnt": 1,
        "fd_array": RecordedFdArray(((1, kernel.state.ref(second)), (2, module))),
    }
    assert isinstance(record.attr["insns"], RecordedCode) and record.attr["insns"].raw == code
    # The log is there, and empty.
    assert log == b"\0" + b"x" * 7
    made = kernel.fds.get(8, SimulatedProgram)
    assert (made.insns, made.func_info.data) == (code, words(0, F))
    assert [(at, used.name) for at, used in made.maps.items()] == [(0, "b")]
    assert {at: used.name for at, used in made.module_btfs.items()} == {2: "mod", 4: "mod"}


def test_records_compare_without_numbers_and_addresses() -> None:
    """Other fds, other addresses, other numbers of calls; and func_info of no records."""

    def script(world: Simulated, *, spare: int) -> list[CallRecord]:
        for _ in range(spare):
            load_btf(world, TYPES)
            world.point(bytes(100))
        if spare:
            world.kernel.close(3)
        fd = create(world, map_name=b"m")
        update(world, fd, u32(1), bytes(8))
        load_prog(
            world,
            loads_map(Pseudo.MAP_FD, fd),
            fd_array=b"abcd" if spare else 0,
            func_info=0 if spare else b"something",
        )
        return world.kernel.records[-3:]

    assert script(Simulated(), spare=0) == script(Simulated(), spare=3)


def test_record_of_what_cannot_be_read() -> None:
    world = Simulated()
    fd = create(world)
    issue(world, Cmd.MAP_UPDATE_ELEM, MAP_ELEM, map_fd=fd, key=5, value=bytes(8))
    issue(world, Cmd.MAP_UPDATE_ELEM, MAP_ELEM, map_fd=NO_FD, key=u32(1), value=bytes(8))
    nowhere, unknown = world.kernel.records[1:]
    assert (nowhere.attr["key"], nowhere.result) == (Pointer("nowhere", 5), -Errno.EFAULT)
    assert unknown.attr["map_fd"] == FdRef("", 0, "", None, NO_FD)
    assert (unknown.attr["key"], unknown.result) == (Pointer("user memory", 0), -Errno.EBADF)
    assert unknown.failed
