"""Conversion of named tuples to JSON values, and of errors to text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lskel.errors import LskelError


def jsonable(value: Any) -> Any:
    """A value for JSON: named tuples as dicts, other tuples as lists, bytes as hexadecimal."""
    if isinstance(value, tuple):
        if hasattr(value, "_asdict"):
            return {name: jsonable(part) for name, part in value._asdict().items()}
        return [jsonable(part) for part in value]
    return value.hex() if isinstance(value, bytes) else value


def text_or_error(describe: Callable[[], str]) -> str:
    """The result of `describe`; for broken input, the error in angle brackets."""
    try:
        return describe()
    except LskelError as error:
        return f"<{error.what}>"
