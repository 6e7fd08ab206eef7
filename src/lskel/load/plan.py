"""The Trace of an Object: BTF, maps with their values, programs, and what is closed again."""

from __future__ import annotations

from collections.abc import Mapping

from lskel.bpf.enums import ProgType
from lskel.errors import NotSupported, at
from lskel.load.link import Linked, link
from lskel.object.maps import FD_SIZE, MAP_IN_MAP, WITHOUT_BTF
from lskel.object.model import Function, Map, Object, Program
from lskel.trace import (
    BtfFind,
    BtfLoad,
    Close,
    MapCreate,
    MapFreeze,
    MapResult,
    MapUpdate,
    Op,
    ProgLoad,
    ProgramResult,
    Ref,
    Trace,
)

# uapi/linux/bpf.h, flags of BPF_PROG_LOAD.
F_SLEEPABLE = 1 << 4
F_XDP_HAS_FRAGS = 1 << 5


def plan(obj: Object) -> Trace:
    """The operations in the order in which libbpf makes them.

    NotSupported where the object needs what lskel cannot load yet, BadObject where linking finds
    a contradiction; both name program and symbol.
    """
    if obj.struct_ops:
        raise NotSupported(f"struct_ops map '{obj.struct_ops[0]}' is not supported yet")
    linked = _link_programs(obj)
    builder = _Builder(obj)
    builder.maps()
    builder.programs(linked)
    return builder.finish()


def _link_programs(obj: Object) -> list[Linked | None]:
    subprograms: Mapping[int, Function] = {f.start: f for f in obj.subprograms}
    linked: list[Linked | None] = []
    for program in obj.programs:
        if not program.autoload:
            linked.append(None)
            continue
        with at(f"program '{program.name}'"):
            _refuse_unsupported(program)
            result = link(program.function, subprograms, obj.order)
            for ref in result.externs:
                extern = obj.externs[ref.extern]
                raise NotSupported(
                    f"instruction {ref.insn} uses {extern.kind.value} '{extern.name}'; "
                    "externs are not supported yet"
                )
        linked.append(result)
    return linked


def _refuse_unsupported(program: Program) -> None:
    spec = program.spec
    if spec.prog_type == ProgType.UNSPEC:
        raise NotSupported(
            f"section name '{spec.name}' gives no program type",
            hint='use a name that libbpf knows, such as SEC("xdp") or SEC("tp/CATEGORY/NAME")',
        )
    if spec.prog_type == ProgType.EXT:
        raise NotSupported("freplace programs are not supported yet")
    if spec.btf_target is not None and not spec.target:
        raise NotSupported(
            f"section name '{spec.name}' names no attach target",
            hint=f'name it: SEC("{spec.name}/FUNCTION")',
        )


class _Builder:
    """Appends operations and remembers where each map was made."""

    def __init__(self, obj: Object) -> None:
        self.obj = obj
        self.ops: list[Op] = []
        self.map_refs: dict[str, Ref] = {}
        self.program_ops: list[int | None] = []
        self.btf = self.add(BtfLoad(obj.btf.raw)) if obj.btf else None

    def add(self, op: Op) -> Ref:
        self.ops.append(op)
        return Ref(len(self.ops) - 1)

    def maps(self) -> None:
        """Create the maps in order, each with its values as soon as these can be written."""
        unfilled: list[Map] = []
        for slot, a_map in enumerate(self.obj.maps):
            with at(f"section {a_map.section}", f"map '{a_map.name}'"):
                self.create(a_map, slot)
                if a_map.slots and a_map.type not in MAP_IN_MAP:
                    raise NotSupported("initial slots of prog arrays are not supported yet")
            if a_map.slots:
                unfilled.append(a_map)
            for outer in [m for m in unfilled if all(s.name in self.map_refs for s in m.slots)]:
                self.fill(outer)
                unfilled.remove(outer)

    def create(self, a_map: Map, slot: int) -> None:
        inner = None
        # A map of maps without a template is refused by the kernel, not here, as with libbpf.
        if a_map.type in MAP_IN_MAP and a_map.inner is not None:
            inner = self.add(self.map_create(a_map.inner, None, None))
        ref = self.add(self.map_create(a_map, inner, slot))
        self.map_refs[a_map.name] = ref
        if inner is not None:
            self.add(Close(inner))
        if a_map.initial is not None:
            self.add(MapUpdate(ref, 0, a_map.initial, a_map.value_size, initial=True))
            if a_map.is_frozen:
                self.add(MapFreeze(ref))

    def map_create(self, a_map: Map, inner: Ref | None, slot: int | None) -> MapCreate:
        typed = self.btf is not None and a_map.type not in WITHOUT_BTF
        return MapCreate(
            name=a_map.name,
            type=a_map.type,
            key_size=a_map.key_size,
            value_size=a_map.value_size,
            max_entries=a_map.max_entries,
            flags=a_map.flags,
            numa_node=a_map.numa_node,
            map_extra=a_map.map_extra,
            btf=self.btf if typed and a_map.value_type else None,
            # A key's type alone is nothing that the kernel takes.
            key_type=a_map.key_type if typed and a_map.value_type else 0,
            value_type=a_map.value_type if typed else 0,
            inner=inner,
            slot=slot,
        )

    def fill(self, outer: Map) -> None:
        for slot in outer.slots:
            inner = self.map_refs[slot.name]
            self.add(MapUpdate(self.map_refs[outer.name], slot.key, inner, FD_SIZE, initial=False))

    def programs(self, linked: list[Linked | None]) -> None:
        for slot, (program, result) in enumerate(zip(self.obj.programs, linked, strict=True)):
            self.program_ops.append(None if result is None else self.load(program, result, slot).op)

    def load(self, program: Program, linked: Linked, slot: int) -> Ref:
        spec = program.spec
        attach = None
        if spec.btf_target is not None:
            attach = self.add(BtfFind(spec.btf_target.prefix + spec.target, spec.btf_target.kind))
        ref = self.add(
            ProgLoad(
                name=program.name,
                type=spec.prog_type,
                expected_attach_type=spec.attach_type or 0,
                flags=(F_SLEEPABLE if spec.sleepable else 0)
                | (F_XDP_HAS_FRAGS if spec.xdp_frags else 0),
                license=self.obj.license,
                insns=linked.insns,
                btf=self.btf,
                func_info=linked.func_info,
                line_info=linked.line_info,
                core_relos=linked.core_relos,
                attach_btf=attach,
                slot=slot,
            )
        )
        if attach is not None:
            self.add(Close(attach))
        return ref

    def finish(self) -> Trace:
        if self.btf is not None:
            self.add(Close(self.btf))
        return Trace(
            name=self.obj.name,
            order=self.obj.order,
            ops=tuple(self.ops),
            maps=tuple(
                MapResult(m.name, m.section, self.map_refs[m.name].op) for m in self.obj.maps
            ),
            programs=tuple(
                ProgramResult(p.name, p.spec.name, op)
                for p, op in zip(self.obj.programs, self.program_ops, strict=True)
            ),
        )
