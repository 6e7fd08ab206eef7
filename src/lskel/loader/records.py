"""Records: the small steps of which loaders are made, one after the other.

In the blob of a table loader each has 16 bytes, in the target's byte order:

    u8 code, u8 arg, u16 size, u32 a, u32 b, u32 c

`a` and `b` are offsets in the blob, always; `size` is that of what lies at `a` less one, in its
lower 12 bits. docs/loader.md has this table too.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.cursor import ByteOrder

SIZE = 16
CODE, ARG, LENGTH, A, B, C = 0, 1, 2, 4, 8, 12
# Sizes are at most so large, and are kept less one.
MAX_LENGTH = 1 << 12
# In `size`: the record may fail.
MAY_FAIL = 1 << 15


class Code(IntEnum):
    """What a record does. `[x]` is the 32-bit number at blob + x."""

    COPY = 0  # [a] = [b]
    COPY_SET = 1  # if [b]: [a] = [b]
    ZERO = 2  # [a] = 0
    SET_IF = 3  # if [b]: [a] = c
    SKIP_IF = 4  # if [b] is as Condition arg says: skip c records
    CALL = 5  # [b] = bpf(arg, a, size), then skip c records; go on after a failure that may be
    FIND = 6  # [c] = id of the BTF type of kind arg named at a, [b] = fd of its module's BTF
    KSYM = 7  # 64 bits at b = address of the kernel symbol named at a
    CLOSE = 8  # close [b] if it is not 0; [b] = 0
    KFUNC = 9  # the call at a gets the immediate [b] and the offset [b + 4]
    PLAIN = 10  # if not [b]: the registers of the instruction at a are arg
    VALUE = 11  # copy size bytes to a, from the address at b (64 bits) + c


class Condition(IntEnum):
    """What SKIP_IF asks of a number."""

    NOT_ZERO = 0
    NEGATIVE = 1
    NOT_POSITIVE = 2
    ZERO = 3


# The jump that is taken where a condition holds.
JUMPS = {
    Condition.NOT_ZERO: i.JNE,
    Condition.NEGATIVE: i.JSLT,
    Condition.NOT_POSITIVE: i.JSLE,
    Condition.ZERO: i.JEQ,
}


class Record(NamedTuple):
    """A record; `size` is the length itself, 0 for none."""

    code: Code
    arg: int = 0
    size: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    may_fail: bool = False

    def encode(self, order: ByteOrder) -> bytes:
        """Its 16 bytes."""
        size = (self.size - 1 if self.size else 0) | (MAY_FAIL if self.may_fail else 0)
        return (
            bytes((self.code, self.arg))
            + size.to_bytes(2, order)
            + b"".join(number.to_bytes(4, order) for number in (self.a, self.b, self.c))
        )
