"""Maps of section `maps`: `struct bpf_map_def` of old libbpf, and iproute2's larger variant.

libbpf 1.0 removed these; some objects still use them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from lskel import budget
from lskel.bpf.enums import MapType
from lskel.catalog.entries import ANY_MACHINE, entries_on
from lskel.catalog.map_types import MAPS_OF_MAPS
from lskel.elf.format import SymbolType
from lskel.elf.object import Elf, Symbol
from lskel.errors import BadObject, at
from lskel.object.functions import FunctionLayout
from lskel.object.model import MapKind, MapSpec, Pinning, Slot

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
# iproute2's names of pins: one object's own, and all that have the name.
_PIN_OBJECT, _PIN_GLOBAL = 1, 2
_GLOBAL_PINS = "/sys/fs/bpf/tc/globals"
# A section whose program is a value of a prog array: the map's id, and the key.
_TAIL_CALL = re.compile("/".join([r"(0x[0-9a-fA-F]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9})"] * 2))
_HEAD = ("type", "key_size", "value_size", "max_entries")


class LegacyMaps(NamedTuple):
    """The maps of section `maps`, in the order of their offsets.

    `remarks` say what is not done as iproute2 does it.
    """

    maps: tuple[MapSpec, ...] = ()
    remarks: tuple[str, ...] = ()


def parse_legacy_maps(elf: Elf, layout: FunctionLayout) -> LegacyMaps:
    """What section `maps` defines, and what its ids mean for sections of programs."""
    section = elf.section(SECTION)
    if section is None or not section.size:
        return LegacyMaps()
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
        maps = _link_inner(
            [_legacy_map(symbol, values) for symbol, values in zip(symbols, fields, strict=True)],
            fields,
        )
    ids = [values.get("id", 0) for values in fields]
    pins = zip(symbols, (values.get("pinning", 0) for values in fields), strict=True)
    remarks = tuple(_pin_remark(symbol.name, value) for symbol, value in pins if value)
    return LegacyMaps(_with_tail_calls(elf, layout, maps, ids), remarks)


def _pin_remark(name: str, value: int) -> str:
    if value == _PIN_GLOBAL:
        return (
            f"map '{name}': pinning {value} (PIN_GLOBAL_NS) is a pin of its name in the pin root; "
            f"that of iproute2 is {_GLOBAL_PINS} (--pin-root)"
        )
    own = " (PIN_OBJECT_NS)" if value == _PIN_OBJECT else ""
    return f"map '{name}': pinning {value}{own} of iproute2 is not done: it is not pinned"


def _with_tail_calls(
    elf: Elf, layout: FunctionLayout, maps: tuple[MapSpec, ...], ids: Sequence[int]
) -> tuple[MapSpec, ...]:
    """The maps, with the programs of sections ``ID/KEY`` as values of prog arrays."""
    numbers = {id_: number for number, id_ in reversed(list(enumerate(ids))) if id_}
    slots: dict[int, dict[int, Slot]] = {}
    for index, places in layout.by_section.items():
        name = elf.sections[index].name
        match = _TAIL_CALL.fullmatch(name)
        if match is None or not numbers:
            continue
        map_id, key = map(_number, match.groups())
        number = numbers.get(map_id)
        if number is None or maps[number].type != MapType.PROG_ARRAY:
            raise BadObject(f"section {name}: no prog array has id {map_id}")
        if key >= 1 << 32:
            raise BadObject(f"section {name}: key {key} does not fit 32 bits")
        slots.setdefault(number, {})[key] = Slot(key, places[0].symbol.name)
    return tuple(
        replace(a_map, slots=tuple(slot for _, slot in sorted(slots[number].items())))
        if number in slots
        else a_map
        for number, a_map in enumerate(maps)
    )


def _number(text: str) -> int:
    """As C reads it: hexadecimal after 0x, octal after 0."""
    if text.startswith("0x"):
        return int(text, 16)
    return int(text, 8 if text.startswith("0") else 10)


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
        pinning=Pinning.BY_NAME if values.get("pinning") == _PIN_GLOBAL else Pinning.NONE,
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
