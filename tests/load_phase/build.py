"""Objects made in code, as the open phase leaves them, for tests of the load phase.

A function is steps, each one instruction and what it refers to, by name::

    build = ObjectBuilder()
    build.map("events", MapType.RINGBUF, max_entries=4096)
    build.subprogram("send", load_map("events"), EXIT)
    build.program("handle", "xdp", call("send"), EXIT)
    build.object()

Records of BTF.ext begin with an instruction; what follows is a number of their own, by which tests
know them again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from lskel.bpf import insn as i
from lskel.bpf.enums import MapType
from lskel.bpf.insn import CallKind, Insn
from lskel.btf.btf import Btf
from lskel.btf.ext import Records
from lskel.btf.types import VOID
from lskel.cursor import ByteOrder, mark
from lskel.object.functions import TEXT
from lskel.object.model import (
    CallRef,
    DataRef,
    Extern,
    ExternKind,
    ExternRef,
    FuncRef,
    Function,
    MapKind,
    MapRef,
    MapSpec,
    Object,
    ProgramSpec,
    Relocation,
)
from lskel.object.sections import parse_section

RECORD_SIZE = 12
NO_RECORDS = Records(RECORD_SIZE)
# What a name stands for: the index of a map or extern, the first instruction of a subprogram.
Find = Callable[[str], int]


@dataclass(frozen=True)
class Step:
    """An instruction, wide or not; `refer` makes its relocation of where it is and of its name."""

    insns: tuple[Insn, ...]
    name: str = ""
    refer: Callable[[int, int], Relocation] | None = None


def number(value: int) -> Step:
    """r0 = `value`: an instruction that tests know again."""
    return Step((Insn(i.ALU64 | i.MOV | i.K, imm=value),))


EXIT = Step((Insn(i.OP_EXIT),))


def call(name: str) -> Step:
    """Call a subprogram, as clang leaves it: what the immediate says counts for nothing."""
    return Step((Insn(i.OP_CALL, src=CallKind.SUBPROGRAM, imm=-1),), name, CallRef)


def near_call(distance: int) -> Step:
    """Call a static function of the same section, which takes no relocation."""
    return Step((Insn(i.OP_CALL, src=CallKind.SUBPROGRAM, imm=distance),))


def address(name: str) -> Step:
    """r1 = the address of a subprogram."""
    return Step(_wide(1), name, FuncRef)


def load_map(name: str) -> Step:
    """r2 = the address of a map."""
    return Step(_wide(2), name, MapRef)


def load_value(name: str, offset: int) -> Step:
    """r3 = the address of a byte of a map's value."""
    return Step(_wide(3), name, lambda insn, index: DataRef(insn, index, offset))


def load_extern(name: str) -> Step:
    """r4 = the address of an extern."""
    return Step(_wide(4), name, partial(ExternRef, is_call=False))


def call_extern(name: str) -> Step:
    """Call a kfunc, as clang leaves it."""
    return Step(
        (Insn(i.OP_CALL, src=CallKind.SUBPROGRAM, imm=-1),), name, partial(ExternRef, is_call=True)
    )


def _wide(register: int) -> tuple[Insn, ...]:
    """A ld_imm64 whose immediates are none of the loader's."""
    return (Insn(i.OP_LD_IMM64, register, imm=0x55), Insn(0, imm=0x66))


def records(order: ByteOrder, *pairs: tuple[int, int], size: int = RECORD_SIZE) -> Records:
    """A record of an instruction (or offset) and a number each, and zeros up to `size`."""
    form = struct.Struct(f"{mark(order)}II{size - 8}x")
    return Records(size, b"".join(form.pack(*pair) for pair in pairs))


def pairs_of(found: Records, order: ByteOrder) -> list[tuple[int, int]]:
    """What `records` was given."""
    form = struct.Struct(f"{mark(order)}II{found.size - 8}x")
    return list(form.iter_unpack(found.data))


def insns_of(code: bytes, order: ByteOrder) -> list[Insn]:
    """All slots of the code."""
    return [i.read(code, index, order) for index in range(i.count(code))]


@dataclass
class _Body:
    """A function whose relocations are still names."""

    name: str
    section: str
    start: int
    steps: tuple[Step, ...]
    tables: dict[str, Records]

    @property
    def insns(self) -> list[Insn]:
        return list(chain.from_iterable(step.insns for step in self.steps))

    def function(self, order: ByteOrder, find: Find) -> Function:
        references, at = [], 0
        for step in self.steps:
            if step.refer:
                references.append(step.refer(at, find(step.name)))
            at += len(step.insns)
        code = b"".join(insn.encode(order) for insn in self.insns)
        tables = {
            table: self.tables.get(table, NO_RECORDS)
            for table in ("func_info", "line_info", "core_relos")
        }
        return Function(self.name, self.section, self.start, code, tuple(references), **tables)


@dataclass
class ObjectBuilder:
    """Appends maps, externs, subprograms and programs; names may be used before they are there."""

    order: ByteOrder = "little"
    btf: Btf | None = None
    maps: list[MapSpec] = field(default_factory=list)
    externs: list[Extern] = field(default_factory=list)
    subprograms: list[_Body] = field(default_factory=list)
    programs: list[tuple[_Body, str]] = field(default_factory=list)

    def map(self, name: str, type_: int = MapType.ARRAY, **fields: Any) -> None:
        """A map of the user with one 4-byte value, but for what `fields` say."""
        default: dict[str, Any] = {
            "kind": MapKind.USER,
            "section": ".maps",
            "offset": 0,
            "key_size": 4,
            "value_size": 4,
            "max_entries": 1,
        }
        self.maps.append(MapSpec(name, type=type_, **default | fields))

    def data(self, name: str, kind: MapKind, initial: bytes | None, **fields: Any) -> None:
        """A section of global data, which lies in section `name`, too."""
        size = len(initial or b"")
        self.map(name, kind=kind, section=name, value_size=size, initial=initial, **fields)

    def extern(
        self, name: str, kind: ExternKind, *, is_weak: bool = False, is_typeless: bool = False
    ) -> None:
        """A kfunc or ksym."""
        self.externs.append(Extern(name, kind, is_weak, VOID, is_typeless))

    def subprogram(self, name: str, *steps: Step, **tables: Records) -> None:
        """A function of .text, after those that are there."""
        last = self.subprograms[-1] if self.subprograms else None
        start = last.start + len(last.insns) if last else 0
        self.subprograms.append(_Body(name, TEXT, start, steps, tables))

    def program(self, name: str, section: str, *steps: Step, **tables: Records) -> None:
        """A program; it only exits where no steps are given."""
        body = _Body(name, section.removeprefix("?"), 0, steps or (EXIT,), tables)
        self.programs.append((body, section))

    def object(self) -> Object:
        """The object of all of them."""
        found = {
            **{a_map.name: index for index, a_map in enumerate(self.maps)},
            **{extern.name: index for index, extern in enumerate(self.externs)},
            **{body.name: body.start for body in self.subprograms},
        }
        programs = []
        for body, section in self.programs:
            spec = parse_section(section)
            function = body.function(self.order, found.__getitem__)
            programs.append(ProgramSpec(function, spec, spec.autoload))
        return Object(
            "made",
            self.order,
            "GPL",
            0,
            self.btf,
            tuple(self.maps),
            tuple(programs),
            tuple(body.function(self.order, found.__getitem__) for body in self.subprograms),
            tuple(self.externs),
        )
