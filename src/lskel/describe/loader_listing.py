"""The listing of a loader program: its operations and its data accesses."""

from __future__ import annotations

from lskel.bpf.disasm import Names, disassemble
from lskel.bpf.enums import ProgType
from lskel.bpf.insn import Pseudo
from lskel.bpf.names import enum_name
from lskel.describe.listing import Listing, Row, bare_rows
from lskel.describe.regions import BlobMap, context_field, heading
from lskel.describe.tables import tables
from lskel.loader import records
from lskel.loader.blob import RegionKind
from lskel.loader.lower import NO_SINGLE_OP
from lskel.loader.model import Loader
from lskel.loader.notes import Area, Notes, Touch
from lskel.loader.verify import notes_of, undescribed

_BLOB_INDEX = 0
_RECORD = f"{RegionKind.RECORDS.value}[i]"
_RECORD_FIELDS = {
    records.CODE: "code",
    records.ARG: "arg",
    records.LENGTH: "size",
    records.A: "a",
    records.B: "b",
    records.C: "c",
}


def loader_listing(loader: Loader) -> Listing:
    """The loader program's instructions, in the table form followed by its records.

    Labels mark the start of an operation of the trace, a function, or the code of a record type.
    Notes name what the instruction reads, writes or takes the address of: ``blob+1344 (attr of op
    3: map_flags)``, ``ctx+24 (maps[0].map_fd)``, ``records[i].a``; ``[a]`` is the content at offset
    `a` of the blob, ``blob + a`` its address. Instructions that the trace does not generate have
    neither.
    """
    loader = undescribed(loader)
    blob = BlobMap(loader)
    rows = (*loader_rows(loader, blob, notes_of(loader)), *tables(loader, blob))
    return Listing(loader.trace.name, "", enum_name(ProgType, ProgType.SYSCALL), rows, "")


def loader_rows(loader: Loader, blob: BlobMap, notes: Notes | None) -> tuple[Row, ...]:
    """As `loader_listing`, without the records; without notes, not annotated."""
    order = loader.trace.order
    if notes is None:
        return bare_rows(loader.insns, order)
    labels = {
        insn: what if isinstance(what, str) else heading(loader.trace, what)
        for insn, what in notes.begins.items()
    }
    rows = []
    op = NO_SINGLE_OP
    for line in disassemble(loader.insns, order, Names(map=_map, subprogram=labels.get)):
        begun = notes.begins.get(line.index)
        op = begun if isinstance(begun, int) else op
        touch = notes.touches.get(line.index)
        note = "" if touch is None else _note(loader, blob, touch, op)
        rows.append(Row(line.index, line.raw, line.text, labels.get(line.index, ""), note=note))
    return tuple(rows)


def _map(pseudo: Pseudo, number: int) -> str | None:
    return "blob" if pseudo is Pseudo.MAP_IDX_VALUE and number == _BLOB_INDEX else None


def _note(loader: Loader, blob: BlobMap, touch: Touch, op: int) -> str:
    area, offset, accesses = touch
    if area is Area.RECORD:
        return f"{_RECORD}.{_RECORD_FIELDS[offset]}" if accesses else _RECORD
    if area is Area.POINTED:
        field = _RECORD_FIELDS[offset]
        return f"[{field}]" if accesses else f"blob + {field}"
    text = f"{area.value}{offset:+d}"
    if area is Area.BLOB:
        return f"{text} ({blob.name(offset, op, whole=not accesses)})"
    return f"{text} ({context_field(loader.trace, offset)})" if accesses else text
