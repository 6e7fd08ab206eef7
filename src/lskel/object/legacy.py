"""Maps of section `maps`: `struct bpf_map_def` of old libbpf, and iproute2's larger variant.

libbpf 1.0 removed these; some objects still use them.
"""

from __future__ import annotations

from dataclasses import replace

from lskel import budget
from lskel.catalog.entries import ANY_MACHINE, entries_on
from lskel.catalog.map_types import MAPS_OF_MAPS
from lskel.elf.format import SymbolType
from lskel.elf.object import Elf, Symbol
from lskel.errors import BadObject, at
from lskel.object.model import MapKind, MapSpec, Slot

SECTION = "maps"

# All begin with type, key size, value size and max_entries. The size distinguishes them. struct
# bpf_map_def: 20 bytes with map_flags, 28 with inner_map_idx and numa_node (the kernel's samples).
# struct bpf_elf_map (iproute2's bpf_elf.h): 36 bytes with flags, id, pinning, inner_id and
# inner_idx.
_FIELDS: dict[int, tuple[str, ...]] = {
    16: (),
    20: ("flags",),
    24: ("flags", "inner_map_idx"),
    28: ("flags", "inner_map_idx", "numa_node"),
    36: ("flags", "id", "pinning", "inner_id", "inner_idx"),
}
_HEAD = ("type", "key_size", "value_size", "max_entries")


def parse_legacy_maps(elf: Elf) -> tuple[MapSpec, ...]:
    """The maps of section `maps`, in the order of their offsets."""
    section = elf.section(SECTION)
    if section is None or not section.size:
        return ()
    with at(f"section {SECTION}"):
        symbols = sorted(
            (
                s
                for s in elf.symbols
                if s.section == section.number
                and s.name
                and s.type in (SymbolType.OBJECT, SymbolType.NOTYPE)
            ),
            key=lambda s: s.value,
        )
        if not symbols or section.size % len(symbols):
            raise BadObject(
                f"{section.size} bytes cannot be divided among {len(symbols)} map symbols"
            )
        size = section.size // len(symbols)
        if size not in _FIELDS:
            raise BadObject(
                f"unknown map definition of {size} bytes",
                hint=f"known sizes: {', '.join(map(str, _FIELDS))}",
            )
        content = elf.content(section)
        fields = [_read(elf, content, symbol, size) for symbol in symbols]
        return _link_inner(
            [_legacy_map(symbol, values) for symbol, values in zip(symbols, fields, strict=True)],
            fields,
        )


def _read(elf: Elf, content: bytes, symbol: Symbol, size: int) -> dict[str, int]:
    if symbol.value % size or symbol.value + size > len(content):
        raise BadObject(f"map '{symbol.name}' at offset {symbol.value:#x} is misplaced")
    names = _HEAD + _FIELDS[size]
    words = (
        int.from_bytes(content[at : at + 4], elf.order)
        for at in range(symbol.value, symbol.value + size, 4)
    )
    return dict(zip(names, words, strict=True))


def _legacy_map(symbol: Symbol, values: dict[str, int]) -> MapSpec:
    entries = values["max_entries"]
    return MapSpec(
        name=symbol.name,
        kind=MapKind.LEGACY,
        section=SECTION,
        offset=symbol.value,
        type=values["type"],
        key_size=values["key_size"],
        value_size=values["value_size"],
        max_entries=entries_on(values["type"], entries, ANY_MACHINE),
        flags=values.get("flags", 0),
        numa_node=values.get("numa_node", 0),
    )


def _link_inner(maps: list[MapSpec], fields: list[dict[str, int]]) -> tuple[MapSpec, ...]:
    """Set the inner map and slots of maps of maps: by index (samples) or by id (iproute2)."""
    linked = []
    by_id: dict[int, list[tuple[MapSpec, int]]] = {}
    for candidate, other in zip(maps, fields, strict=True):
        if other.get("id"):
            by_id.setdefault(other["id"], []).append((candidate, other["inner_idx"]))
    initial_values = budget.Allowance(budget.INNER_MAPS, "initial values of maps of maps")
    for outer, values in zip(maps, fields, strict=True):
        if outer.type not in MAPS_OF_MAPS:
            linked.append(outer)
            continue
        with at(f"map '{outer.name}'"):
            if "inner_id" in values:
                inner = by_id.get(values["inner_id"], [])
                initial_values.spend(len(inner))
                if not inner:
                    raise BadObject(f"no inner map with id {values['inner_id']}")
                template = inner[0][0]
                slots = tuple(
                    Slot(index, candidate.name) for candidate, index in inner if index != 0xFFFFFFFF
                )
            elif "inner_map_idx" not in values:
                linked.append(outer)  # the inner map must be set before loading
                continue
            else:
                index = values["inner_map_idx"]
                if index >= len(maps) or maps[index] is outer:
                    raise BadObject(f"no inner map with index {index}")
                template, slots = maps[index], ()
            linked.append(
                replace(
                    outer,
                    inner=replace(template, name=f"{outer.name}.inner"),
                    slots=tuple(sorted(slots, key=lambda slot: slot.key)),
                )
            )
    return tuple(linked)
