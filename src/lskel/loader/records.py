"""Records: the elementary steps of loaders, executed in sequence.

In the blob of a table loader each has 16 bytes, in target byte order:

    u8 code, u8 arg, u16 size, u32 a, u32 b, u32 c

`a` and `b` are always offsets in the blob; `size` is the length of the data at `a`, minus one.
docs/loader.md has this table too.

There are few codes, and only SKIP_IF is conditional: each condition in the walker costs more
verification time than all records cost at run time.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.cursor import ByteOrder

SIZE = 16
CODE, ARG, LENGTH, A, B, C = 0, 1, 2, 4, 8, 12
# The maximum size; sizes are stored minus one.
MAX_LENGTH = 1 << 12
# As c of a CALL: it may fail. The maximum errno.
ANY_ERRNO = 4095


class Code(IntEnum):
    """What a record does. `[x]` is the 32-bit number at blob + x."""

    COPY = 0  # [a] = [b]
    SET = 1  # [a] = c
    POINT = 2  # 64 bits at a = address of b
    SKIP_IF = 3  # if [b] satisfies Condition arg: skip c records
    CALL = 4  # [b] = bpf(arg, a, size); errnos up to c are not a failure
    CLOSE = 5  # close [b]; [b] = 0
    VALUE = 6  # copy size bytes to a, from the address at b (64 bits) + c
    FIND = 7  # 64 bits at b = id and module's fd of the BTF type of kind arg named at a
    KSYM = 8  # 64 bits at b = address of the kernel symbol named at a


class Condition(IntEnum):
    """Condition of SKIP_IF on a number: bit 0 if it may be 0, bit 1 negative, bit 2 positive."""

    ZERO = 1
    NEGATIVE = 2
    NOT_POSITIVE = 3
    NOT_NEGATIVE = 5
    NOT_ZERO = 6


# The jump that is taken if a condition holds.
JUMPS = {
    Condition.ZERO: i.JEQ,
    Condition.NEGATIVE: i.JSLT,
    Condition.NOT_POSITIVE: i.JSLE,
    Condition.NOT_NEGATIVE: i.JSGE,
    Condition.NOT_ZERO: i.JNE,
}


class Record(NamedTuple):
    """A record; `size` is the length itself (not minus one), 0 for none.

    In FIND and KSYM `c` is the errno that is not a failure but results in 0; 0 for none.
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
