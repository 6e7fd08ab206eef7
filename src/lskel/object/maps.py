"""BTF-defined maps in section .maps.

Each variable is a struct whose members define the map: `__uint(name, n)` is a pointer to an array
of n ints, `__type(name, t)` a pointer to t, `__array(name, t)` an array of pointers; `__ulong(name,
n)` is an enum with one enumerator of value n. Source: the kernel's Documentation/bpf/libbpf, and
bpf_helpers.h for the macros.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lskel.bpf.enums import MapType
from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.btf.types import TypeId
from lskel.catalog.entries import ANY_MACHINE, entries_on
from lskel.catalog.map_types import FD_SIZE, MAPS_OF_MAPS
from lskel.elf.object import Elf
from lskel.elf.reader import Section
from lskel.errors import BadObject, NotSupported, at
from lskel.object.functions import FunctionLayout
from lskel.object.model import MapKind, MapSpec, Pinning, Slot

SECTION = ".maps"
# Ring buffers are a power of two of pages; this is the smallest page size.


@dataclass(slots=True)
class _Definition:
    """The parsed members of a map's struct."""

    btf: Btf
    is_inner: bool
    numbers: dict[str, int] = field(default_factory=dict)
    key_type: TypeId = t.VOID
    value_type: TypeId = t.VOID
    inner: _Definition | None = None
    values_offset: int | None = None

    def set_size(self, name: str, size: int) -> None:
        """Sizes may be set twice, by size and by type, but must be equal."""
        known = self.numbers.get(name)
        if known is not None and known != size:
            raise BadObject(f"conflicting {name}: {known} and {size}")
        self.numbers[name] = size


def parse_maps(elf: Elf, btf: Btf | None, layout: FunctionLayout) -> tuple[MapSpec, ...]:
    """The BTF-defined maps, in the order of their offsets in .maps."""
    section = elf.section(SECTION)
    if section is None or not section.size:
        return ()
    with at(f"section {SECTION}"):
        if btf is None:
            raise BadObject("maps are defined, but the object has no BTF", hint="compile with -g")
        datasec_id = btf.find(SECTION, t.Datasec)
        if datasec_id is None:
            raise BadObject("maps are defined, but BTF has no DATASEC .maps")
        known: dict[TypeId, _Definition] = {}
        parsed = [
            _parse_map(btf, var, section, known) for var in btf.get(datasec_id, t.Datasec).vars
        ]
        return _with_slots(elf, layout, section, parsed)


def _parse_map(
    btf: Btf, info: t.VarSecinfo, section: Section, known: dict[TypeId, _Definition]
) -> tuple[MapSpec, _Definition, int]:
    """A map with its definition and size; `known` are the parsed definitions by struct."""
    var = btf.get(info.type, t.Var)
    with at(f"map '{var.name}'"):
        if not var.name:
            raise BadObject(f"variable at offset {info.offset:#x} has no name")
        if info.offset + info.size > section.size:
            raise BadObject(
                f"{info.offset:#x}+{info.size:#x} is outside the section's {section.size:#x} bytes"
            )
        if var.linkage != t.VarLinkage.GLOBAL_ALLOCATED:
            raise BadObject("the variable is not global", hint="is it declared `static`?")
        struct_id = btf.resolve(var.type)
        struct = btf.get(struct_id, t.StructType)
        if struct.size > info.size:
            raise BadObject(f"the struct has {struct.size} bytes, the variable {info.size}")
        definition = known.get(struct_id)
        if definition is None:
            definition = known[struct_id] = _parse_struct(btf, struct, is_inner=False)
        user_map = _to_map(var.name, info.offset, definition)
        if definition.inner is not None:
            template = _to_map(f"{var.name}.inner", info.offset, definition.inner)
            if template.type == MapType.PERF_EVENT_ARRAY and not template.max_entries:
                # The number of CPUs, not known here; for an inner map it does not matter.
                template = replace(template, max_entries=1)
            user_map = replace(user_map, inner=template)
        return user_map, definition, info.size


def _parse_struct(btf: Btf, struct: t.StructType, *, is_inner: bool) -> _Definition:
    definition = _Definition(btf, is_inner)
    for number, member in enumerate(struct.members):
        with at(f"field '{member.name}'"):
            if definition.values_offset is not None:
                raise BadObject("'values' must be the last field")
            parse = _FIELDS.get(member.name)
            if parse is None:
                raise NotSupported(f"unknown field {number}", hint=f"known: {', '.join(_FIELDS)}")
            parse(definition, member)
    if not definition.numbers.get("type"):
        raise BadObject("its type is missing", hint="add __uint(type, BPF_MAP_TYPE_...)")
    return definition


def _number(definition: _Definition, member: t.BtfMember) -> int:
    btf = definition.btf
    declared = btf[btf.resolve(member.type)]
    if isinstance(declared, t.Enum) and len(declared.values) == 1:  # __ulong(name, n)
        return declared.values[0][1]
    pointer = btf.get(btf.resolve(member.type), t.Ptr)
    array = btf.get(btf.resolve(pointer.type), t.ArrayType)
    return array.nelems


def _parse_number(definition: _Definition, member: t.BtfMember) -> None:
    number = _number(definition, member)
    limit = 64 if member.name == "map_extra" else 32
    if not 0 <= number < 1 << limit:
        raise BadObject(f"{number} does not fit into {limit} bits")
    definition.numbers[member.name] = number


def _parse_size(definition: _Definition, member: t.BtfMember) -> None:
    definition.set_size(member.name, _number(definition, member))


def _parse_pinning(definition: _Definition, member: t.BtfMember) -> None:
    value = _number(definition, member)
    if definition.is_inner:
        raise NotSupported("an inner map cannot be pinned")
    if value not in (Pinning.NONE.value, Pinning.BY_NAME.value):
        raise BadObject(f"expected LIBBPF_PIN_NONE or LIBBPF_PIN_BY_NAME, got {value}")
    definition.numbers[member.name] = value


def _parse_key(definition: _Definition, member: t.BtfMember) -> None:
    definition.key_type = _pointee(definition, member)
    definition.set_size("key_size", definition.btf.size_of(definition.key_type))


def _parse_value(definition: _Definition, member: t.BtfMember) -> None:
    definition.value_type = _pointee(definition, member)
    definition.set_size("value_size", definition.btf.size_of(definition.value_type))


def _pointee(definition: _Definition, member: t.BtfMember) -> TypeId:
    btf = definition.btf
    type_id = btf.get(member.type, t.Ptr).type
    found = btf[btf.resolve(type_id)]
    # The kernel refuses pointers to them.
    if isinstance(found, t.Datasec | t.Var):
        raise BadObject(f"{found.kind.name} '{found.name}' is not a value type")
    return type_id


def _parse_values(definition: _Definition, member: t.BtfMember) -> None:
    btf, map_type = definition.btf, definition.numbers.get("type", 0)
    if definition.is_inner:
        raise NotSupported("only one level of map nesting is supported")
    if map_type not in MAPS_OF_MAPS and map_type != MapType.PROG_ARRAY:
        raise NotSupported("only maps of maps and prog arrays have initial values")
    definition.set_size("value_size", FD_SIZE)
    definition.values_offset = member.bit_offset // 8
    array = btf.get(btf.resolve(member.type), t.ArrayType)
    if array.nelems:
        raise BadObject(
            f"expected an array without elements, got {array.nelems}", hint="use __array()"
        )
    pointer = btf.get(btf.resolve(array.type), t.Ptr)
    target = btf.resolve(pointer.type)
    if map_type == MapType.PROG_ARRAY:
        btf.get(target, t.FuncProto)
    else:
        definition.inner = _parse_struct(btf, btf.get(target, t.StructType), is_inner=True)


_FIELDS: dict[str, Callable[[_Definition, t.BtfMember], None]] = {
    "type": _parse_number,
    "max_entries": _parse_number,
    "map_flags": _parse_number,
    "numa_node": _parse_number,
    "map_extra": _parse_number,
    "pinning": _parse_pinning,
    "key_size": _parse_size,
    "key": _parse_key,
    "value_size": _parse_size,
    "value": _parse_value,
    "values": _parse_values,
}


def _to_map(name: str, offset: int, definition: _Definition) -> MapSpec:
    numbers = definition.numbers
    map_type = numbers["type"]
    max_entries = numbers.get("max_entries", 0)
    return MapSpec(
        name=name,
        kind=MapKind.USER,
        section=SECTION,
        offset=offset,
        type=map_type,
        key_size=numbers.get("key_size", 0),
        value_size=numbers.get("value_size", 0),
        max_entries=entries_on(map_type, max_entries, ANY_MACHINE),
        flags=numbers.get("map_flags", 0),
        numa_node=numbers.get("numa_node", 0),
        map_extra=numbers.get("map_extra", 0),
        key_type=definition.key_type,
        value_type=definition.value_type,
        pinning=Pinning(numbers.get("pinning", 0)),
    )


def _with_slots(
    elf: Elf,
    layout: FunctionLayout,
    section: Section,
    parsed: list[tuple[MapSpec, _Definition, int]],
) -> tuple[MapSpec, ...]:
    """Initial values of maps of maps and prog arrays: relocations against .maps."""
    slots: dict[str, dict[int, Slot]] = {}
    starts = [owner.offset for owner, _, _ in parsed]
    for table in elf.tables_of(section):
        content = elf.content(section)
        for rel, symbol in elf.relocations(table):
            with at(f"relocation at {rel.offset:#x} against '{symbol.name}'"):
                before = bisect_right(starts, rel.offset)
                owner, index = _slot_place(parsed[max(before - 1, 0) : before], rel.offset)
                addend = content[rel.offset : rel.offset + POINTER_SIZE]
                name = layout.named(symbol, int.from_bytes(addend, elf.order))
                if not name:
                    raise BadObject("its symbol has no name", hint="is the target `static`?")
                slots.setdefault(owner.name, {})[index] = Slot(index, name)
    names = {user_map.name for user_map, _, _ in parsed}
    for owner, _, _ in parsed:
        for slot in slots.get(owner.name, {}).values():
            if owner.type in MAPS_OF_MAPS and slot.name not in names:
                raise BadObject(f"map '{owner.name}': slot {slot.key}: no map '{slot.name}'")
    return tuple(
        replace(owner, slots=tuple(slot for _, slot in sorted(slots[owner.name].items())))
        if owner.name in slots
        else owner
        for owner, _, _ in parsed
    )


def _slot_place(parsed: list[tuple[MapSpec, _Definition, int]], offset: int) -> tuple[MapSpec, int]:
    """The map and the slot at `offset`; `parsed` is the map that starts before, if any."""
    owners = [
        (owner, definition)
        for owner, definition, size in parsed
        if offset + POINTER_SIZE <= owner.offset + size
    ]
    if not owners:
        raise BadObject("no map at this offset")
    owner, definition = owners[0]
    start = definition.values_offset
    distance = offset - owner.offset - (start or 0)
    if start is None or distance < 0 or distance % POINTER_SIZE:
        raise BadObject(f"offset {offset - owner.offset:#x} of map '{owner.name}' is not a slot")
    if owner.type == MapType.HASH_OF_MAPS and owner.key_size != FD_SIZE:
        raise NotSupported(
            f"hash of maps '{owner.name}' has keys of {owner.key_size} bytes",
            hint="initial values need keys of 4 bytes",
        )
    return owner, distance // POINTER_SIZE
