"""Instructions take the values of relocations, or are made invalid."""

from __future__ import annotations

from lskel.bpf import insn as i
from lskel.bpf.poison import FAILED_RELOCATION
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.core_relo.values import CoreValue
from lskel.cursor import ByteOrder
from lskel.errors import BadObject

# The helper that does not exist; messages of the verifier and of libbpf name it ("bad relo").
POISON = i.Insn(i.OP_CALL, imm=FAILED_RELOCATION)
_MAX_OFFSET = 0x7FFF
_SIZE_BITS = 0x18
_SIZE_OF = {code: size for size, code in i.SIZE_CODE.items()}


class CorePatcher:
    """Puts values into the instructions of `code`, in target byte order, in place."""

    def __init__(self, code: bytearray, order: ByteOrder) -> None:
        self.code = code
        self._order = order

    def patch(self, index: int, before: CoreValue, after: CoreValue, can_resize: bool) -> bool:
        """Replace `before` by `after` in the instruction at `index`.

        A load or store of a field whose size differs takes the other size if `can_resize`. If not,
        it is poisoned, and the result False. BadObject if the instruction does not have the value,
        or cannot take one.
        """
        if not 0 <= index < i.count(self.code):
            raise BadObject(f"instruction {index} does not exist")
        insn = i.read(self.code, index, self._order)
        family = insn.op & 0x07
        if family in (i.ALU, i.ALU64) and not insn.op & i.X:
            _expect(insn.imm, before)
            i.set_imm(self.code, index, after.number, self._order)
            return True
        if family in (i.LDX, i.ST, i.STX):
            return self._memory(index, insn, before, after, can_resize)
        if insn.op == i.OP_LD_IMM64 and index + 1 < i.count(self.code):
            second = i.read(self.code, index + 1, self._order)
            if insn.src == insn.off == 0 and second[:-1] == (0, 0, 0, 0):
                _expect(second.imm << 32 | insn.imm & 0xFFFFFFFF, before)
                i.set_imm(self.code, index, after.number, self._order)
                i.set_imm(self.code, index + 1, after.number >> 32, self._order)
                return True
        raise BadObject(f"opcode {insn.op:#04x} has no place for the value of a CO-RE relocation")

    def poison(self, index: int) -> None:
        """Make the instruction invalid: the verifier refuses it if it can be reached."""
        count = i.count(self.code)
        if not 0 <= index < count:
            raise BadObject(f"instruction {index} does not exist")
        if i.read(self.code, index, self._order).op == i.OP_LD_IMM64 and index + 1 < count:
            i.write(self.code, index + 1, POISON, self._order)
        i.write(self.code, index, POISON, self._order)

    def _memory(
        self, index: int, insn: i.Insn, before: CoreValue, after: CoreValue, can_resize: bool
    ) -> bool:
        _expect(insn.off, before)
        if after.number > _MAX_OFFSET:
            raise BadObject(f"offset {after.number} does not fit the instruction")
        op = insn.op
        if before.size != after.size:
            if not can_resize:
                self.poison(index)
                return False
            if _SIZE_OF[op & _SIZE_BITS] != before.size or after.size not in i.SIZE_CODE:
                raise BadObject(
                    f"access of {_SIZE_OF[op & _SIZE_BITS]} bytes: the field has {before.size} "
                    f"bytes, in the kernel {after.size}"
                )
            op = op & ~_SIZE_BITS | i.SIZE_CODE[after.size]
        i.write(self.code, index, insn._replace(op=op, off=after.number), self._order)
        return True


def _expect(number: int, before: CoreValue) -> None:
    if before.is_exact and number & 0xFFFFFFFFFFFFFFFF != before.number:
        raise BadObject(f"the instruction has {number}, its CO-RE relocation {before.number}")


def can_resize(local: Btf, before: CoreValue, btf: Btf, after: CoreValue) -> bool:
    """Whether a load of a field of another size reads the same value: pointers, unsigned ints."""
    one, other = local[before.type], btf[after.type]
    if isinstance(one, t.Ptr) and isinstance(other, t.Ptr):
        return True
    return (
        isinstance(one, t.Int)
        and isinstance(other, t.Int)
        and t.IntEncoding.SIGNED not in (one.encoding, other.encoding)
    )
