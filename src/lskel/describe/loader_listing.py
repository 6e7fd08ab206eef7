"""The listing of a loader program itself: its operations, and what it touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.disasm import Line, Names, disassemble
from lskel.bpf.enums import ProgType
from lskel.bpf.insn import Pseudo
from lskel.bpf.names import enum_name
from lskel.btf.ext import FUNC_INFO_SIZE, Records
from lskel.describe.listing import Listing, Row, bare_rows
from lskel.describe.places import Area, Place, Touch, touches
from lskel.describe.records import unpack
from lskel.describe.regions import BlobMap, context_field, heading
from lskel.describe.tables import tables
from lskel.loader.blob import RegionKind
from lskel.loader.lower import NO_SINGLE_OP
from lskel.loader.model import Bytes, Form, Loader
from lskel.loader.records import Code
from lskel.loader.table import walker
from lskel.loader.verify import undescribed

_BLOB_INDEX = 0
_OF_RECORD = f"{RegionKind.RECORDS.value}[i]."


def loader_listing(loader: Loader) -> Listing:
    """The loader program's instructions; behind them, in the table form, its records.

    Labels say what begins: an operation of the trace, a function, the code of a kind of records.
    Notes say what the instruction reads, writes or takes the address of: ``blob+1344 (attr of op 3:
    map_flags)``, ``ctx+24 (maps[0].map_fd)``, ``records[i].a``; ``[a]`` is what lies at the offset
    `a` of the blob, ``blob + a`` its address.
    """
    loader = undescribed(loader)
    blob = BlobMap(loader)
    rows = (*loader_code(loader, blob).rows, *tables(loader, blob))
    return Listing(loader.trace.name, "", enum_name(ProgType, ProgType.SYSCALL), rows, "")


class LoaderCode(NamedTuple):
    """A loader program's instructions; in the unrolled form, where each operation begins."""

    rows: tuple[Row, ...]
    begins: Mapping[int, int]


def loader_code(loader: Loader, blob: BlobMap) -> LoaderCode:
    """As `loader_listing`, without the records; `begins` is by the number of the operation."""
    order = loader.trace.order
    if loader.compared is Bytes.DIFFERENT:
        return LoaderCode(bare_rows(loader.insns, order), {})
    functions = _functions(loader)
    names = Names(map=_map, subprogram=functions.get)
    lines = list(disassemble(loader.insns, order, names))
    touched = touches(loader.insns, order)
    labels = dict(_labels(loader, lines, touched)) | functions
    rows = []
    begins: dict[int, int] = {}
    current = NO_SINGLE_OP
    for line in lines:
        touch = touched.get(line.index)
        begun = _begun(loader, line, touch)
        if begun is not None:
            current = begun
            begins[begun] = line.index
        note = "" if touch is None else _note(loader, blob, touch, current)
        label = labels.get(line.index, "")
        rows.append(Row(line.index, line.raw, line.text, label, note=note))
    return LoaderCode(tuple(rows), begins)


def _map(pseudo: Pseudo, number: int) -> str | None:
    return "blob" if pseudo is Pseudo.MAP_IDX_VALUE and number == _BLOB_INDEX else None


# -- labels -----------------------------------------------------------------------------------


def _functions(loader: Loader) -> dict[int, str]:
    """The functions by their first instruction; an unrolled loader has one, which needs no name."""
    if loader.form is not Form.TABLE:
        return {}
    info = unpack(Records(FUNC_INFO_SIZE, loader.func_info), "II", loader.trace.order)
    return {start: name for name, (start, _) in zip(walker.FUNCTIONS, info, strict=False)}


def _labels(
    loader: Loader, lines: list[Line], touched: dict[int, Touch]
) -> Iterator[tuple[int, str]]:
    """What begins at which instruction."""
    yield from _hand_over(loader, lines, touched)
    if loader.form is Form.TABLE:
        yield from _of_table(loader, lines)
    else:
        yield from _failure(loader, lines)
        yield from _of_unrolled(loader, lines, touched)


def _hand_over(
    loader: Loader, lines: list[Line], touched: dict[int, Touch]
) -> Iterator[tuple[int, str]]:
    """Only fds that are handed over are stored in the context."""
    insns = [i.read(line.raw, 0, loader.trace.order) for line in lines]
    for before, line, insn in zip(lines, lines[1:], insns[1:], strict=False):
        touch = touched.get(line.index)
        if touch and insn.op & 0x07 == i.STX and touch.place.area is Area.CONTEXT:
            yield before.index, "hand over"
            return


def _failure(loader: Loader, lines: list[Line]) -> Iterator[tuple[int, str]]:
    """It is behind the first exit."""
    insns = [i.read(line.raw, 0, loader.trace.order) for line in lines]
    ends = (line for line, insn in zip(lines[1:], insns, strict=False) if insn.op == i.OP_EXIT)
    if (first := next(ends, None)) is not None:
        yield first.index, "failure"


def _of_unrolled(
    loader: Loader, lines: list[Line], touched: dict[int, Touch]
) -> Iterator[tuple[int, str]]:
    """What comes before the first operation, but for setting up registers, is for all of them."""
    begun = {
        line.index: op
        for line in lines
        if (op := _begun(loader, line, touched.get(line.index))) is not None
    }
    accesses = (index for index, touch in touched.items() if touch.accesses)
    if begun and (first := next(accesses, min(begun))) < min(begun):
        yield first, heading(loader.trace, NO_SINGLE_OP)
    for index, op in begun.items():
        yield index, heading(loader.trace, op)


def _begun(loader: Loader, line: Line, touch: Touch | None) -> int | None:
    """The operation that an unrolled loader's instruction says is under way from here."""
    if loader.form is not Form.UNROLLED or touch is None:
        return None
    insn = i.read(line.raw, 0, loader.trace.order)
    sets = insn.op & 0x07 == i.ST and touch.place == Place(Area.BLOB, loader.status)
    return insn.imm if sets and 0 <= insn.imm < len(loader.trace.ops) else None


def _of_table(loader: Loader, lines: list[Line]) -> Iterator[tuple[int, str]]:
    """The walker compares nothing but the code of a record in its register.

    Behind the last of these jumps is what is done for another code. It ends with a jump to the end
    of all that can fail.
    """
    codes = {code.value: code.name for code in Code}
    behind = len(lines)
    insns = {line.index: i.read(line.raw, 0, loader.trace.order) for line in lines}
    for index, insn in insns.items():
        is_choice = insn.op == i.JMP | i.JEQ | i.K and insn.dst == walker.CODE
        if is_choice and insn.imm in codes:
            yield index + 1 + insn.off, codes[insn.imm]
            behind = index + 1
    yield behind, "bad record"
    jumps = (n for n, insn in insns.items() if n >= behind and insn.op == i.JMP | i.JA)
    if (jump := next(jumps, None)) is not None:
        yield jump + 1 + insns[jump].off, "settle"


# -- notes ------------------------------------------------------------------------------------


def _note(loader: Loader, blob: BlobMap, touch: Touch, op: int) -> str:
    area, offset, _ = touch.place
    text = f"{area.value}{offset:+d}"
    if area is Area.BLOB:
        return f"{text} ({blob.name(offset, op, whole=not touch.accesses)})"
    if area is Area.CONTEXT:
        return f"{text} ({context_field(loader.trace, offset)})" if touch.accesses else text
    if area is Area.ELEMENT:
        return blob.element(offset, whole=not touch.accesses)
    number = _number(blob, touch.place)
    return f"[{number}]" if touch.accesses else f"blob + {number}"


def _number(blob: BlobMap, pointed: Place) -> str:
    """The offset of what is pointed to: ``a``, ``b +4``."""
    kept = pointed.kept
    assert kept is not None
    if kept.area is Area.ELEMENT:
        text = blob.element(kept.offset, whole=False).removeprefix(_OF_RECORD)
    else:
        text = f"[{kept.area.value}{kept.offset:+d}]"
    return text + (f" {pointed.offset:+d}" if pointed.offset else "")
