"""What an integer type of C takes, and how it is said that a value does not fit."""

from __future__ import annotations

from lskel.errors import OutOfRange, WrongType


def integer_refusal(name: str, value: object, bits: int, *, signed: bool) -> OutOfRange | WrongType:
    """Why `value` is not an integer of so many bits."""
    if not isinstance(value, int):
        return WrongType(f"{name} is an integer, not {type(value).__name__}")
    low = -(1 << bits - 1) if signed else 0
    return OutOfRange(f"{name} goes from {low} to {low + (1 << bits) - 1}: {value} does not fit")


def bool_refusal(value: object) -> OutOfRange | WrongType:
    """Why `value` is not a bool of C."""
    if not isinstance(value, int):
        return WrongType(f"bool is True or False, not {type(value).__name__}")
    return OutOfRange(f"bool is True or False, not {value}")
