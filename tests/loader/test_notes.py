"""Notes of generated code: while it runs, each instruction touches what its note says."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from lskel.bpf import context
from lskel.bpf import insn as i
from lskel.bpf.insn import Insn
from lskel.cursor import ByteOrder
from lskel.describe.loader_listing import loader_listing
from lskel.loader import records
from lskel.loader.blob import RegionKind
from lskel.loader.bundle import load
from lskel.loader.generate import generate, generate_form
from lskel.loader.model import Bytes, Form, Loader
from lskel.loader.notes import Area, Notes, Touch
from lskel.loader.verify import notes_of
from lskel.object.open import open_object
from lskel.replay.options import Options
from lskel.replay.simulator import run as simulator
from lskel.replay.simulator import simulate
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.interpreter.step import MASK, Registers, Step
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.machine import Interpreter
from lskel.replay.simulator.names import AnyName
from lskel.runtime.request import Request, build_context
from lskel.trace import AttachFd, BtfFind, KsymFind, MapUpdate
from tests.build.clang import compile_bpf
from tests.describe.samples import ASKING, asking
from tests.loader.forged import by_another_version, forge, longer_blob
from tests.loader.test_verify import bundle

# Code that is filled in where no instruction's offset reaches.
FAR = """
extern void kfunc(void) __ksym;
char much[40000] = {1};
SEC("raw_tp/sys_enter") int main_program(void *context)
{
	kfunc();
	return much[1];
}
"""
BLOB = "value of map '__loader.map'"
NAMES = {Area.BLOB: BLOB, Area.RECORD: BLOB, Area.POINTED: BLOB, Area.CONTEXT: "context"}
ACCESSES = (i.LDX, i.ST, i.STX)


@dataclass
class Watch:
    """Compares what instructions touch with the notes; `seen` are those that did what they say."""

    loader: Loader
    notes: Notes
    seen: set[int] = field(default_factory=set)
    record: int = 0

    def accessed(self, machine: Interpreter, index: int, address: int) -> None:
        region, offset = machine.memory.find(address, 1)
        touch = self.notes.touches.get(index)
        if touch is None:
            assert region.name.startswith("stack"), index
            return
        assert touch.accesses, index
        self.touched(index, touch, region.name, offset, region.data)

    def made(self, machine: Interpreter, index: int, address: int) -> None:
        touch = self.notes.touches.get(index)
        if touch is not None and not touch.accesses:
            region, offset = machine.memory.find(address, 1)
            self.touched(index, touch, region.name, offset, region.data)

    def touched(self, index: int, touch: Touch, name: str, offset: int, data: bytearray) -> None:
        assert name == NAMES[touch.area], index
        if touch.area is Area.RECORD:
            self.record = offset - touch.offset
            assert any(
                region.offset <= self.record < region.offset + region.size
                and (self.record - region.offset) % records.SIZE == 0
                for region in self.loader.regions
                if region.kind is RegionKind.RECORDS
            ), index
        elif touch.area is Area.POINTED:
            start = self.record + touch.offset
            kept = data[start : start + 4]
            assert offset == int.from_bytes(kept, self.loader.trace.order), index
        else:
            assert offset == touch.offset, index
        self.seen.add(index)


class Watched(Interpreter):
    """Tells a Watch what each instruction touches."""

    watch: Watch

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        for index, step in self._steps.items():
            insn = i.read(self.code, index, self.memory.order)
            self._steps[index] = self.watched(index, insn, step)

    def watched(self, index: int, insn: Insn, step: Step) -> Step:
        kind = insn.op & 0x07

        def both(registers: Registers) -> int:
            if kind in ACCESSES:
                base = registers[insn.src if kind == i.LDX else insn.dst]
                self.watch.accessed(self, index, base + insn.off & MASK)
            following = step(registers)
            if kind in (i.ALU64, i.LD):
                self.watch.made(self, index, registers[insn.dst])
            return following

        return both


def runs(loader: Loader) -> Iterator[tuple[Options, SimulatedKernel]]:
    """With all that can be given, with all in modules or missing, and with each call failing."""
    trace = loader.trace
    finds = [op for op in trace.ops if isinstance(op, BtfFind | KsymFind)]
    given = (x.slot for x in trace.inputs if isinstance(x, AttachFd))
    plain = Options(
        autoload={program.name: True for program in trace.programs if program.op is not None},
        targets={trace.programs[slot].name: "id:1" for slot in given},
    )
    names = {made.op: made.name for made in trace.maps}
    written = [op for op in trace.ops if isinstance(op, MapUpdate) and op.initial]
    values = {names.pop(op.map.op): bytes(op.size) for op in written}
    sizes = dict.fromkeys(names.values(), 8)
    yield replace(plain, max_entries=sizes, initial=values), SimulatedKernel(trace.order)
    modules = AnyName({"module": [op.name for op in finds]})
    yield plain, SimulatedKernel(trace.order, names=modules)
    missing = Faults(missing=frozenset(op.name for op in finds if op.is_weak))
    yield plain, SimulatedKernel(trace.order, faults=missing)
    calls = len(simulator.run(loader, plain).records)
    for call in range(calls):
        yield plain, SimulatedKernel(trace.order, faults=Faults(calls={call: errno.EINVAL}))


def with_log(request: Request, order: ByteOrder, address_of: Any) -> bytearray:
    """A context that asks for a log, in a buffer that is not there."""
    made = build_context(request, order, address_of)
    made[context.LOG_LEVEL : context.LOG_LEVEL + 4] = (1).to_bytes(4, order)
    return made


def with_sizes(request: Request, order: ByteOrder, address_of: Any) -> bytearray:
    """A context that says the sizes of all maps, and no values."""
    made = build_context(request, order, address_of)
    for slot in range(len(request.maps)):
        entries, value = context.max_entries(slot), context.initial_value(slot)
        made[entries : entries + 4] = (1).to_bytes(4, order)
        made[value : value + 8] = bytes(8)
    return made


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("source", [ASKING, FAR], ids=["asking", "far"])
@pytest.mark.parametrize("form", Form)
def test_what_runs_touches_what_its_note_says(
    form: Form, source: str, big_endian: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = generate(open_object(compile_bpf(source, big_endian=big_endian), "notes"), form)
    watch = Watch(loader, taken(loader))
    monkeypatch.setattr(Watched, "watch", watch, raising=False)
    monkeypatch.setattr(simulate, "Interpreter", Watched)
    values = []
    for options, kernel in runs(loader):
        values.append(simulator.run(loader, options, kernel=kernel).value)
    assert values[:3] == [0, 0, 0] and -errno.EINVAL in values
    for build in (with_log, with_sizes):
        monkeypatch.setattr(simulator, "build_context", build)
        simulator.run(loader, options)
    assert watch.seen == set(watch.notes.touches)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("debug", [False, True])
def test_taking_notes_changes_nothing(form: Form, debug: bool) -> None:
    trace, notes = asking().trace(), Notes()
    made = generate_form(trace, form, debug=debug, notes=notes)
    assert made == generate(trace, form, debug=debug)
    assert notes.touches and max(notes.touches) < len(made.insns) // i.SIZE
    assert (notes.touches, notes.begins) == (taken(made).touches, taken(made).begins)


def taken(loader: Loader) -> Notes:
    notes = notes_of(loader)
    assert notes is not None
    return notes


@pytest.mark.parametrize("form", Form)
def test_other_bytes_have_no_notes(form: Form) -> None:
    data = bundle(form)
    same = load(data)
    assert taken(same).touches
    longer = forge(data, longer_blob)
    for other in (load(longer), load(forge(longer, by_another_version))):
        assert other.compared is not Bytes.SAME
        assert notes_of(other) is None
        rows = loader_listing(other).rows[: len(loader_listing(same).rows)]
        assert not any(row.label or row.note for row in rows if not row.label.startswith("records"))
