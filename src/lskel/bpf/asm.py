"""A small assembler: methods emit instructions, `assemble` resolves labels."""

from __future__ import annotations

from lskel.bpf import insn as i
from lskel.bpf.helpers import HELPER_IDS
from lskel.bpf.insn import Insn, Pseudo
from lskel.cursor import ByteOrder
from lskel.errors import LimitExceeded

# Jump offsets are signed 16-bit numbers of slots (RFC 9669 section 3.2).
MAX_JUMP = 0x7FFF


class Assembler:
    """Emits code in order; `assemble` returns the bytes.

    Registers are numbers 0 to 10. Sizes are in bytes (1, 2, 4, 8).
    """

    def __init__(self, order: ByteOrder) -> None:
        self.order: ByteOrder = order
        self._insns: list[Insn] = []
        self._jumps: list[tuple[int, str]] = []
        self._functions: list[tuple[int, str]] = []
        self._labels: dict[str, int] = {}

    def __len__(self) -> int:
        """Slots emitted so far."""
        return len(self._insns)

    def emit(self, insn: Insn) -> None:
        """Append one slot."""
        self._insns.append(insn)

    def label(self, name: str) -> None:
        """Define a label for the next instruction."""
        if name in self._labels:
            raise ValueError(f"label {name} is set twice")
        self._labels[name] = len(self._insns)

    def is_wanted(self, label: str) -> bool:
        """Whether something emitted so far jumps to `label`."""
        return any(name == label for _, name in self._jumps)

    def mov(self, dst: int, src: int) -> None:
        """dst = src, 64 bits."""
        self.emit(Insn(i.ALU64 | i.MOV | i.X, dst, src))

    def mov_imm(self, dst: int, imm: int) -> None:
        """dst = imm, sign-extended from 32 bits."""
        self.emit(Insn(i.ALU64 | i.MOV | i.K, dst, imm=imm))

    def alu_imm(self, code: int, dst: int, imm: int) -> None:
        """dst = dst `code` imm, 64 bits."""
        self.emit(Insn(i.ALU64 | code | i.K, dst, imm=imm))

    def alu_reg(self, code: int, dst: int, src: int) -> None:
        """dst = dst `code` src, 64 bits."""
        self.emit(Insn(i.ALU64 | code | i.X, dst, src))

    def load(self, size: int, dst: int, base: int, off: int) -> None:
        """dst = *(u<size>*)(base + off)."""
        self.emit(Insn(i.LDX | i.MEM | i.SIZE_CODE[size], dst, base, off))

    def store(self, size: int, base: int, off: int, src: int) -> None:
        """*(u<size>*)(base + off) = src."""
        self.emit(Insn(i.STX | i.MEM | i.SIZE_CODE[size], base, src, off))

    def store_imm(self, size: int, base: int, off: int, imm: int) -> None:
        """*(u<size>*)(base + off) = imm."""
        self.emit(Insn(i.ST | i.MEM | i.SIZE_CODE[size], base, 0, off, imm))

    def map_value(self, dst: int, index: int, offset: int) -> None:
        """dst = address of the value of fd_array[index], plus `offset`."""
        self.emit(Insn(i.OP_LD_IMM64, dst, Pseudo.MAP_IDX_VALUE, imm=index))
        self.emit(Insn(0, imm=offset))

    def function(self, dst: int, label: str) -> None:
        """dst = address of the function that begins at `label`, for helpers that call it."""
        self._functions.append((len(self._insns), label))
        self.emit(Insn(i.OP_LD_IMM64, dst, Pseudo.FUNC))
        self.emit(Insn(0))

    def call(self, helper: str) -> None:
        """r0 = helper(r1..r5)."""
        self.emit(Insn(i.OP_CALL, imm=HELPER_IDS[helper]))

    def exit(self) -> None:
        """Return r0."""
        self.emit(Insn(i.OP_EXIT))

    def jump(self, to: str) -> None:
        """goto `to`."""
        self._jumps.append((len(self._insns), to))
        self.emit(Insn(i.JMP | i.JA))

    def jump_if(self, code: int, reg: int, imm: int, to: str, *, bits: int = 64) -> None:
        """if (reg `code` imm) goto `to`; compares 64 or the low 32 bits."""
        self._jumps.append((len(self._insns), to))
        self.emit(Insn((i.JMP if bits == 64 else i.JMP32) | code | i.K, reg, imm=imm))

    def assemble(self) -> bytes:
        """The code; LimitExceeded if a jump does not fit into 16 bits."""
        insns = list(self._insns)
        for at, name in self._jumps:
            distance = self._labels[name] - at - 1
            if abs(distance) > MAX_JUMP:
                raise LimitExceeded(
                    f"the loader needs a jump over {abs(distance)} instructions, a BPF jump spans "
                    f"at most {MAX_JUMP}",
                    limit=MAX_JUMP,
                    actual=abs(distance),
                )
            insns[at] = insns[at]._replace(off=distance)
        for at, name in self._functions:
            insns[at] = insns[at]._replace(imm=self._labels[name] - at - 1)
        return b"".join(insn.encode(self.order) for insn in insns)
