"""The hash by which the kernel knows a program: that of exclusive maps."""

from __future__ import annotations

import hashlib

from lskel.bpf import insn as i
from lskel.bpf.insn import Pseudo
from lskel.cursor import ByteOrder

DIGEST_SIZE = 32
_BY_FD = (Pseudo.MAP_FD, Pseudo.MAP_VALUE)


def program_digest(insns: bytes, order: ByteOrder) -> bytes:
    """The SHA-256 of a program's code as it is passed to PROG_LOAD, without CO-RE relocations.

    Fds of maps, and offsets in their values, count as 0; indexes in fd_array do not (kernel/bpf/
    core.c, bpf_prog_calc_tag, Linux 6.18).
    """
    code = bytearray(insns)
    last = i.count(code) - 1
    for at in i.find(code, i.OP_LD_IMM64):
        if i.read(code, at, order).src in _BY_FD:
            i.set_imm(code, at, 0, order)
            if at < last:
                i.set_imm(code, at + 1, 0, order)
    return hashlib.sha256(code).digest()
