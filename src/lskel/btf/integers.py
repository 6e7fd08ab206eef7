"""Ranges of C integer types, and errors for values that do not fit."""

from __future__ import annotations

from lskel.errors import OutOfRange, WrongType


def integer_refusal(name: str, value: object, bits: int, *, signed: bool) -> OutOfRange | WrongType:
    """Why `value` is not an integer of `bits` bits."""
    if not isinstance(value, int):
        return WrongType(f"{name}: expected an integer, got {type(value).__name__}")
    low = -(1 << bits - 1) if signed else 0
    return OutOfRange(f"{name}: {value} is not in {low} to {low + (1 << bits) - 1}")


def bool_refusal(value: object) -> OutOfRange | WrongType:
    """Why `value` is not a C bool."""
    if not isinstance(value, int):
        return WrongType(f"bool: expected True or False, got {type(value).__name__}")
    return OutOfRange(f"bool: expected True or False, got {value}")
