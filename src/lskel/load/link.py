"""Linking: a program's code with the subprograms it calls appended, everything renumbered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Pseudo
from lskel.btf.ext import Records
from lskel.cursor import ByteOrder
from lskel.errors import BadObject, LimitExceeded, UsageError, at
from lskel.object.functions import MAX_INSNS, TEXT
from lskel.object.model import CallRef, DataRef, ExternRef, FuncRef, Function, MapRef


class Linked(NamedTuple):
    """A program as the kernel takes it, but for its externs.

    `externs` are the references to externs, with instruction indexes of the whole program.
    """

    insns: bytes
    func_info: Records
    line_info: Records
    core_relos: Records
    externs: tuple[ExternRef, ...]


class _Site(NamedTuple):
    """An instruction that names a subprogram: a call, or a load of its address."""

    insn: int
    target: int
    is_call: bool


def link(
    main: Function,
    subprograms: Mapping[int, Function],
    slots: Mapping[int, int],
    order: ByteOrder,
) -> Linked:
    """Append to `main` each subprogram that it reaches, once, in the order of first calls.

    `subprograms` are those of .text by their first instruction; `slots` are the indexes in the
    trace of the maps that are created, by their index in the object. A subprogram's own callees
    follow it before the caller's next one does (depth first), as libbpf orders them.
    """
    bases = _place(main, subprograms, order)
    code = bytearray()
    for function in bases:
        code += function.code
    starts = {function.start: base for function, base in bases.items() if function is not main}
    if main.section == TEXT:
        starts[main.start] = 0
    externs: list[ExternRef] = []
    for function, base in bases.items():
        for site in _sites(function, order):
            _patch_site(code, base + site.insn, site, starts[site.target], order)
        externs += _patch_data(code, function, base, slots, order)
    return Linked(
        bytes(code),
        _join(bases, "func_info", order),
        _join(bases, "line_info", order),
        _core_relos(bases, order),
        tuple(externs),
    )


def _place(
    main: Function, subprograms: Mapping[int, Function], order: ByteOrder
) -> dict[Function, int]:
    """The functions in the order of their code, each with its first instruction's index."""
    bases = {main: 0}
    end = i.count(main.code)
    pending = [(main, _sites(main, order))]
    while pending:
        function, sites = pending[-1]
        site = next(sites, None)
        if site is None:
            pending.pop()
            continue
        callee = subprograms.get(site.target)
        if callee is None:
            raise BadObject(
                f"section {function.section}: function '{function.name}': instruction "
                f"{site.insn} calls instruction {site.target} of {TEXT}, where no function starts"
            )
        if callee not in bases:
            bases[callee] = end
            end += i.count(callee.code)
            if end > MAX_INSNS:
                raise LimitExceeded(
                    f"with its subprograms it has more than {MAX_INSNS} instructions, "
                    "the kernel's limit",
                    limit=MAX_INSNS,
                    actual=end,
                )
            pending.append((callee, _sites(callee, order)))
    return bases


def _sites(function: Function, order: ByteOrder) -> Iterator[_Site]:
    """The instructions that name subprograms, ascending."""
    found = [
        _Site(ref.insn, ref.target, isinstance(ref, CallRef))
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
            found.append(_Site(index, function.start + index + insn.imm + 1, True))
    return iter(sorted(found, key=lambda site: site.insn))


def _patch_site(code: bytearray, at_insn: int, site: _Site, base: int, order: ByteOrder) -> None:
    distance = base - at_insn - 1
    if site.is_call:
        i.set_imm(code, at_insn, distance, order)
    else:
        insn = i.read(code, at_insn, order)
        i.write(code, at_insn, insn._replace(src=Pseudo.FUNC, imm=distance), order)


def _patch_data(
    code: bytearray, function: Function, base: int, slots: Mapping[int, int], order: ByteOrder
) -> Iterator[ExternRef]:
    """Relocate the references to maps and global data; give back those to externs."""
    for ref in function.relocations:
        index = base + ref.insn
        if isinstance(ref, MapRef | DataRef) and ref.map not in slots:
            raise UsageError(
                f"instruction {index} uses a map that is not to be created",
                hint="leave the program out as well",
            )
        if isinstance(ref, MapRef):
            insn = i.read(code, index, order)
            i.write(code, index, insn._replace(src=Pseudo.MAP_IDX, imm=slots[ref.map]), order)
        elif isinstance(ref, DataRef):
            insn = i.read(code, index, order)
            i.write(code, index, insn._replace(src=Pseudo.MAP_IDX_VALUE, imm=slots[ref.map]), order)
            i.set_imm(code, index + 1, ref.offset, order)
        elif isinstance(ref, ExternRef):
            yield ExternRef(index, ref.extern)


def _join(bases: Mapping[Function, int], table: str, order: ByteOrder) -> Records:
    """The records of all functions; none at all where the main program has none."""
    parts: list[tuple[Function, int, Records]] = [
        (function, base, getattr(function, table)) for function, base in bases.items()
    ]
    size = parts[0][2].size
    if not len(parts[0][2]):
        return Records(size)
    data = bytearray()
    for function, base, records in parts:
        with at(f"function '{function.name}'"):
            if not len(records):
                raise BadObject(f"BTF.ext has no {table}, though its callers have")
            data += records.moved(base, order).data
    return Records(size, bytes(data))


def _core_relos(bases: Mapping[Function, int], order: ByteOrder) -> Records:
    """The CO-RE relocations of all functions, their offsets in bytes of the whole program."""
    size = next(iter(bases)).core_relos.size
    data = bytearray()
    for function, base in bases.items():
        records = function.core_relos
        if len(records):
            size = records.size
            moved = bytearray(records.moved(base, order).data)
            for start in range(0, len(moved), size):
                insn = int.from_bytes(moved[start : start + 4], order)
                moved[start : start + 4] = (insn * i.SIZE).to_bytes(4, order)
            data += moved
    return Records(size, bytes(data))
