"""Numbering of kfuncs: each kfunc of a program has a slot in fd_array for its module's BTF."""

from __future__ import annotations

from lskel.trace import ProgLoad, Trace


def number_kfuncs(trace: Trace) -> dict[int, int]:
    """A number for each operation that finds a kfunc: 0, 1, ... per program."""
    numbered: dict[int, int] = {}
    for op in trace.ops:
        if isinstance(op, ProgLoad):
            used = dict.fromkeys(extern.find.op for extern in op.externs if extern.is_call)
            numbered.update((find, number) for number, find in enumerate(used))
    return numbered
