"""The Trace of an Object: BTF, maps with their values, programs, and temporary fds to close."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.digest import program_digest
from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.flags import ProgFlag
from lskel.bpf.insn import CallKind, Pseudo
from lskel.bpf.struct_ops import VALUE_PREFIX, Member
from lskel.btf.kinds import Kind
from lskel.btf.names import essential_name
from lskel.btf.shape import Shapes
from lskel.btf.types import VOID, Func
from lskel.catalog.attach_kinds import AttachCall, attach_kind_row
from lskel.catalog.map_types import (
    FD_SIZE,
    INDEX_SIZE,
    INSN_ENTRY_SIZE,
    MAPS_OF_MAPS,
    WITHOUT_BTF,
)
from lskel.cursor import ByteOrder
from lskel.errors import BadObject, LskelError, NotSupported, UsageError, at
from lskel.load_phase.btf_use import for_kernel, map_may_lack_btf, needed_by
from lskel.load_phase.events import buffers
from lskel.load_phase.link import JumpTable, Linked, Linker
from lskel.load_phase.untyped import is_untyped, untyped
from lskel.object.externs import declaration
from lskel.object.model import (
    Extern,
    ExternKind,
    MapKind,
    MapSpec,
    Object,
    Pinning,
    ProgramSpec,
)
from lskel.object.relocations import JUMP_TABLES
from lskel.trace import (
    Arena,
    AttachBtfId,
    AttachFd,
    BtfFind,
    BtfLoad,
    Close,
    ExternReloc,
    Guard,
    Input,
    InputKind,
    KconfigResult,
    KsymFind,
    LinkCreate,
    LinkResult,
    MapCreate,
    MapFreeze,
    MapResult,
    MapUpdate,
    MemberIndex,
    Op,
    ProgLoad,
    ProgramResult,
    RawTracepointOpen,
    Ref,
    StructOpsResult,
    Subject,
    Trace,
    TypeMismatch,
    TypeSize,
)

# Symbols at address 0 in x86-64 kernels before 6.15, which bpf_kallsyms_lookup_name reports as
# missing: 0 is the correct result then.
_AT_ZERO = frozenset({"__per_cpu_start"})
# Programs that attach to the target they were loaded for, without other arguments.
_CALLS = (AttachCall.LOADED_FOR, AttachCall.ITERATOR)


def plan(obj: Object, *, attach: bool = False) -> Trace:
    """The operations, in the order of libbpf.

    With `attach`, the last operations attach programs that need nothing from user space: fentry
    etc., tp_btf, lsm, iterators. (The kernel reads the names of raw tracepoints from user space.)

    NotSupported if the type of a program is unknown, BadObject if linking fails; both name program
    and symbol.
    """
    obj = _with_struct_ops(obj)
    linked = _link_programs(obj)
    builder = _Builder(obj, linked)
    builder.maps()
    builder.programs()
    builder.prog_arrays()
    if attach:
        builder.attach()
    trace = builder.finish()
    if not buffers(trace) and not obj.event_types:
        return trace
    from lskel.load_phase.event_search import with_found_types

    return with_found_types(trace, obj)


def _with_struct_ops(obj: Object) -> Object:
    """Load the programs of struct_ops maps if one of these maps is created.

    As newer libbpf does, even if their section begins with ``?``.
    """
    programs = {program.name: program for program in reversed(obj.programs)}
    users: dict[str, bool] = {}
    for a_map, member, name in _struct_ops_members(obj):
        with at(f"section {a_map.section}", f"map '{a_map.name}'", f"member '{member.name}'"):
            program = programs[name] if name in programs else obj.program(name)
            if program.spec.prog_type != ProgType.STRUCT_OPS and a_map.autocreate:
                raise BadObject(f"program '{name}' is not a struct_ops program")
        users[name] = users.get(name, False) or a_map.autocreate
    _refuse_unused(obj, users)
    if not users:
        return obj
    return replace(
        obj,
        programs=tuple(
            _switched(program, is_used=users[program.name])
            if programs[program.name] is program and program.name in users
            else program
            for program in obj.programs
        ),
    )


def _refuse_unused(obj: Object, users: Collection[str]) -> None:
    """A struct_ops program has no attach target unless it is a member of a map."""
    for program in obj.programs:
        is_one = program.spec.prog_type == ProgType.STRUCT_OPS
        if is_one and program.autoload and program.name not in users:
            raise BadObject(
                f"program '{program.name}': no struct_ops map uses it",
                hint='assign it to a member of a variable in SEC(".struct_ops.link"), or disable '
                f"autoload: --no-autoload {program.name}, or a section name that begins with ?",
            )


def _switched(program: ProgramSpec, *, is_used: bool) -> ProgramSpec:
    """A struct_ops program; the caller may have disabled autoload."""
    return program if is_used and program.spec.autoload else replace(program, autoload=is_used)


def _struct_ops_members(obj: Object) -> Iterator[tuple[MapSpec, Member, str]]:
    """Members that point to programs; first those of created maps."""
    for a_map in sorted(obj.maps, key=lambda a_map: not a_map.autocreate):
        for member in a_map.struct_ops.members if a_map.struct_ops else ():
            if member.program is not None:
                yield a_map, member, member.program


def linker(obj: Object) -> Linker:
    """The linker for the programs of `obj` and its created maps."""
    created = (index for index, a_map in enumerate(obj.maps) if a_map.autocreate)
    slots = {index: slot for slot, index in enumerate(created)}
    return Linker((p.function for p in obj.programs), obj.subprograms, slots, obj.order)


def link_program(links: Linker, program: ProgramSpec) -> Linked:
    """The program's code; NotSupported if its type is unknown, BadObject as `Linker`."""
    if is_untyped(program):
        raise untyped([program])
    with at(f"program '{program.name}'"):
        return links.link(program.function, program.exception_callback)


def _link_programs(obj: Object) -> list[Linked | None]:
    if unknown := [program for program in obj.programs if program.autoload and is_untyped(program)]:
        raise untyped(unknown)
    links = linker(obj)
    linked: list[Linked | None] = []
    for program in obj.programs:
        try:
            linked.append(link_program(links, program))
        except LskelError:
            # A program with autoload disabled may be invalid; autoload cannot be enabled then.
            if program.autoload:
                raise
            linked.append(None)
    return linked


class _Builder:
    """Appends operations, and tracks which one creates each map and program."""

    def __init__(self, obj: Object, linked: Sequence[Linked | None]) -> None:
        self.obj = obj
        self.linked = linked
        self.ops: list[Op] = []
        self.guards: dict[int, Guard] = {}
        self.guard: Guard | None = None
        self.inputs: dict[InputKind, Input] = {}
        self.shapes = Shapes(obj.btf) if obj.btf else None
        self.mismatches: dict[Extern, Input] = {}
        self.created = [a_map for a_map in obj.maps if a_map.autocreate]
        self.map_refs: dict[str, Ref] = {}
        self.program_refs: dict[str, Ref] = {}
        self.links: list[LinkResult] = []
        self.struct_ops = self.struct_ops_programs()
        self.btf = self.add(BtfLoad(for_kernel(obj.btf), needed_by(obj))) if obj.btf else None

    def add(self, op: Op) -> Ref:
        budget.check(len(self.ops) + 1, budget.OPERATIONS, "operations")
        if self.guard is not None:
            self.guards[len(self.ops)] = self.guard
        self.ops.append(op)
        return Ref(len(self.ops) - 1)

    def input(self, kind: InputKind) -> Input:
        return self.inputs.setdefault(kind, Input(len(self.inputs)))

    @contextmanager
    def guarded(self, subject: Subject, slot: int) -> Iterator[None]:
        self.guard = Guard(subject, slot)
        yield
        self.guard = None

    # -- maps -----------------------------------------------------------------------------------

    def maps(self) -> None:
        """Create the maps in order, and write their values as soon as possible."""
        numbers = {a_map.name: slot for slot, a_map in enumerate(self.created)}
        # By the last map that their values need.
        unfilled: dict[int, list[tuple[int, MapSpec]]] = {}
        for slot, a_map in enumerate(self.created):
            with at(f"section {a_map.section}", f"map '{a_map.name}'"):
                self.create(a_map, slot)
            if a_map.slots and a_map.type in MAPS_OF_MAPS:
                never = len(self.created)
                last = max(slot, *(numbers.get(inner.name, never) for inner in a_map.slots))
                unfilled.setdefault(last, []).append((slot, a_map))
            for item in unfilled.get(slot, ()):
                self.fill(*item)

    def create(self, a_map: MapSpec, slot: int) -> None:
        with self.guarded(Subject.MAP, slot):
            ref, parts = self.make(a_map, slot)
            self.map_refs[a_map.name] = ref
            for part in parts:
                self.add(Close(part))
            if a_map.is_global_data and a_map.initial is not None:
                value = a_map.initial if any(a_map.initial) else b""
                self.add(MapUpdate(ref, 0, value, a_map.value_size, initial=True))
                if a_map.is_frozen:
                    self.add(MapFreeze(ref))

    def make(self, a_map: MapSpec, slot: int) -> tuple[Ref, list[Ref]]:
        """Create a map; the operations that create temporary fds for it are returned, too."""
        if a_map.struct_ops is not None:
            name = VALUE_PREFIX + a_map.struct_ops.type
            kind = self.add(BtfFind(name, Kind.STRUCT, is_weak=False))
            create = self.map_create(a_map, slot)
            size = self.input(TypeSize(name))
            return self.add(
                replace(create, btf=self.btf, kernel_value_type=kind, value_size=size)
            ), [kind]
        # A map of maps without an inner map is refused by the kernel, as with libbpf.
        if a_map.type in MAPS_OF_MAPS and a_map.inner is not None:
            inner = self.add(self.map_create(a_map.inner, None))
            return self.add(replace(self.map_create(a_map, slot), inner=inner)), [inner]
        return self.add(self.map_create(a_map, slot)), []

    def map_create(self, a_map: MapSpec, slot: int | None) -> MapCreate:
        # The kernel refuses a key type without a value type.
        btf = self.obj.btf
        typed = btf is not None and a_map.type not in WITHOUT_BTF and a_map.value_type != VOID
        return MapCreate(
            name=a_map.name,
            type=a_map.type,
            key_size=a_map.key_size,
            value_size=a_map.value_size,
            max_entries=a_map.max_entries,
            flags=a_map.flags,
            numa_node=a_map.numa_node,
            map_extra=a_map.map_extra,
            btf=self.btf if typed else None,
            key_type=a_map.key_type if typed else 0,
            value_type=a_map.value_type if typed else 0,
            btf_is_optional=btf is not None and typed and map_may_lack_btf(a_map, btf),
            kernel_value_type=None,
            inner=None,
            slot=slot,
            exclusive=self.digest(a_map.exclusive) if a_map.exclusive is not None else b"",
        )

    def digest(self, name: str) -> bytes:
        """The digest of the program that has a map for itself."""
        program = self.obj.program(name)
        linked = self.linked[self.obj.programs.index(program)]
        if linked is None:
            raise UsageError(f"program '{name}', for which it is, cannot be loaded")
        if linked.externs or len(linked.core_relos):
            what = "CO-RE relocations" if len(linked.core_relos) else "kernel symbols in its code"
            raise NotSupported(
                f"program '{name}', for which it is, has {what}: only the target knows its hash",
                hint="give the map to a program without them",
            )
        return program_digest(linked.insns, self.obj.order)

    def fill(self, slot: int, outer: MapSpec) -> None:
        """Set the initial slots of a map of maps."""
        with self.guarded(Subject.MAP, slot):
            for key, name in outer.slots:
                ref, inner = self.map_refs[outer.name], self.map_refs[name]
                self.add(MapUpdate(ref, key, inner, FD_SIZE, initial=False))

    def prog_arrays(self) -> None:
        """Set the initial slots of prog arrays; programs that are not loaded leave theirs empty."""
        slots = {program.name: slot for slot, program in enumerate(self.obj.programs)}
        for a_map in self.created:
            if a_map.type != MapType.PROG_ARRAY:
                continue
            for key, name in a_map.slots:
                if name not in slots:
                    raise BadObject(
                        f"section {a_map.section}: map '{a_map.name}': slot {key}: '{name}' is not "
                        "a program"
                    )
                if name in self.program_refs:
                    with self.guarded(Subject.PROGRAM, slots[name]):
                        ref, program = self.map_refs[a_map.name], self.program_refs[name]
                        self.add(MapUpdate(ref, key, program, FD_SIZE, initial=False))

    # -- programs -------------------------------------------------------------------------------

    def struct_ops_programs(self) -> dict[str, tuple[str, str]]:
        """The struct and the member of each struct_ops program."""
        found: dict[str, tuple[str, str]] = {}
        for a_map, member, name in _struct_ops_members(self.obj):
            assert a_map.struct_ops is not None
            here = (a_map.struct_ops.type, member.name)
            other = found.setdefault(name, here)
            if other != here and a_map.autocreate:
                raise BadObject(
                    f"section {a_map.section}: map '{a_map.name}': member '{member.name}': "
                    f"program '{name}' is already used for member '{other[1]}' of struct "
                    f"{other[0]}",
                    hint="each member needs a program of its own",
                )
        return found

    def programs(self) -> None:
        for slot, (program, result) in enumerate(zip(self.obj.programs, self.linked, strict=True)):
            if result is not None:
                with self.guarded(Subject.PROGRAM, slot):
                    self.program_refs[program.name] = self.load(program, result, slot)

    def load(self, program: ProgramSpec, linked: Linked, slot: int) -> Ref:
        spec = program.spec
        op = ProgLoad(
            name=program.name,
            type=spec.prog_type,
            expected_attach_type=spec.attach_type or 0,
            flags=(ProgFlag.SLEEPABLE if spec.sleepable else 0)
            | (ProgFlag.XDP_HAS_FRAGS if spec.xdp_frags else 0),
            license=self.obj.license,
            insns=linked.insns,
            btf=self.btf,
            func_info=linked.func_info,
            line_info=linked.line_info,
            core_relos=linked.core_relos,
            externs=(),
            attach_btf=None,
            attach_btf_id=None,
            attach_fd=None,
            slot=slot,
        )
        op = self.with_target(op, program, slot)
        finds: dict[int, Ref] = {}
        for ref in linked.externs:
            if ref.extern not in finds:
                finds[ref.extern] = self.add(self.find(self.obj.externs[ref.extern]))
        externs = [ExternReloc(ref.insn, finds[ref.extern], ref.is_call) for ref in linked.externs]
        tables = [self.jump_table(table) for table in linked.tables]
        for made, table in zip(tables, linked.tables, strict=True):
            externs += (ExternReloc(insn, made, is_call=False) for insn in table.loads)
        loaded = self.add(
            replace(
                op,
                insns=_marked(linked, self.obj.externs, self.obj.order),
                externs=tuple(externs),
            )
        )
        for made in tables:
            self.add(Close(made))
        for number, find in finds.items():
            if not self.obj.externs[number].is_typeless:
                self.add(Close(find))
        if op.attach_btf is not None:
            self.add(Close(op.attach_btf))
        return loaded

    def jump_table(self, table: JumpTable) -> Ref:
        """A map of the instructions in a jump table: the kernel wants it filled and frozen."""
        entries = len(table.targets)
        made = self.add(
            MapCreate(
                name=JUMP_TABLES,
                type=MapType.INSN_ARRAY,
                key_size=INDEX_SIZE,
                value_size=INSN_ENTRY_SIZE,
                max_entries=entries,
                flags=0,
                numa_node=0,
                map_extra=0,
                btf=None,
                key_type=0,
                value_type=0,
                btf_is_optional=False,
                kernel_value_type=None,
                inner=None,
                slot=None,
            )
        )
        for key, target in enumerate(table.targets):
            # orig_off of struct bpf_insn_array_value; the kernel sets the rest.
            value = target.to_bytes(4, self.obj.order)
            self.add(MapUpdate(made, key, value, INSN_ENTRY_SIZE, initial=False))
        self.add(MapFreeze(made))
        return made

    def find(self, extern: Extern) -> BtfFind | KsymFind:
        # libbpf strips ___flavor from typed symbols only.
        if extern.is_typeless:
            return KsymFind(extern.name, extern.is_weak or extern.name in _AT_ZERO)
        name, is_function = essential_name(extern.name), extern.kind is ExternKind.KFUNC
        kind = Kind.FUNC if is_function else Kind.VAR
        return BtfFind(name, kind, extern.is_weak, self.mismatch(extern, name, kind))

    def mismatch(self, extern: Extern, name: str, kind: Kind) -> Input | None:
        """Whether the kernel's type differs, which the loader program cannot tell."""
        btf = self.obj.btf
        if btf is None or self.shapes is None or extern.type == VOID:
            return None
        if extern not in self.mismatches:
            with at(f"extern '{extern.name}'"):
                what = btf[extern.type]
                shape = self.shapes.of(what.type if isinstance(what, Func) else extern.type)
            declared = declaration(btf, extern)[: budget.SHOWN_TYPE]
            is_function = kind is Kind.FUNC
            kinds = TypeMismatch(name, is_function, extern.is_weak, shape, declared)
            self.mismatches[extern] = self.input(kinds)
        return self.mismatches[extern]

    def with_target(self, op: ProgLoad, program: ProgramSpec, slot: int) -> ProgLoad:
        """The operation with its attach target: from the kernel's BTF, or from the caller."""
        spec = program.spec
        if program.name in self.struct_ops:
            struct, member = self.struct_ops[program.name]
            find = self.add(BtfFind(struct, Kind.STRUCT, is_weak=False))
            index = self.input(MemberIndex(struct, member))
            return replace(op, attach_btf=find, expected_attach_type=index)
        if spec.btf_target is None:
            row = attach_kind_row(spec.kind, spec.prog_type, spec.attach_type or 0)
            if row is not None and row.call is AttachCall.FUNCTIONS and ":" in spec.target:
                # MODULE:FUNCTIONS: it is loaded for the module's BTF.
                return replace(op, attach_fd=self.input(AttachFd(slot)))
            return op
        if spec.prog_type == ProgType.EXT or not spec.target:
            return replace(
                op,
                attach_btf_id=self.input(AttachBtfId(slot)),
                attach_fd=self.input(AttachFd(slot)),
            )
        # All BTF of the kernel is searched, so the module name in MODULE:FUNCTION is not needed.
        name = spec.btf_target.prefix + spec.target.rpartition(":")[2]
        return replace(op, attach_btf=self.add(BtfFind(name, spec.btf_target.kind, is_weak=False)))

    def attach(self) -> None:
        for slot, program in enumerate(self.obj.programs):
            ref = self.program_refs.get(program.name)
            spec = program.spec
            row = attach_kind_row(spec.kind, spec.prog_type, spec.attach_type or 0)
            if ref is None or row is None or row.call not in _CALLS:
                continue
            with self.guarded(Subject.PROGRAM, slot):
                is_iterator = row.call is AttachCall.ITERATOR
                op = (
                    LinkCreate(ref, spec.attach_type or 0)
                    if is_iterator
                    else RawTracepointOpen(ref)
                )
                self.links.append(LinkResult(slot, self.add(op).op))

    def finish(self) -> Trace:
        if self.btf is not None:
            self.add(Close(self.btf))
        kconfig = [extern.kconfig for extern in self.obj.externs if extern.kconfig is not None]
        numbered = list(enumerate(self.created))
        return Trace(
            name=self.obj.name,
            order=self.obj.order,
            ops=tuple(self.ops),
            maps=tuple(
                MapResult(
                    a_map.name,
                    a_map.section,
                    self.map_refs[a_map.name].op,
                    a_map.pinning is Pinning.BY_NAME,
                )
                for a_map in self.created
            ),
            programs=tuple(self.program_result(program) for program in self.obj.programs),
            guards=self.guards,
            inputs=tuple(self.inputs),
            kconfig=next(
                (
                    KconfigResult(slot, a_map.value_size, tuple(kconfig))
                    for slot, a_map in numbered
                    if a_map.kind is MapKind.KCONFIG
                ),
                None,
            ),
            struct_ops=tuple(
                StructOpsResult(slot, a_map.struct_ops)
                for slot, a_map in numbered
                if a_map.struct_ops is not None
            ),
            arenas=tuple(
                Arena(slot, a_map.initial or b"")
                for slot, a_map in numbered
                if a_map.type == MapType.ARENA
            ),
            links=tuple(self.links),
        )

    def program_result(self, program: ProgramSpec) -> ProgramResult:
        ref = self.program_refs.get(program.name)
        number = None if ref is None else ref.op
        return ProgramResult(program.name, program.spec.name, number, program.autoload)


def _marked(linked: Linked, externs: Sequence[Extern], order: ByteOrder) -> bytes:
    """The code, with instructions for externs in the form that the kernel resolves."""
    code = bytearray(linked.insns)
    for ref in linked.externs:
        insn = i.read(code, ref.insn, order)
        if ref.is_call:
            src: int = CallKind.KFUNC
        else:
            src = Pseudo.IMM64 if externs[ref.extern].is_typeless else Pseudo.BTF_ID
            i.set_imm(code, ref.insn + 1, 0, order)
        i.write(code, ref.insn, insn._replace(src=src, imm=0), order)
    return bytes(code)
