"""Linking: appends the subprograms that a program calls to its code, and renumbers references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Pseudo
from lskel.bpf.limits import MAX_INSNS
from lskel.btf.ext import Records
from lskel.cursor import ByteOrder
from lskel.errors import BadObject, LimitExceeded, UsageError, at
from lskel.object.functions import TEXT
from lskel.object.model import (
    CallRef,
    DataRef,
    ExternRef,
    FuncRef,
    Function,
    JumpTableRef,
    MapRef,
)

_ENTRIES_END = 1 << 32


class JumpTable(NamedTuple):
    """The instructions of a program that a jump table lists, and those that load its address."""

    targets: tuple[int, ...]
    loads: tuple[int, ...]


class Linked(NamedTuple):
    """A program as the kernel expects it, except for its externs and jump tables.

    `externs` are the references to externs, with instruction indexes of the whole program. Each
    function has jump tables of its own.
    """

    insns: bytes
    func_info: Records
    line_info: Records
    core_relos: Records
    externs: tuple[ExternRef, ...]
    tables: tuple[JumpTable, ...]


class _SubprogramSite(NamedTuple):
    """An instruction that refers to a subprogram: a call, or a load of its address."""

    insn: int
    target: int
    is_call: bool


class _Part(NamedTuple):
    """A function prepared for all programs, independent of its position.

    `callees` are the referenced subprograms, with the first instruction that refers to them;
    `uncreated` is the first instruction that uses a map without autocreate.
    """

    function: Function
    code: bytes
    sites: tuple[_SubprogramSite, ...]
    callees: dict[int, int]
    externs: tuple[ExternRef, ...]
    tables: tuple[JumpTableRef, ...]
    uncreated: int | None


class Linker:
    """Links the programs of one object; each function is prepared once.

    Each program gets a copy of each subprogram that it reaches. Their total size is limited: with
    many programs and subprograms it can be far larger than the object.
    """

    def __init__(
        self,
        functions: Iterable[Function],
        subprograms: Iterable[Function],
        slots: Mapping[int, int],
        order: ByteOrder,
    ) -> None:
        """`functions` are those of the programs, `subprograms` those of .text.

        `slots` are the trace indexes of created maps, by their index in the object.
        """
        subprograms = tuple(subprograms)
        self._subprograms = {function.start: function for function in subprograms}
        self._starts = {function.name: function.start for function in reversed(subprograms)}
        self._slots = slots
        self._order: ByteOrder = order
        self._parts: dict[int, _Part] = {}
        # Aliases have their code in common.
        known = (*functions, *self._subprograms.values())
        own = {(function.section, function.start): _size(function) for function in known}
        self._copies = budget.Allowance(
            max(sum(own.values()), budget.SMALL_CODE) * budget.CODE_COPIES,
            "bytes of code and debug information in programs with their subprograms",
        )

    def link(self, main: Function, exception_callback: str | None = None) -> Linked:
        """Append each subprogram that `main` reaches to it, once, in the order of first calls.

        A subprogram's own callees follow it before the caller's next one does (depth first), as
        libbpf orders them. The exception callback comes last, with its own.
        """
        parts = self._reached(main, exception_callback)
        starts: dict[int, int] = {main.start: 0} if main.section == TEXT else {}
        bases = []
        code = bytearray()
        for part in parts:
            base = i.count(code)
            bases.append((part.function, base))
            if part is not parts[0]:
                starts[part.function.start] = base
            code += part.code
        externs: list[ExternRef] = []
        tables: list[JumpTable] = []
        for part, (_, base) in zip(parts, bases, strict=True):
            if part.uncreated is not None:
                raise UsageError(
                    f"instruction {base + part.uncreated} uses a map with autocreate disabled",
                    hint="disable autoload of the program as well",
                )
            for site in part.sites:
                _patch_site(code, base + site.insn, site, starts[site.target], self._order)
            externs += (ref._replace(insn=base + ref.insn) for ref in part.externs)
            tables += _jump_tables(part, base)
        return Linked(
            bytes(code),
            _join(bases, "func_info", self._order),
            _join(bases, "line_info", self._order),
            _core_relos(bases, self._order),
            tuple(externs),
            tuple(tables),
        )

    def _reached(self, main: Function, exception_callback: str | None) -> list[_Part]:
        """The functions in code order, with their size checked before they are copied."""
        self._copies.spend(_size(main))
        first = _prepare(main, self._slots, self._order)
        parts = [first]
        # A program in .text may call itself.
        known = {main.start} if main.section == TEXT else set[int]()
        size = i.count(first.code)
        callees = dict(first.callees)
        if exception_callback is not None:
            callees.setdefault(self._start_of(exception_callback), 0)
        pending = [(main, iter(callees.items()))]
        while pending:
            function, left = pending[-1]
            target, insn = next(left, (None, 0))
            if target is None:
                pending.pop()
                continue
            if target in known:
                continue
            known.add(target)
            part = self._part(function, target, insn)
            self._copies.spend(_size(part.function))
            parts.append(part)
            size += i.count(part.code)
            if size > MAX_INSNS:
                raise LimitExceeded(
                    f"with its subprograms it has more than {MAX_INSNS} instructions, "
                    "the kernel's limit",
                    limit=MAX_INSNS,
                    actual=size,
                )
            pending.append((part.function, iter(part.callees.items())))
        return parts

    def _start_of(self, callback: str) -> int:
        if callback not in self._starts:
            raise BadObject(
                f"its exception callback '{callback}' is not a function of {TEXT}",
                hint="define it in the same object, without SEC()",
            )
        return self._starts[callback]

    def _part(self, caller: Function, target: int, insn: int) -> _Part:
        """The subprogram that `caller` refers to."""
        part = self._parts.get(target)
        if part is None:
            callee = self._subprograms.get(target)
            if callee is None:
                raise BadObject(
                    f"section {caller.section}: function '{caller.name}': instruction {insn} "
                    f"calls instruction {target} of {TEXT}, where no function starts"
                )
            part = self._parts[target] = _prepare(callee, self._slots, self._order)
        return part


def _size(function: Function) -> int:
    """Bytes of code, of its records for the kernel, and of its jump tables."""
    tables = (function.func_info, function.line_info, function.core_relos)
    records = sum(len(records.data) for records in tables)
    jumps = sum(len(ref.targets) for ref in function.relocations if type(ref) is JumpTableRef)
    return len(function.code) + records + i.SIZE * jumps


def _prepare(function: Function, slots: Mapping[int, int], order: ByteOrder) -> _Part:
    sites = _sites(function, order)
    callees: dict[int, int] = {}
    for site in sites:
        callees.setdefault(site.target, site.insn)
    code = bytearray(function.code)
    externs = []
    tables = []
    for ref in function.relocations:
        if isinstance(ref, MapRef | DataRef):
            if ref.map not in slots:
                return _Part(function, function.code, sites, callees, (), (), ref.insn)
            _patch_data(code, ref, slots[ref.map], order)
        elif isinstance(ref, ExternRef):
            externs.append(ref)
        elif isinstance(ref, JumpTableRef):
            # The map, of which only the loader knows the fd, belongs to one program.
            _patch_load(code, ref.insn, Pseudo.MAP_VALUE, 0, order)
            i.set_imm(code, ref.insn + 1, ref.offset, order)
            tables.append(ref)
    return _Part(function, bytes(code), sites, callees, tuple(externs), tuple(tables), None)


def _jump_tables(part: _Part, base: int) -> Iterator[JumpTable]:
    """The tables of a function that begins at instruction `base`."""
    tables: dict[int, list[JumpTableRef]] = {}
    for ref in part.tables:
        tables.setdefault(ref.table, []).append(ref)
    delta = base - part.function.start
    for table, refs in tables.items():
        targets = refs[0].targets
        if not 0 <= min(targets) + delta <= max(targets) + delta < _ENTRIES_END:
            raise BadObject(
                f"function '{part.function.name}': its jump table at {table:#x} of .jumptables "
                "jumps out of the program"
            )
        yield JumpTable(
            tuple(target + delta for target in targets), tuple(base + ref.insn for ref in refs)
        )


def _sites(function: Function, order: ByteOrder) -> tuple[_SubprogramSite, ...]:
    """The instructions that refer to subprograms, ascending."""
    found = [
        _SubprogramSite(ref.insn, ref.target, isinstance(ref, CallRef))
        for ref in function.relocations
        if isinstance(ref, CallRef | FuncRef)
    ]
    relocated = {ref.insn for ref in function.relocations}
    for index in i.find(function.code, i.OP_CALL):
        insn = i.read(function.code, index, order)
        if insn.src == CallKind.SUBPROGRAM and index not in relocated:
            # Within .text, calls of static functions need no relocation.
            if function.section != TEXT:
                raise BadObject(
                    f"section {function.section}: function '{function.name}': instruction "
                    f"{index} calls within its section",
                    hint=f"subprograms must be in {TEXT}: declare them without SEC()",
                )
            found.append(_SubprogramSite(index, function.start + index + insn.imm + 1, True))
    return tuple(sorted(found, key=lambda site: site.insn))


def _patch_site(
    code: bytearray, at_insn: int, site: _SubprogramSite, base: int, order: ByteOrder
) -> None:
    distance = base - at_insn - 1
    if site.is_call:
        i.set_imm(code, at_insn, distance, order)
    else:
        _patch_load(code, at_insn, Pseudo.FUNC, distance, order)


def _patch_data(code: bytearray, ref: MapRef | DataRef, slot: int, order: ByteOrder) -> None:
    src = Pseudo.MAP_IDX if isinstance(ref, MapRef) else Pseudo.MAP_IDX_VALUE
    _patch_load(code, ref.insn, src, slot, order)
    if isinstance(ref, DataRef):
        i.set_imm(code, ref.insn + 1, ref.offset, order)


def _patch_load(code: bytearray, at_insn: int, src: Pseudo, imm: int, order: ByteOrder) -> None:
    insn = i.read(code, at_insn, order)
    i.write(code, at_insn, insn._replace(src=src, imm=imm), order)


def _join(bases: Sequence[tuple[Function, int]], table: str, order: ByteOrder) -> Records:
    """The records of all functions; none if the main program has none."""
    parts: list[tuple[Function, int, Records]] = [
        (function, base, getattr(function, table)) for function, base in bases
    ]
    size = parts[0][2].size
    if not len(parts[0][2]):
        return Records(size)
    data = bytearray()
    for function, base, records in parts:
        with at(f"function '{function.name}'"):
            if not len(records):
                raise BadObject(f"BTF.ext has no {table} for it, but for its callers")
            data += records.moved(base, order).data
    return Records(size, bytes(data))


def _core_relos(bases: Sequence[tuple[Function, int]], order: ByteOrder) -> Records:
    """The CO-RE relocations of all functions, their offsets in bytes of the whole program."""
    size = bases[0][0].core_relos.size
    data = bytearray()
    for function, base in bases:
        records = function.core_relos
        if len(records):
            size = records.size
            moved = bytearray(records.moved(base, order).data)
            for start in range(0, len(moved), size):
                insn = int.from_bytes(moved[start : start + 4], order)
                moved[start : start + 4] = (insn * i.SIZE).to_bytes(4, order)
            data += moved
    return Records(size, bytes(data))
