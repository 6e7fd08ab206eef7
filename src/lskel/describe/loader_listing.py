"""The listing of a loader program itself: its operations, and what it touches."""

from __future__ import annotations

from lskel.bpf import insn as i
from lskel.bpf.disasm import Names, disassemble
from lskel.bpf.enums import ProgType
from lskel.bpf.insn import Pseudo
from lskel.bpf.names import enum_name
from lskel.describe.listing import Listing, Row
from lskel.describe.places import Area, Touch, touches
from lskel.describe.regions import BlobMap, context_field, operation
from lskel.loader import unrolled
from lskel.loader.model import Form, Loader

_NO_OP = -1
# In which register a form keeps the number of the operation under way.
_OP_REGISTER = {Form.UNROLLED: unrolled.OP}
_BLOB_INDEX = 0


def loader_listing(loader: Loader) -> Listing:
    """The loader program's instructions.

    Labels say which operation of the trace begins. Notes say what the instruction reads, writes or
    takes the address of: ``blob+1344 (attr of op 3: map_flags)``, ``ctx+24 (maps[0].map_fd)``.
    """
    order = loader.trace.order
    touched = touches(loader.insns, order)
    blob = BlobMap(loader)
    rows = []
    current = _NO_OP
    for line in disassemble(loader.insns, order, Names(map=_map)):
        begins = _begun(loader, line.raw)
        current = current if begins is None else begins
        touch = touched.get(line.index)
        rows.append(
            Row(
                line.index,
                line.raw,
                line.text,
                "" if begins is None else f"op {begins}: {operation(loader.trace, begins)}",
                note="" if touch is None else _note(loader, blob, touch, current),
            )
        )
    return Listing(loader.trace.name, "", enum_name(ProgType, ProgType.SYSCALL), tuple(rows), "")


def _map(pseudo: Pseudo, number: int) -> str | None:
    return "blob" if pseudo is Pseudo.MAP_IDX_VALUE and number == _BLOB_INDEX else None


def _begun(loader: Loader, raw: bytes) -> int | None:
    """The operation that the instruction says is under way from here."""
    insn = i.read(raw, 0, loader.trace.order)
    sets = insn.op == i.ALU64 | i.MOV | i.K and insn.dst == _OP_REGISTER.get(loader.form)
    return insn.imm if sets and 0 <= insn.imm < len(loader.trace.ops) else None


def _note(loader: Loader, blob: BlobMap, touch: Touch, op: int) -> str:
    area, offset = touch.place
    text = f"{area.value}{offset:+d}"
    if area is Area.BLOB:
        return f"{text} ({blob.describe(touch, op)})"
    return f"{text} ({context_field(loader.trace, offset)})" if touch.accesses else text
