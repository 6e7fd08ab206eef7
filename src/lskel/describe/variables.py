"""Global variables in the maps of data sections."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.c import type_name
from lskel.btf.types import TypeId
from lskel.describe.btf_cache import once
from lskel.errors import LskelError


class GlobalVariable(NamedTuple):
    """A variable of a data section: its C type; offset and size in bytes."""

    name: str
    type: str
    offset: int
    size: int


@once
def type_words(btf: Btf, type_id: TypeId) -> str:
    """The result of `type_name`, truncated."""
    text = type_name(btf, type_id)
    return text if len(text) <= budget.SHOWN_TYPE else f"{text[: budget.SHOWN_TYPE]}..."


def variables(btf: Btf | None, type_id: TypeId) -> tuple[GlobalVariable, ...]:
    """The variables of a DATASEC by offset; empty if the type is not a DATASEC or is broken."""
    return () if btf is None else _variables(btf, type_id)


@once
def _variables(btf: Btf, type_id: TypeId) -> tuple[GlobalVariable, ...]:
    try:
        found = btf[type_id]
        if not isinstance(found, t.Datasec):
            return ()
        listed = []
        for info in found.vars:
            var = btf[info.type]
            shown = var.type if isinstance(var, t.Var) else info.type
            listed.append(GlobalVariable(var.name, type_words(btf, shown), info.offset, info.size))
    except LskelError:
        return ()
    return tuple(sorted(listed, key=lambda variable: variable.offset))


def variable_at(listed: tuple[GlobalVariable, ...], offset: int) -> str:
    """The variable at `offset`: ``name``, ``name+4``; empty if none."""
    index = bisect_right(listed, offset, key=lambda variable: variable.offset) - 1
    if index < 0:
        return ""
    variable = listed[index]
    inside = offset - variable.offset
    if inside and inside >= variable.size:
        return ""
    return f"{variable.name}{inside:+d}" if inside else variable.name
