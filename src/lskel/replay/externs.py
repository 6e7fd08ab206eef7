"""Patching kernel ids, addresses and fds into a program's instructions, in user space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lskel.bpf import insn as i
from lskel.bpf.insn import Pseudo
from lskel.cursor import ByteOrder
from lskel.trace import KsymFind, MapCreate, Op, ProgLoad, Trace


class FdArrayBuilder:
    """The fd_array of a program: the fds of maps, then those of module BTFs as needed."""

    def __init__(self, maps: list[int]) -> None:
        # Offset 0 in a call means vmlinux, so slot 0 is never a module's.
        self.fds = maps or [0]

    def index(self, fd: int) -> int:
        """The slot of a module BTF's fd; 0 for vmlinux, which needs none."""
        if not fd:
            return 0
        if fd not in self.fds:
            self.fds.append(fd)
        return self.fds.index(fd)

    def content(self, order: ByteOrder) -> bytes:
        """The array's bytes."""
        return b"".join(fd.to_bytes(4, order) for fd in self.fds)


def resolve(
    trace: Trace,
    op: ProgLoad,
    found: Mapping[int, int],
    fds: Mapping[int, int],
    slots: FdArrayBuilder,
) -> ProgLoad:
    """The operation with its externs resolved; `found` and `fds` are by the find operation."""
    code = bytearray(op.insns)
    for extern in op.externs:
        number = extern.find.op
        insn = i.read(code, extern.insn, trace.order)
        if extern.is_call:
            new = insn._replace(imm=found[number], off=slots.index(fds.get(number, 0)))
            i.write(code, extern.insn, new, trace.order)
            continue
        find: Op = trace.ops[number]
        if isinstance(find, MapCreate):
            i.set_imm(code, extern.insn, fds.get(number, 0), trace.order)
            continue
        if isinstance(find, KsymFind):
            low, high = found[number] & 0xFFFFFFFF, found[number] >> 32
        else:
            low, high = found[number], fds.get(number, 0)
            if not low:
                # Then the verifier treats it as a constant 0.
                i.write(code, extern.insn, insn._replace(src=Pseudo.IMM64), trace.order)
        i.set_imm(code, extern.insn, low, trace.order)
        i.set_imm(code, extern.insn + 1, high, trace.order)
    return replace(op, insns=bytes(code), externs=())
