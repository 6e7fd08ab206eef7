"""Instructions: the encoding of RFC 9669, reading, and patching of code.

Code is `bytes` in target byte order, eight bytes per slot; a wide instruction (`ld_imm64`) has two
slots. Indexes count slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.cursor import ByteOrder

SIZE = 8

# Instruction classes (RFC 9669 section 3.1).
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
# Sizes of loads and stores (section 5).
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
SIZE_CODE = {1: B, 2: H, 4: W, 8: DW}
# Modes (section 5).
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0
# Source bit (section 4).
K, X = 0x00, 0x08
# Arithmetic codes (section 4.1).
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH, END = range(0x00, 0xE0, 0x10)
# Jump codes (section 4.3).
JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, CALL, EXIT, JLT, JLE, JSLT, JSLE = range(0x00, 0xE0, 0x10)

OP_CALL = JMP | CALL
OP_EXIT = JMP | EXIT
OP_LD_IMM64 = LD | IMM | DW
# Not in RFC 9669: a jump to an address in a register (Linux 6.19).
OP_GOTOX = JMP | JA | X
# A jump that the kernel takes when a loop has run long enough (Linux 6.9).
OP_MAY_GOTO = JMP | 0xE0
# The offset of a move that casts between address spaces (Linux 6.9), and its immediates: from an
# arena (1) to the kernel (0), and back.
ADDR_SPACE_CAST = 1
TO_KERNEL, TO_ARENA = 1, 1 << 16


class Pseudo(IntEnum):
    """`src` of an ld_imm64: the meaning of its immediate (uapi/linux/bpf.h)."""

    IMM64 = 0
    MAP_FD = 1
    MAP_VALUE = 2
    BTF_ID = 3
    FUNC = 4
    MAP_IDX = 5
    MAP_IDX_VALUE = 6


class CallKind(IntEnum):
    """`src` of a call: the meaning of its immediate."""

    HELPER = 0
    SUBPROGRAM = 1
    KFUNC = 2


class Insn(NamedTuple):
    """One slot: opcode, registers, signed 16-bit offset, signed 32-bit immediate."""

    op: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0

    def encode(self, order: ByteOrder) -> bytes:
        """Eight bytes; ValueError (OverflowError) if a field is out of range."""
        regs = self.src << 4 | self.dst if order == "little" else self.dst << 4 | self.src
        return (
            bytes((self.op, regs))
            + self.off.to_bytes(2, order, signed=True)
            + self.imm.to_bytes(4, order, signed=True)
        )


def read(code: bytes | bytearray, index: int, order: ByteOrder) -> Insn:
    """The slot at `index`."""
    at = index * SIZE
    regs = code[at + 1]
    low, high = regs & 0x0F, regs >> 4
    dst, src = (low, high) if order == "little" else (high, low)
    return Insn(
        code[at],
        dst,
        src,
        int.from_bytes(code[at + 2 : at + 4], order, signed=True),
        int.from_bytes(code[at + 4 : at + 8], order, signed=True),
    )


def write(code: bytearray, index: int, insn: Insn, order: ByteOrder) -> None:
    """Replace the slot at `index`."""
    code[index * SIZE : (index + 1) * SIZE] = insn.encode(order)


def set_imm(code: bytearray, index: int, imm: int, order: ByteOrder) -> None:
    """Replace the immediate of the slot at `index`; taken modulo 2**32."""
    at = index * SIZE + 4
    code[at : at + 4] = (imm & 0xFFFFFFFF).to_bytes(4, order)


def count(code: bytes | bytearray) -> int:
    """Number of slots."""
    return len(code) // SIZE


def find(code: bytes | bytearray, op: int) -> Iterator[int]:
    """Indexes of the slots with this opcode, in order.

    The second slot of an ld_imm64 has opcode 0, so it does not match an instruction.
    """
    ops = bytes(code[0::SIZE])
    at = ops.find(op)
    while at >= 0:
        yield at
        at = ops.find(op, at + 1)


def is_wide(insn: Insn) -> bool:
    """Whether the instruction has two slots."""
    return insn.op == OP_LD_IMM64
