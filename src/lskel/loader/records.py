"""Records: the small steps of which loaders are made, one after the other.

In the blob of a table loader each has 16 bytes, in the target's byte order:

    u8 code, u8 arg, u16 size, u32 a, u32 b, u32 c

`a` and `b` are offsets in the blob, always; `size` is that of what lies at `a` less one.
docs/loader.md has this table too.

There are few of them, and none but SKIP_IF decides anything: each condition in the program that
walks them costs the kernel's verifier more than all records cost that program.
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
# As c of a CALL: it may fail. No errno is larger.
ANY_ERRNO = 4095


class Code(IntEnum):
    """What a record does. `[x]` is the 32-bit number at blob + x."""

    COPY = 0  # [a] = [b]
    SET = 1  # [a] = c
    POINT = 2  # 64 bits at a = address of b
    SKIP_IF = 3  # if [b] is as Condition arg says: skip c records
    CALL = 4  # [b] = bpf(arg, a, size); errnos up to c are no failure
    CLOSE = 5  # close [b]; [b] = 0
    VALUE = 6  # copy size bytes to a, from the address at b (64 bits) + c
    FIND = 7  # 64 bits at b = id and module's fd of the BTF type of kind arg named at a
    KSYM = 8  # 64 bits at b = address of the kernel symbol named at a


class Condition(IntEnum):
    """What SKIP_IF asks of a number: bit 0 if it may be 0, bit 1 negative, bit 2 positive."""

    ZERO = 1
    NEGATIVE = 2
    NOT_POSITIVE = 3
    NOT_NEGATIVE = 5
    NOT_ZERO = 6


# The jump that is taken where a condition holds.
JUMPS = {
    Condition.ZERO: i.JEQ,
    Condition.NEGATIVE: i.JSLT,
    Condition.NOT_POSITIVE: i.JSLE,
    Condition.NOT_NEGATIVE: i.JSGE,
    Condition.NOT_ZERO: i.JNE,
}


class Record(NamedTuple):
    """A record; `size` is the length itself, 0 for none.

    In FIND and KSYM `c` is the errno that is no failure and finds 0; 0 for none.
    """

    code: Code
    arg: int = 0
    size: int = 0
    a: int = 0
    b: int = 0
    c: int = 0

    def encode(self, order: ByteOrder) -> bytes:
        """Its 16 bytes."""
        numbers = (self.a, self.b, self.c)
        return (
            bytes((self.code, self.arg))
            + max(self.size - 1, 0).to_bytes(2, order)
            + b"".join(number.to_bytes(4, order) for number in numbers)
        )
