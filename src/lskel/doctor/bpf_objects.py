"""Minimal maps, programs and BTF for bpf(2), released when their fds are closed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.bpf.attr import load
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.layouts import BTF_LOAD, MAP_CREATE, PROG_LOAD, TEST
from lskel.btf.build import BtfBuilder
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import address_of, bpf, host_attr

NAME = b"lskel_doctor"

_LICENSE = b"GPL\0"
_WORD = 4
_FUNC_INFO_SIZE = 8
_CORE_RELO_SIZE = 16


def create_map(
    map_type: MapType, key_size: int, value_size: int, max_entries: int, **fields: int
) -> Fd:
    """BPF_MAP_CREATE; `fields` are further attr fields. BpfError if the kernel refuses."""
    last = max(("map_name", *fields), key=lambda name: sum(MAP_CREATE[name]))
    attr = host_attr(
        MAP_CREATE,
        last,
        map_type=map_type,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        map_name=NAME,
        **fields,
    )
    return Fd(bpf(Cmd.MAP_CREATE, attr))


def array() -> Fd:
    """An array map with one u32."""
    return create_map(MapType.ARRAY, 4, 4, 1)


def load_program(prog_type: ProgType, code: bytes, **fields: int) -> Fd:
    """BPF_PROG_LOAD; `fields` are further attr fields. BpfError if the kernel refuses."""
    last = max(("prog_name", *fields), key=lambda name: sum(PROG_LOAD[name]))
    attr = host_attr(
        PROG_LOAD,
        last,
        prog_type=prog_type,
        insn_cnt=i.count(code),
        insns=address_of(code),
        license=address_of(_LICENSE),
        prog_name=NAME,
        **fields,
    )
    return Fd(bpf(Cmd.PROG_LOAD, attr))


def btf_builder() -> BtfBuilder:
    """A BTF builder in this machine's byte order."""
    return BtfBuilder(sys.byteorder)


def load_btf(types: BtfBuilder) -> Fd:
    """BPF_BTF_LOAD; BpfError if the kernel refuses."""
    raw = types.raw()
    attr = host_attr(BTF_LOAD, "btf_log_level", btf=address_of(raw), btf_size=len(raw))
    return Fd(bpf(Cmd.BTF_LOAD, attr))


def load_described(
    prog_type: ProgType,
    code: bytes,
    types: BtfBuilder,
    functions: Sequence[tuple[int, int]],
    core_relos: bytes = b"",
    *,
    flags: int = 0,
    attach_prog_fd: int = 0,
    attach_btf_id: int = 0,
) -> Fd:
    """Load a program with BTF; `functions`: the first instruction and the BTF id of each."""
    info = b"".join(_word(start) + _word(type_id) for start, type_id in functions)
    described = {
        "func_info": address_of(info),
        "func_info_cnt": len(functions),
        "func_info_rec_size": _FUNC_INFO_SIZE,
    }
    if core_relos:
        described |= {
            "core_relos": address_of(core_relos),
            "core_relo_cnt": len(core_relos) // _CORE_RELO_SIZE,
            "core_relo_rec_size": _CORE_RELO_SIZE,
        }
    with load_btf(types) as btf:
        return load_program(
            prog_type,
            code,
            prog_btf_fd=btf.fileno(),
            prog_flags=flags,
            attach_prog_fd=attach_prog_fd,
            attach_btf_id=attach_btf_id,
            **described,
        )


def run_program(program: Fd) -> int:
    """BPF_PROG_RUN of a SYSCALL program without a context; its result, signed."""
    attr = host_attr(TEST, "ctx_out", prog_fd=program.fileno())
    bpf(Cmd.PROG_RUN, attr)
    value = load(attr, TEST, "retval", sys.byteorder)
    return value - (1 << 32) if value >> 31 else value


def assembler() -> Assembler:
    """An assembler in this machine's byte order."""
    return Assembler(sys.byteorder)


def returns(value: int) -> bytes:
    """A program that returns a constant."""
    asm = assembler()
    asm.mov_imm(0, value)
    asm.exit()
    return asm.assemble()


def _word(value: int) -> bytes:
    return value.to_bytes(_WORD, sys.byteorder)
