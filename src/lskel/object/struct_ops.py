"""struct_ops maps: one per variable of the sections .struct_ops and .struct_ops.link."""

from __future__ import annotations

from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.flags import MapFlag
from lskel.bpf.struct_ops import Member, StructOps
from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.btf.layout import bitfield
from lskel.btf.names import essential_name
from lskel.elf.format import SymbolType
from lskel.elf.object import Elf, Symbol
from lskel.elf.reader import Section
from lskel.errors import BadObject, LimitExceeded, NotSupported, at
from lskel.object.functions import TEXT
from lskel.object.model import MapKind, MapSpec
from lskel.object.sections import parse_section

_NAMES = frozenset({".struct_ops", ".struct_ops.link"})
_OPTIONAL = "?"
_LINK = ".link"
_KEY_SIZE = 4
# Maximum number of members of a struct that programs implement (BPF_STRUCT_OPS_MAX_NR_MEMBERS in
# include/linux/bpf.h, Linux 6.18).
MAX_MEMBERS = 64


def parse_struct_ops(elf: Elf, btf: Btf | None) -> tuple[MapSpec, ...]:
    """One map per variable, in file order of sections, then by offset.

    BadObject and NotSupported name section, map and member.
    """
    maps = []
    for section in elf.sections:
        if section.name.removeprefix(_OPTIONAL) in _NAMES and section.size:
            with at(f"section {section.name}"):
                if elf.section(section.name) is not section:
                    raise BadObject("two sections have this name")
                maps += _parse_section(elf, btf, section)
    return tuple(maps)


def _parse_section(elf: Elf, btf: Btf | None, section: Section) -> list[MapSpec]:
    datasec_id = btf.find(section.name, t.Datasec) if btf else None
    if btf is None or datasec_id is None:
        raise BadObject("its variables are not in BTF", hint="compile with -g")
    content = elf.content(section)
    pointers = _pointers(elf, section)
    maps = []
    for info in btf.get(datasec_id, t.Datasec).vars:
        var = btf.get(info.type, t.Var)
        with at(f"map '{var.name}'"):
            struct = btf[btf.resolve(var.type)]
            if not isinstance(struct, t.StructType) or not struct.name:
                raise BadObject("the variable is not a named struct")
            if len(struct.members) > MAX_MEMBERS:
                raise LimitExceeded(
                    f"struct {struct.name} has {len(struct.members)} members, the kernel accepts "
                    f"{MAX_MEMBERS}",
                    limit=MAX_MEMBERS,
                    actual=len(struct.members),
                )
            if info.offset + struct.size > len(content):
                raise BadObject(f"it exceeds the section of {len(content)} bytes")
            members = tuple(
                _parse_member(elf, btf, member, info.offset, content, pointers)
                for member in struct.members
            )
        maps.append(
            MapSpec(
                name=var.name,
                kind=MapKind.STRUCT_OPS,
                section=section.name,
                offset=info.offset,
                type=MapType.STRUCT_OPS,
                key_size=_KEY_SIZE,
                value_size=0,
                max_entries=1,
                flags=MapFlag.LINK if section.name.endswith(_LINK) else 0,
                struct_ops=StructOps(essential_name(struct.name), members),
                autocreate=not section.name.startswith(_OPTIONAL),
            )
        )
    if pointers:
        offset = min(pointers)
        raise BadObject(
            f"relocation at {offset:#x} against '{pointers[offset].name}': no member at this offset"
        )
    return maps


def _pointers(elf: Elf, section: Section) -> dict[int, Symbol]:
    """The targets of the section's pointers, by offset."""
    return {
        rel.offset: symbol
        for table in elf.tables_of(section)
        for rel, symbol in elf.relocations(table)
    }


def _parse_member(
    elf: Elf, btf: Btf, member: t.BtfMember, start: int, content: bytes, pointers: dict[int, Symbol]
) -> Member:
    """A member of the struct at `start`; removes its target from `pointers`."""
    with at(f"member '{member.name}'"):
        if bitfield(btf, member) is not None:
            raise NotSupported("bit-fields are not supported in struct_ops")
        offset = start + member.bit_offset // 8
        found = btf[btf.resolve(member.type)]
        is_function = isinstance(found, t.Ptr) and isinstance(
            btf[btf.resolve(found.type)], t.FuncProto
        )
        size = POINTER_SIZE if isinstance(found, t.Ptr) else btf.size_of(member.type)
        value = content[offset : offset + size]
        target = pointers.pop(offset, None)
        if target is None:
            if is_function and any(value):
                raise BadObject("it is an address, expected a program")
            return Member(member.name, value, is_function, None)
        with at(f"relocation against '{target.name}'"):
            if not is_function:
                raise BadObject("the member is not a function pointer")
            return Member(member.name, value, is_function, _program(elf, target))


def _program(elf: Elf, symbol: Symbol) -> str:
    section = elf.sections[symbol.section] if symbol.section < len(elf.sections) else None
    if (
        symbol.type != SymbolType.FUNC
        or section is None
        or not section.executable
        or section.name == TEXT
    ):
        raise BadObject("it is not a program", hint='programs have a section: SEC("struct_ops")')
    # If the section name has no type, the user may set it.
    if parse_section(section.name).prog_type not in (ProgType.STRUCT_OPS, ProgType.UNSPEC):
        raise BadObject(f"a program of section {section.name} is not a struct_ops program")
    return symbol.name
