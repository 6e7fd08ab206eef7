"""struct_ops maps: each variable of the sections .struct_ops and .struct_ops.link becomes one."""

from __future__ import annotations

from lskel.bpf.enums import MapType
from lskel.bpf.struct_ops import F_LINK, Member, StructOps
from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.btf.names import essential_name
from lskel.elf import Elf, Section, SymbolType
from lskel.errors import BadObject, NotSupported, at
from lskel.object.model import Map, MapKind

_NAMES = frozenset({".struct_ops", ".struct_ops.link"})
_OPTIONAL = "?"
_LINK = ".link"


def parse_struct_ops(elf: Elf, btf: Btf | None) -> tuple[Map, ...]:
    """One map a variable, in the order of the file.

    BadObject and NotSupported name section, map and member.
    """
    maps = []
    for section in elf.sections:
        if section.name.removeprefix(_OPTIONAL) in _NAMES and section.size:
            with at(f"section {section.name}"):
                maps += _parse_section(elf, btf, section)
    return tuple(maps)


def _parse_section(elf: Elf, btf: Btf | None, section: Section) -> list[Map]:
    datasec_id = btf.find(section.name, t.Datasec) if btf else None
    if btf is None or datasec_id is None:
        raise BadObject("its variables are not in BTF", hint="compile with -g")
    content = elf.content(section)
    programs = _programs(elf, section)
    maps = []
    for info in btf.get(datasec_id, t.Datasec).vars:
        var = btf.get(info.type, t.Var)
        with at(f"map '{var.name}'"):
            struct = btf[btf.resolve(var.type)]
            if not isinstance(struct, t.Struct) or not struct.name:
                raise BadObject("its variable is no struct with a name")
            if info.offset + struct.size > len(content):
                raise BadObject(f"it leaves the section's {len(content)} bytes")
            members = tuple(
                _parse_member(btf, member, info.offset, content, programs)
                for member in struct.members
            )
        maps.append(
            Map(
                name=var.name,
                kind=MapKind.STRUCT_OPS,
                section=section.name,
                offset=info.offset,
                type=MapType.STRUCT_OPS,
                key_size=4,
                value_size=0,
                max_entries=1,
                flags=F_LINK if section.name.endswith(_LINK) else 0,
                struct_ops=StructOps(essential_name(struct.name), members),
                autocreate=not section.name.startswith(_OPTIONAL),
            )
        )
    if programs:
        raise BadObject(f"the relocation at {min(programs):#x} is at no function pointer")
    return maps


def _programs(elf: Elf, section: Section) -> dict[int, str]:
    """The programs that function pointers are to name, by their offset in the section."""
    programs = {}
    for table in elf.sections:
        if table.name != f".rel{section.name}" or table.info != section.number:
            continue
        for rel, symbol in elf.relocations(table):
            if symbol.type != SymbolType.FUNC or not symbol.name:
                raise BadObject(
                    f"relocation at {rel.offset:#x} against '{symbol.name}', which is no function",
                    hint="members can point to programs only",
                )
            programs[rel.offset] = symbol.name
    return programs


def _parse_member(
    btf: Btf, member: t.Member, start: int, content: bytes, programs: dict[int, str]
) -> Member:
    """A member of the struct at `start`; takes the program that it names from `programs`."""
    with at(f"member '{member.name}'"):
        if member.bitfield_size or member.bit_offset % 8:
            raise NotSupported("bit fields are not known to struct_ops")
        offset = start + member.bit_offset // 8
        found = btf[btf.resolve(member.type)]
        is_function = isinstance(found, t.Ptr) and isinstance(
            btf[btf.resolve(found.type)], t.FuncProto
        )
        size = POINTER_SIZE if isinstance(found, t.Ptr) else btf.size_of(member.type)
        program = programs.pop(offset, None) if is_function else None
        return Member(member.name, content[offset : offset + size], is_function, program)
