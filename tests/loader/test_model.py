"""Any programs with any externs: the replay of their loader against a plain model of its calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from errno import ENOMEM
from itertools import count
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

import lskel
from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.bpf.limits import MAX_USED_MAPS
from lskel.btf.ext import CORE_RELO_SIZE, FUNC_INFO_SIZE, LINE_INFO_SIZE, Records
from lskel.btf.kinds import Kind
from lskel.btf.types import VOID
from lskel.cursor import ByteOrder
from lskel.loader.model import Form
from lskel.object.model import Extern, ExternKind, ExternRef, Function, Object, ProgramSpec
from lskel.object.sections import parse_section
from lskel.replay.compare import describe
from lskel.replay.options import Options
from lskel.replay.simulator.names import AnyName
from lskel.replay.simulator.record import RecordedHelper
from tests.btf.samples import ORDERS
from tests.loader.replays import kernel_of, loaded, play


class Place(Enum):
    """Where the kernel has a symbol."""

    VMLINUX = "vmlinux"
    MODULE = "module"
    NOWHERE = "nowhere"


class Symbol(NamedTuple):
    extern: Extern
    place: Place

    @property
    def name(self) -> str:
        return self.extern.name


class Use(NamedTuple):
    """A call of a kfunc, or a load of a symbol's address into a register."""

    symbol: int
    is_call: bool
    register: int


class Source(NamedTuple):
    """A program; `option` is what the caller says of it, None for nothing."""

    name: str
    uses: tuple[Use, ...]
    autoload: bool
    option: bool | None

    @property
    def is_loaded(self) -> bool:
        return self.autoload if self.option is None else self.option


@st.composite
def symbols(draw: st.DrawFn) -> tuple[Symbol, ...]:
    made = []
    for number in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from([ExternKind.KFUNC, ExternKind.KSYM]))
        is_typeless = kind is ExternKind.KSYM and draw(st.booleans())
        is_weak = draw(st.booleans())
        places = [place for place in Place if is_weak or place is not Place.NOWHERE]
        extern = Extern(f"symbol{number}", kind, is_weak, VOID, is_typeless)
        made.append(Symbol(extern, draw(st.sampled_from(places))))
    return tuple(made)


@st.composite
def programs(draw: st.DrawFn, known: Sequence[Symbol]) -> tuple[Source, ...]:
    uses = st.builds(Use, st.integers(0, len(known) - 1), st.booleans(), st.integers(0, 9))
    option = st.sampled_from([None, True, False])
    return tuple(
        Source(
            f"p{number}", tuple(draw(st.lists(uses, max_size=6))), draw(st.booleans()), draw(option)
        )
        for number in range(draw(st.integers(1, 4)))
    )


def code_of(
    source: Source, known: Sequence[Symbol], order: ByteOrder
) -> tuple[bytes, list[ExternRef]]:
    """The code as a compiler leaves it, and its relocations."""
    insns: list[Insn] = []
    refs = []
    for use in source.uses:
        is_call = use.is_call and known[use.symbol].extern.kind is ExternKind.KFUNC
        refs.append(ExternRef(len(insns), use.symbol, is_call))
        if is_call:
            insns.append(Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=-1))
        else:
            insns += [Insn(i.OP_LD_IMM64, use.register), Insn(0)]
    insns += [Insn(i.ALU64 | i.MOV | i.K), Insn(i.OP_EXIT)]
    return b"".join(insn.encode(order) for insn in insns), refs


def object_of(known: Sequence[Symbol], sources: Sequence[Source], order: ByteOrder) -> Object:
    spec = parse_section("raw_tp/sys_enter")
    tables = Records(FUNC_INFO_SIZE), Records(LINE_INFO_SIZE), Records(CORE_RELO_SIZE)
    made = []
    for source in sources:
        code, refs = code_of(source, known, order)
        function = Function(source.name, spec.name, 0, code, tuple(refs), *tables)
        made.append(ProgramSpec(function, spec, source.autoload))
    externs = tuple(symbol.extern for symbol in known)
    return Object("model", order, "GPL", 0, None, (), tuple(made), (), externs)


class Model:
    """The calls that loading makes, and the instructions that the kernel gets."""

    def __init__(self, known: Sequence[Symbol], sources: Sequence[Source]) -> None:
        self.known = known
        self.open: set[int] = set()
        self.calls: list[str] = []
        self.code: dict[str, list[Insn]] = {}
        for source in sources:
            if source.is_loaded:
                self.load(source)

    def fd(self) -> int:
        made = next(fd for fd in count(3) if fd not in self.open)
        self.open.add(made)
        return made

    def load(self, source: Source) -> None:
        used = dict.fromkeys(use.symbol for use in source.uses)
        btfs = {number: self.find(self.known[number]) for number in used}
        called = dict.fromkeys(use.symbol for use in source.uses if self.is_call(use))
        slots = {number: MAX_USED_MAPS + nth for nth, number in enumerate(called)}
        self.calls.append(f"BPF_PROG_LOAD {source.name}")
        self.code[source.name] = [
            *(insn for use in source.uses for insn in self.insns(use, btfs, slots)),
            Insn(i.ALU64 | i.MOV | i.K),
            Insn(i.OP_EXIT),
        ]
        self.fd()
        for fd in filter(None, btfs.values()):
            self.calls.append("close btf mod")
            self.open.remove(fd)

    def find(self, symbol: Symbol) -> int:
        """Look for it; the fd of its module's BTF, or 0."""
        helper = "kallsyms_lookup_name" if symbol.extern.is_typeless else "btf_find_by_name_kind"
        self.calls.append(f"{helper} {symbol.name}")
        in_module = symbol.place is Place.MODULE and not symbol.extern.is_typeless
        return self.fd() if in_module else 0

    def is_call(self, use: Use) -> bool:
        return use.is_call and self.known[use.symbol].extern.kind is ExternKind.KFUNC

    def insns(self, use: Use, btfs: Mapping[int, int], slots: Mapping[int, int]) -> Iterator[Insn]:
        symbol, btf = self.known[use.symbol], btfs[use.symbol]
        is_there = symbol.place is not Place.NOWHERE
        names = AnyName()
        kind = Kind.FUNC if symbol.extern.kind is ExternKind.KFUNC else Kind.VAR
        found = names.type(symbol.name, kind)
        type_id = found.type_id if found and is_there else 0
        if self.is_call(use):
            off = slots[use.symbol] if btf else 0
            yield Insn(i.OP_CALL, 0, CallKind.KFUNC, off, type_id)
        elif symbol.extern.is_typeless:
            address = names.address(symbol.name) or 0
            halves = (signed(address), signed(address >> 32)) if is_there else (0, 0)
            yield Insn(i.OP_LD_IMM64, use.register, imm=halves[0])
            yield Insn(0, imm=halves[1])
        else:
            src = Pseudo.BTF_ID if is_there else Pseudo.IMM64
            yield Insn(i.OP_LD_IMM64, use.register, src, imm=type_id)
            yield Insn(0, imm=btf)


def signed(number: int) -> int:
    """The low 32 bits as an immediate has them."""
    return int.from_bytes((number & 0xFFFFFFFF).to_bytes(4, "little"), "little", signed=True)


@given(st.data(), st.sampled_from(ORDERS))
@settings(max_examples=200, deadline=None)
def test_any_programs(data: st.DataObject, order: ByteOrder) -> None:
    known = data.draw(symbols())
    sources = data.draw(programs(known))
    # The model knows the slots of this form; the other makes the same calls (test_forms.py).
    loader = lskel.generate(object_of(known, sources, order), Form.UNROLLED)
    options = Options(autoload={s.name: s.option for s in sources if s.option is not None})
    modules, missing = (
        [symbol.name for symbol in known if symbol.place is place]
        for place in (Place.MODULE, Place.NOWHERE)
    )
    done = play(loader, kernel_of(loader, module=modules, missing=missing), options)
    model = Model(known, sources)
    assert done.value == 0
    assert [describe(record) for record in done.records] == model.calls
    assert {name: loaded(done, name) for name in model.code} == model.code
    assert set(done.open_fds) == model.open
    calls = [record.n for record in done.records if record.cmd is not RecordedHelper.CLOSE]
    if calls:
        faults = {data.draw(st.sampled_from(calls)): ENOMEM}
        kernel = kernel_of(loader, module=modules, missing=missing, calls=faults)
        assert play(loader, kernel, options).value == -ENOMEM
