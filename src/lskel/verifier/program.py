"""The program of a log, from the object: its lines, functions and maps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.insn import Pseudo
from lskel.describe.core import CoreRelos
from lskel.describe.image import ProgramCode, ProgramsImage, Source, read_image
from lskel.describe.records import Functions, Lines, unpack
from lskel.describe.variables import variable_at, variables
from lskel.verifier.entries import LogInsn, SourceText

_ADD = i.ALU64 | i.ADD | i.K
_COPY = i.ALU64 | i.MOV | i.X
_FRAME_POINTER = 10


class Frame(NamedTuple):
    """A function's stack use in bytes, and the instruction with the lowest stack access."""

    function: str
    insn: int
    size: int


class VerifiedProgram:
    """A program of an object, followed by its subprograms; indexes count 8-byte slots."""

    def __init__(self, image: ProgramsImage, code: ProgramCode) -> None:
        self._image = image
        self._code = code
        self._functions = Functions(code.func_info, image.btf, image.order)
        self._lines = Lines(code.line_info, image.btf, image.order)

    @property
    def name(self) -> str:
        """The program's name."""
        return self._code.name

    @cached_property
    def lines(self) -> Mapping[int, SourceText]:
        """The source lines by the first instruction of each."""
        found = {}
        for index in range(i.count(self._code.insns)):
            line = self._lines.at(index)
            if line is not None:
                text, file = line.text.strip("\n"), line.file.removeprefix("./")
                found[index] = SourceText(text, file, line.line, line.column)
        return found

    @cached_property
    def _starts(self) -> list[int]:
        return sorted(self.lines)

    def line(self, index: int) -> SourceText | None:
        """The source line of an instruction; None if the object has none."""
        at = bisect_right(self._starts, index) - 1
        return self.lines[self._starts[at]] if at >= 0 else None

    @cached_property
    def _entries(self) -> list[int]:
        count = range(i.count(self._code.insns))
        return [index for index in count if self._functions.at(index) is not None]

    def function(self, index: int) -> str:
        """The function of an instruction; empty if unknown."""
        at = bisect_right(self._entries, index) - 1
        return (self._functions.at(self._entries[at]) or "") if at >= 0 else ""

    def map_name(self, index: int) -> str:
        """The map whose address an instruction loads; empty if none."""
        pseudo, number = self._load(index)
        named = pseudo in (Pseudo.MAP_IDX, Pseudo.MAP_IDX_VALUE)
        return self._image.maps[number].name if named and number < len(self._image.maps) else ""

    def variable(self, index: int) -> str:
        """The global variable whose address an instruction loads; empty if none."""
        pseudo, number = self._load(index)
        if pseudo != Pseudo.MAP_IDX_VALUE or not 0 <= number < len(self._image.maps):
            return ""
        listed = variables(self._image.btf, self._image.maps[number].value_type)
        return variable_at(listed, i.read(self._code.insns, index + 1, self._image.order).imm)

    def _load(self, index: int) -> tuple[int, int]:
        """The pseudo kind and number of a wide load; 0 for other instructions."""
        if not 0 <= index < i.count(self._code.insns) - 1:
            return 0, 0
        insn = i.read(self._code.insns, index, self._image.order)
        return (insn.src, max(insn.imm, 0)) if i.is_wide(insn) else (0, 0)

    def frame(self) -> Frame | None:
        """The largest stack frame of a function; None if no function uses the stack."""
        deepest: Frame | None = None
        pointers: dict[int, int] = {}
        for index in range(i.count(self._code.insns)):
            insn = i.read(self._code.insns, index, self._image.order)
            if self._functions.at(index) is not None:
                pointers = {_FRAME_POINTER: 0}
            reached = _reached(insn, pointers)
            if reached is not None and -reached > (deepest.size if deepest else 0):
                deepest = Frame(self.function(index), index, -reached)
        return deepest

    def asked(self, index: int) -> str:
        """The targets of an instruction's CO-RE relocations, with their kinds; empty if none."""
        relos = CoreRelos(self._code.core_relos, self._image.btf, self._image.order).at(index)
        return ", ".join(f"{relo.target} ({relo.kind})" for relo in relos)

    def fits(self, insns: Iterable[LogInsn]) -> bool:
        """Whether these instructions of a log are this program's.

        CO-RE relocations may change instructions in the kernel.
        """
        count = i.count(self._code.insns)
        return all(
            insn.number in self._relocated
            or (insn.number < count and self._code.insns[insn.number * i.SIZE] == insn.opcode)
            for insn in insns
        )

    @cached_property
    def _relocated(self) -> frozenset[int]:
        found = unpack(self._code.core_relos, "I", self._image.order)
        return frozenset(offset // i.SIZE for offset, *_ in found)


def _reached(insn: i.Insn, pointers: dict[int, int]) -> int | None:
    """The offset from the frame pointer that an instruction accesses; updates `pointers`.

    `pointers` are the registers that hold a stack address, with its offset.
    """
    kind = insn.op & 0x07
    if kind in (i.ST, i.STX):
        return pointers[insn.dst] + insn.off if insn.dst in pointers else None
    if kind == i.LDX:
        base = pointers.get(insn.src)
        pointers.pop(insn.dst, None)
        return None if base is None else base + insn.off
    if insn.op == _COPY and insn.src in pointers:
        pointers[insn.dst] = pointers[insn.src]
    elif insn.op == _ADD and insn.dst in pointers:
        pointers[insn.dst] += insn.imm
        return pointers[insn.dst]
    elif kind in (i.ALU, i.ALU64, i.LD) and insn.dst != _FRAME_POINTER:
        pointers.pop(insn.dst, None)
    return None


def programs(source: Source) -> tuple[VerifiedProgram, ...]:
    """The programs of an object, a trace or a loader; BadObject if the BTF is broken."""
    image = read_image(source)
    return tuple(VerifiedProgram(image, code) for code in image.programs if code.insns)


def program_of(
    known: Iterable[VerifiedProgram], name: str, insns: Iterable[LogInsn]
) -> VerifiedProgram | None:
    """The program of a log: the one of this name, or else the only one that matches.

    None if the instructions do not match: the log is of another object.
    """
    seen = tuple(insns)
    # Those of the name first; of the others, two matches are already ambiguous.
    candidates = sorted(known, key=lambda program: program.name != name)
    fits = (program for program in candidates if not seen or program.fits(seen))
    fitting = tuple(islice(fits, 2))
    if fitting and (fitting[0].name == name or len(fitting) == 1):
        return fitting[0]
    return None
