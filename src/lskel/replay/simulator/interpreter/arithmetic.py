"""The arithmetic of instructions, as pure functions of numbers.

Operands are unsigned, 0 to 2**bits - 1. Results may be any number: only their low bits count.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from lskel.bpf import insn as i

Binary = Callable[[int, int], int]
Condition = Callable[[int, int], bool]

# Offsets of divisions and of register moves (RFC 9669 section 4.1).
UNSIGNED, SIGNED = 0, 1
SIGN_EXTENSIONS = {64: (8, 16, 32), 32: (8, 16)}


def mask(bits: int) -> int:
    """The largest unsigned number of `bits` bits."""
    return (1 << bits) - 1


def signed(value: int, bits: int) -> int:
    """The low `bits` bits of a number in two's complement."""
    sign = 1 << bits - 1
    return (value & sign - 1) - (value & sign)


def swap(value: int, bits: int) -> int:
    """The low `bits` bits (a multiple of 8) with their bytes in the opposite order."""
    size = bits // 8
    return int.from_bytes((value & mask(bits)).to_bytes(size, "little"), "big")


def operations(bits: int) -> Mapping[int, Mapping[int, Binary]]:
    """The arithmetic of `bits` bits (32 or 64): by code, then by the instruction's offset.

    RFC 9669 section 4.1. Shifts take the count modulo `bits`; dividing by zero gives zero, and
    the remainder is then the dividend; signed divisions truncate towards zero.
    """
    count = bits - 1

    def divide_signed(a: int, b: int) -> int:
        a, b = signed(a, bits), signed(b, bits)
        quotient = _divide(abs(a), abs(b))
        return quotient if (a < 0) == (b < 0) else -quotient

    def modulo_signed(a: int, b: int) -> int:
        a, b = signed(a, bits), signed(b, bits)
        remainder = _modulo(abs(a), abs(b))
        return remainder if a >= 0 else -remainder

    return {
        i.ADD: {0: operator.add},
        i.SUB: {0: operator.sub},
        i.MUL: {0: operator.mul},
        i.OR: {0: operator.or_},
        i.AND: {0: operator.and_},
        i.XOR: {0: operator.xor},
        i.DIV: {UNSIGNED: _divide, SIGNED: divide_signed},
        i.MOD: {UNSIGNED: _modulo, SIGNED: modulo_signed},
        i.LSH: {0: lambda a, b: a << (b & count)},
        i.RSH: {0: lambda a, b: a >> (b & count)},
        i.ARSH: {0: lambda a, b: signed(a, bits) >> (b & count)},
        i.MOV: {0: _second} | {width: _extension(width) for width in SIGN_EXTENSIONS[bits]},
    }


def conditions(bits: int) -> Mapping[int, Condition]:
    """The comparisons of `bits` bits (32 or 64), by code. RFC 9669 section 4.3."""
    # Flipping the sign bits makes signed order the order of unsigned numbers.
    sign = 1 << bits - 1
    return {
        i.JEQ: operator.eq,
        i.JNE: operator.ne,
        i.JGT: operator.gt,
        i.JGE: operator.ge,
        i.JLT: operator.lt,
        i.JLE: operator.le,
        i.JSET: lambda a, b: a & b != 0,
        i.JSGT: lambda a, b: a ^ sign > b ^ sign,
        i.JSGE: lambda a, b: a ^ sign >= b ^ sign,
        i.JSLT: lambda a, b: a ^ sign < b ^ sign,
        i.JSLE: lambda a, b: a ^ sign <= b ^ sign,
    }


def _divide(a: int, b: int) -> int:
    return a // b if b else 0


def _modulo(a: int, b: int) -> int:
    return a % b if b else a


def _second(_: int, b: int) -> int:
    return b


def _extension(width: int) -> Binary:
    return lambda _, b: signed(b, width)
