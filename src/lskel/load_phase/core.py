"""CO-RE relocations of a trace, for one kernel: loading it needs no CO-RE in the kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from lskel.btf.btf import Btf
from lskel.btf.ext import Records
from lskel.core_relo.candidates import KernelTypes
from lskel.core_relo.records import read_relocations
from lskel.core_relo.relocate import CoreOutcome, CoreRelocator
from lskel.errors import at
from lskel.trace import BtfLoad, Op, ProgLoad, Trace


class RelocatedTrace(NamedTuple):
    """A trace without CO-RE relocations, and what became of those of each program, by slot."""

    trace: Trace
    outcomes: dict[int, tuple[CoreOutcome, ...]]


def relocate_trace(trace: Trace, kernel: KernelTypes) -> RelocatedTrace:
    """Relocate all programs for a kernel.

    Instructions of relocations that fail stay as they are; the caller decides by their outcomes.
    BadObject for damaged records.
    """
    relocators: dict[int, CoreRelocator] = {}
    outcomes: dict[int, tuple[CoreOutcome, ...]] = {}
    ops: list[Op] = list(trace.ops)
    for number, op in enumerate(ops):
        if not isinstance(op, ProgLoad) or not len(op.core_relos):
            continue
        assert op.btf is not None  # the load phase requires it
        load = ops[op.btf.op]
        assert isinstance(load, BtfLoad)
        with at(f"program '{op.name}'"):
            relocator = relocators.get(op.btf.op)
            if relocator is None:
                relocator = relocators[op.btf.op] = CoreRelocator(Btf(load.data), kernel)
            relocations = read_relocations(op.core_relos, relocator.btf, trace.order)
            code, outcomes[op.slot] = relocator.relocate(op.insns, trace.order, relocations)
        ops[number] = replace(op, insns=code, core_relos=Records(op.core_relos.size))
    return RelocatedTrace(replace(trace, ops=tuple(ops)), outcomes)
