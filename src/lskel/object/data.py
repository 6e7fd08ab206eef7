"""Global data: the sections .data, .rodata and .bss become maps with one element.

Data of an arena (``__arena``) is in a separate section, and becomes the start of the arena.
"""

from __future__ import annotations

from dataclasses import replace

from lskel.bpf.attr import NAME_LENGTH, object_name
from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.catalog.map_types import ARENA_SECTION
from lskel.elf.format import SectionType
from lskel.elf.object import Elf
from lskel.elf.reader import Section
from lskel.errors import BadObject, LimitExceeded, NotSupported, at
from lskel.object.model import MapKind, MapSpec

# The kernel refuses larger array elements (array_map_alloc_check in kernel/bpf/arraymap.c).
MAX_VALUE_SIZE = 0x7FFFFFFF
# libbpf reserves at least this much for the section name.
SUFFIX_LENGTH = 7

_KINDS = {
    (".data", SectionType.PROGBITS): MapKind.DATA,
    (".rodata", SectionType.PROGBITS): MapKind.RODATA,
    (".bss", SectionType.NOBITS): MapKind.BSS,
}


def data_kind(section: Section) -> MapKind | None:
    """The kind of a data section (`.data`, `.data.NAME` etc.); None for other sections."""
    if section.executable or not section.size:
        return None
    stem = "." + section.name[1:].split(".", 1)[0] if section.name.startswith(".") else ""
    for (name, kind), map_kind in _KINDS.items():
        if stem == name and section.type == kind:
            return map_kind
    return None


def internal_name(object_name_: str, section: str) -> str:
    """The map's name, as in libbpf and bpftool: object name and section, truncated to fit.

    `hello_world` and `.rodata` give `hello_wo.rodata`; `.data.custom` has no prefix and is not
    truncated here: the kernel truncates to 15 characters, so kernel names may be equal.
    """
    if "." in section[1:]:
        return section
    room = NAME_LENGTH - max(SUFFIX_LENGTH, len(section))
    return object_name(object_name_[: max(room, 0)] + section).decode()


def with_arena_data(elf: Elf, maps: tuple[MapSpec, ...]) -> tuple[MapSpec, ...]:
    """The maps, with the initial values of variables in the arena."""
    section = elf.section(ARENA_SECTION)
    if section is None or not section.size:
        return maps
    with at(f"section {ARENA_SECTION}"):
        arenas = [a_map for a_map in maps if a_map.type == MapType.ARENA]
        if len(arenas) != 1:
            raise BadObject(
                f"its variables need one arena, got {len(arenas)}",
                hint="define a map of type BPF_MAP_TYPE_ARENA",
            )
        table = elf.section(f".rel{ARENA_SECTION}")
        for rel, symbol in elf.relocations(table) if table is not None else ():
            raise NotSupported(
                f"the variable at {rel.offset:#x} is initialized with the address of "
                f"'{symbol.name}'",
                hint="that address is only known in the kernel: assign it in a program",
            )
        filled = replace(arenas[0], initial=elf.content(section))
    return tuple(filled if a_map is arenas[0] else a_map for a_map in maps)


def parse_data(elf: Elf, btf: Btf | None, name: str) -> tuple[MapSpec, ...]:
    """One map per data section, in file order."""
    maps = []
    for section in elf.sections:
        kind = data_kind(section)
        if kind is not None:
            with at(f"section {section.name}"):
                maps.append(_data_map(elf, btf, name, section, kind))
    return tuple(maps)


def _data_map(elf: Elf, btf: Btf | None, name: str, section: Section, kind: MapKind) -> MapSpec:
    if section.size > MAX_VALUE_SIZE:
        raise LimitExceeded(
            f"{section.size} bytes of global data, the kernel accepts at most {MAX_VALUE_SIZE}",
            limit=MAX_VALUE_SIZE,
            actual=section.size,
        )
    # Sections of string literals, such as .rodata.str1.1, have no DATASEC.
    datasec = btf.find(section.name, t.Datasec) if btf else None
    return MapSpec(
        name=internal_name(name, section.name),
        kind=kind,
        section=section.name,
        offset=0,
        type=MapType.ARRAY,
        key_size=4,
        value_size=section.size,
        max_entries=1,
        flags=(MapFlag.MMAPABLE if btf and datasec and _is_shared(btf, datasec) else 0)
        | (MapFlag.RDONLY_PROG if kind is MapKind.RODATA else 0),
        value_type=datasec or t.VOID,
        initial=elf.content(section),
    )


def _is_shared(btf: Btf, datasec: t.TypeId) -> bool:
    """Whether user space may see a variable of the section: one that is not static."""
    variables = (btf[info.type] for info in btf.get(datasec, t.Datasec).vars)
    return any(isinstance(v, t.Var) and v.linkage != t.VarLinkage.STATIC for v in variables)
