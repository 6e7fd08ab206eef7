"""Records in the forms that leave the program: JSON, and text for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lskel.errors import LskelError


def plain(value: Any) -> Any:
    """Named tuples as dicts, other tuples as lists, bytes as hexadecimal: what JSON takes."""
    if isinstance(value, tuple):
        if hasattr(value, "_asdict"):
            return {name: plain(part) for name, part in value._asdict().items()}
        return [plain(part) for part in value]
    return value.hex() if isinstance(value, bytes) else value


def readable(describe: Callable[[], str]) -> str:
    """What `describe` gives; where the input is broken, what is wrong, in angle brackets."""
    try:
        return describe()
    except LskelError as error:
        return f"<{error.what}>"
