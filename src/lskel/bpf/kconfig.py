"""Kconfig values as an object declares them (``__kconfig``)."""

from __future__ import annotations

from enum import Enum

from lskel.light_typing import NamedTuple


class KconfigType(Enum):
    """The C type of a value: `TRISTATE` is enum libbpf_tristate, `STRING` an array of char."""

    BOOL = "bool"
    CHAR = "char"
    INT = "int"
    TRISTATE = "tristate"
    STRING = "string"


class KconfigVar(NamedTuple):
    """A value, `size` bytes at `offset` of the map .kconfig. A weak one may be missing."""

    name: str
    type: KconfigType
    size: int
    is_signed: bool
    offset: int
    is_weak: bool
