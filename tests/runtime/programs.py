"""Maps, and small programs put together without a compiler, for tests on the running kernel."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.bpf.attr import load
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.insn import Insn, Pseudo
from lskel.bpf.layouts import ITER_CREATE, MAP_CREATE, PROG_LOAD, TEST
from lskel.btf.btf import Btf
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError, address_of, bpf, host_attr

LICENSE = b"GPL\0"
F_CURRENT_CPU = 0xFFFFFFFF
F_TEST_RUN_ON_CPU = 1
_LOG_SIZE = 1 << 16


def create_map(
    map_type: MapType,
    key_size: int,
    value_size: int,
    max_entries: int,
    *,
    flags: int = 0,
    name: bytes = b"lskel_test",
) -> Fd:
    """A new map."""
    attr = host_attr(
        MAP_CREATE,
        "map_name",
        map_type=map_type,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        map_flags=flags,
        map_name=name,
    )
    return Fd(bpf(Cmd.MAP_CREATE, attr))


def load_program(
    prog_type: ProgType,
    code: bytes,
    *,
    attach_type: int = 0,
    attach_btf_id: int = 0,
    flags: int = 0,
    name: bytes = b"lskel_test",
) -> Fd:
    """A new program; the verifier's log is the hint of the error."""
    log = bytearray(_LOG_SIZE)
    attr = host_attr(
        PROG_LOAD,
        "attach_btf_id",
        prog_type=prog_type,
        insn_cnt=len(code) // i.SIZE,
        insns=address_of(code),
        license=address_of(LICENSE),
        log_level=1,
        log_size=len(log),
        log_buf=address_of(log),
        prog_flags=flags,
        prog_name=name,
        expected_attach_type=attach_type,
        attach_btf_id=attach_btf_id,
    )
    try:
        return Fd(bpf(Cmd.PROG_LOAD, attr))
    except BpfError as error:
        error.hint = log.partition(b"\0")[0].decode()
        raise


def run_program(
    prog: Fd, context: bytes = b"", *, packet: bytes = b"", cpu: int | None = None
) -> int:
    """Run a program once by BPF_PROG_RUN; what it returned."""
    attr = host_attr(
        TEST,
        "cpu",
        prog_fd=prog.fileno(),
        data_in=address_of(packet),
        data_size_in=len(packet),
        ctx_in=address_of(context),
        ctx_size_in=len(context),
        flags=0 if cpu is None else F_TEST_RUN_ON_CPU,
        cpu=cpu or 0,
    )
    bpf(Cmd.PROG_RUN, attr)
    return load(attr, TEST, "retval", sys.byteorder)


def create_iterator(link: Fd) -> Fd:
    """What the iterator's programs write, to be read."""
    return Fd(bpf(Cmd.ITER_CREATE, host_attr(ITER_CREATE, "flags", link_fd=link.fileno())))


@cache
def kernel_btf() -> Btf:
    """The types of the running kernel."""
    return Btf(Path("/sys/kernel/btf/vmlinux").read_bytes())


def load_map(asm: Assembler, dst: int, map_fd: int) -> None:
    """dst = the map."""
    asm.emit(Insn(i.OP_LD_IMM64, dst, Pseudo.MAP_FD, imm=map_fd))
    asm.emit(Insn(0))


def returns(value: int) -> bytes:
    """A program that does nothing and returns `value`."""
    asm = Assembler(sys.byteorder)
    asm.mov_imm(0, value)
    asm.exit()
    return asm.assemble()


def counts_in(array_fd: int) -> bytes:
    """A program that adds 1 to element 0, a u64, of an array map, and returns 0."""
    asm = Assembler(sys.byteorder)
    asm.store_imm(4, 10, -4, 0)
    asm.mov(2, 10)
    asm.alu_imm(i.ADD, 2, -4)
    load_map(asm, 1, array_fd)
    asm.call("map_lookup_elem")
    asm.jump_if(i.JEQ, 0, 0, "out")
    asm.mov_imm(1, 1)
    asm.emit(Insn(i.STX | i.ATOMIC | i.DW, 0, 1, imm=i.ADD))
    asm.label("out")
    asm.mov_imm(0, 0)
    asm.exit()
    return asm.assemble()


def outputs_to_ring(ring_fd: int, size: int) -> bytes:
    """A raw_tp program that writes its first argument, repeated to `size` bytes, to a ring."""
    asm, start = _fill_stack(size)
    load_map(asm, 1, ring_fd)
    asm.mov(2, 10)
    asm.alu_imm(i.ADD, 2, start)
    asm.mov_imm(3, size)
    asm.mov_imm(4, 0)
    asm.call("ringbuf_output")
    asm.exit()
    return asm.assemble()


def discards_in_ring(ring_fd: int, size: int) -> bytes:
    """A raw_tp program that reserves `size` bytes in a ring and discards them."""
    asm = Assembler(sys.byteorder)
    load_map(asm, 1, ring_fd)
    asm.mov_imm(2, size)
    asm.mov_imm(3, 0)
    asm.call("ringbuf_reserve")
    asm.jump_if(i.JEQ, 0, 0, "out")
    asm.mov(1, 0)
    asm.mov_imm(2, 0)
    asm.call("ringbuf_discard")
    asm.label("out")
    asm.mov_imm(0, 0)
    asm.exit()
    return asm.assemble()


def outputs_to_perf(array_fd: int, size: int) -> bytes:
    """A raw_tp program that writes its first argument, repeated to `size` bytes, to its CPU."""
    asm, start = _fill_stack(size)
    asm.mov(1, 6)
    load_map(asm, 2, array_fd)
    asm.emit(Insn(i.ALU | i.MOV | i.K, 3, imm=-1))  # BPF_F_CURRENT_CPU, in 32 bits
    asm.mov(4, 10)
    asm.alu_imm(i.ADD, 4, start)
    asm.mov_imm(5, size)
    asm.call("perf_event_output")
    asm.exit()
    return asm.assemble()


def writes_to_iterator() -> bytes:
    """An iterator program that writes "x" for each object."""
    asm = Assembler(sys.byteorder)
    asm.store_imm(1, 10, -1, ord("x"))
    asm.load(8, 1, 1, 0)  # ctx->meta
    asm.load(8, 1, 1, 0)  # meta->seq
    asm.mov(2, 10)
    asm.alu_imm(i.ADD, 2, -1)
    asm.mov_imm(3, 1)
    asm.call("seq_write")
    asm.mov_imm(0, 0)
    asm.exit()
    return asm.assemble()


def _fill_stack(size: int) -> tuple[Assembler, int]:
    """r6 = ctx; the stack from the offset given back is full of the context's first u64."""
    asm = Assembler(sys.byteorder)
    asm.mov(6, 1)
    asm.load(8, 7, 1, 0)
    start = -(size + 7 & ~7)
    for offset in range(start, 0, 8):
        asm.store(8, 10, offset, 7)
    return asm, start


def trigger_syscalls(count: int) -> None:
    """Enter the kernel by getppid(2), which nothing caches."""
    for _ in range(count):
        os.getppid()
