"""Settings of a load that a loader does not take from its context: they are written to its blob.

The attrs of its calls are data in the blob, which is written for each load. So a map's type, its
sizes and flags, or a program's type and attach target are changed there, whatever the loader's
form; its instructions stay the same.
"""

from __future__ import annotations

from lskel.bpf import insn as i
from lskel.bpf.attr import load
from lskel.bpf.layouts import MAP_CREATE, PROG_LOAD
from lskel.bpf.poison import NO_MAP
from lskel.bpf.settable import MAP_FIELDS, PROG_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lskel.bpf.layouts import Layout
    from lskel.cursor import ByteOrder
    from lskel.runtime.places import Places
    from lskel.runtime.request import Request

_IN_CODE = (i.Pseudo.MAP_IDX, i.Pseudo.MAP_IDX_VALUE)


def with_settings(
    blob: bytes,
    places: Places,
    request: Request,
    order: ByteOrder,
    address_of: Callable[[bytes | bytearray], int],
) -> bytes:
    """The blob for a request; `address_of` as for `build_context`."""
    made = bytearray(blob)

    def put(offset: int, layout: Layout, fields: Mapping[str, int]) -> None:
        for field, value in fields.items():
            start, size = layout[field]
            at = offset + start
            made[at : at + size] = value.to_bytes(size, order)

    missing = request.uncreated
    for asked, place in zip(request.maps, places.maps, strict=True):
        put(place.attr, MAP_CREATE, _named(asked.attr, MAP_FIELDS))
        put(place.inner, MAP_CREATE, _named(asked.inner, MAP_FIELDS))
    for program, at in zip(request.programs, places.programs, strict=True):
        if not at.attr:
            continue
        put(at.attr, PROG_LOAD, _named(program.attr, PROG_FIELDS))
        if program.target is not None:
            fd, btf_id = program.target
            put(at.attr, PROG_LOAD, {"attach_btf_id": btf_id, "attach_prog_fd": fd})
        if program.log is not None:
            put(at.attr, PROG_LOAD, {"log_level": program.log_level, "log_size": len(program.log)})
            put(at.attr, PROG_LOAD, {"log_buf": address_of(program.log)})
        if missing:
            size = i.SIZE * load(made[at.attr :], PROG_LOAD, "insn_cnt", order)
            code = slice(at.insns, at.insns + size)
            made[code] = without_maps(made[code], missing, order)
    return bytes(made)


def _named(settings: Mapping[str, int], fields: Mapping[str, str]) -> dict[str, int]:
    return {fields[name]: value for name, value in settings.items()}


def without_maps(code: bytes | bytearray, missing: frozenset[int], order: ByteOrder) -> bytes:
    """A program's code, in which instructions that refer to these maps cannot be run."""
    made = bytearray(code)
    for at in i.find(code, i.OP_LD_IMM64):
        insn = i.read(code, at, order)
        if insn.src in _IN_CODE and insn.imm in missing:
            poison = i.Insn(i.OP_CALL, 0, 0, 0, NO_MAP + insn.imm)
            i.write(made, at, poison, order)
            i.write(made, at + 1, poison, order)
    return bytes(made)
