"""CO-RE relocations as libbpf 1.8 does them, and as lskel does, in the same form."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.core_relo.candidates import KernelTypes
from lskel.core_relo.relocate import FAILED, CoreOutcome
from lskel.load_phase.core import relocate_trace
from lskel.load_phase.plan import plan
from lskel.object.open import open_object
from lskel.trace import BtfLoad, ProgLoad, Trace
from tests import bpftool

POISONED = "poisoned"
_PATCH = re.compile(
    r"libbpf: prog '([^']*)': relo #\d+: (?:(substituting) insn #(\d+)|"
    r"patched insn #(\d+) \(\S+\) (\S+) -?\d+ -> (-?\d+))"
)
_FAILURE = re.compile(r"libbpf: prog '([^']*)': relo #(\d+): failed to relocate")


class Place(NamedTuple):
    """An instruction of a function."""

    function: str
    insn: int


# What became of an instruction: the fields it has now, or that it is poisoned.
Patches = Mapping[Place, tuple[tuple[str, int], ...] | str]


class Relocated(NamedTuple):
    """All patches, and the functions of which a relocation failed: libbpf stops there."""

    patches: Patches
    failed: frozenset[str]


def by_libbpf(path: Path, btf: Path, pins: Path) -> Relocated | None:
    """As libbpf's log says. It need not load what it relocates: that comes afterwards.

    None if it stops before that, for a kfunc that is not there, for example.
    """
    words = ["-d", "prog", "loadall", path, pins, "kernel_btf", btf]
    done = subprocess.run(
        [*bpftool.command(), *map(str, words)], capture_output=True, text=True, errors="replace"
    )
    if not re.search(r"prog '.*': relo #", done.stderr):
        return None
    patches: dict[Place, tuple[tuple[str, int], ...] | str] = {}
    for name, poisoned, bad, insn, field, number in _PATCH.findall(done.stderr):
        place = Place(name, int(bad or insn))
        before = patches.get(place, ())
        assert before != POISONED
        patches[place] = POISONED if poisoned else (*before, (field, int(number)))
    failed = frozenset(name for name, _number in _FAILURE.findall(done.stderr))
    return Relocated(patches, failed)


def by_lskel(path: Path, kernel: KernelTypes) -> Relocated:
    """As lskel does, of the programs that are loaded by default."""
    trace = plan(open_object(path))
    relocated = relocate_trace(trace, kernel)
    patches: dict[Place, tuple[tuple[str, int], ...] | str] = {}
    failed = set()
    for slot, outcomes in relocated.outcomes.items():
        before, after = trace.prog_load(slot), relocated.trace.prog_load(slot)
        assert before is not None and after is not None
        if trace.programs[slot].autoload:
            btf = _btf(trace, before)
            for outcome in outcomes:
                place = _place(trace, before, btf, outcome.relocation.insn)
                if outcome.answer.result in FAILED:
                    failed.add(place.function)
                else:
                    patches.update(_patch(before.insns, after.insns, trace, place, outcome))
    return Relocated(patches, frozenset(failed))


def _btf(trace: Trace, op: ProgLoad) -> Btf:
    assert op.btf is not None
    load = trace.ops[op.btf.op]
    assert isinstance(load, BtfLoad)
    return Btf(load.data)


def _place(trace: Trace, op: ProgLoad, btf: Btf, insn: int) -> Place:
    record = op.func_info
    words = [
        int.from_bytes(record.data[at : at + 4], trace.order)
        for at in range(0, len(record.data), 4)
    ]
    step = record.size // 4
    starts = list(zip(words[::step], words[1::step], strict=True))
    start, type_id = max(pair for pair in starts if pair[0] <= insn)
    return Place(btf.get(TypeId(type_id), t.Func).name, insn - start)


def _patch(
    old: bytes, new: bytes, trace: Trace, place: Place, outcome: CoreOutcome
) -> dict[Place, tuple[tuple[str, int], ...] | str]:
    """What libbpf's log would say, read off the code before and after."""
    at = outcome.relocation.insn
    before, after = i.read(old, at, trace.order), i.read(new, at, trace.order)
    if after.op == i.OP_CALL and before.op != i.OP_CALL:
        wide = before.op == i.OP_LD_IMM64
        return {place._replace(insn=place.insn + more): POISONED for more in range(1 + wide)}
    if before.op == i.OP_LD_IMM64:
        high = i.read(new, at + 1, trace.order).imm
        return {place: (("imm64", (high << 32 | after.imm & 0xFFFFFFFF) & 0xFFFFFFFFFFFFFFFF),)}
    if before.op & 0x07 in (i.ALU, i.ALU64):
        # The log has the number as it was asked for, 64 bits of it.
        value = outcome.answer.after
        assert value is not None and value.number & 0xFFFFFFFF == after.imm & 0xFFFFFFFF
        return {place: (("imm", value.number),)}
    fields = [("off", after.off)]
    if before.op != after.op:
        size = next(size for size, code in i.SIZE_CODE.items() if code == after.op & 0x18)
        fields.append(("mem_sz", size))
    return {place: tuple(fields)}
