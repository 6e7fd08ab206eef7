"""The Trace: the operations that load an object, in order, with symbolic references.

It is the only intermediate form: loaders are generated from it, direct replay executes it, and
neither uses the object. An operation refers to another by its index in `Trace.ops`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.enums import MapType
from lskel.bpf.inputs import AttachBtfId as AttachBtfId
from lskel.bpf.inputs import AttachFd as AttachFd
from lskel.bpf.inputs import MemberIndex as MemberIndex
from lskel.bpf.inputs import TypeMismatch as TypeMismatch
from lskel.bpf.inputs import TypeSize as TypeSize
from lskel.bpf.insn import Pseudo
from lskel.bpf.kconfig import KconfigVar
from lskel.bpf.struct_ops import StructOps
from lskel.btf.ext import Records
from lskel.btf.kinds import Kind
from lskel.catalog.map_types import ARENA_SECTION
from lskel.cursor import ByteOrder

# Numbers with the width of their attr fields; a plain `int` is an index or count in the trace.
U32 = Annotated[int, 32]
U64 = Annotated[int, 64]


@dataclass(frozen=True, slots=True)
class Ref:
    """The result of operation `op` of the trace: an fd, or a BTF id with its BTF's fd."""

    op: int


@dataclass(frozen=True, slots=True)
class Input:
    """A number known on the target only: item `number` of `Trace.inputs`."""

    number: int


@dataclass(frozen=True, slots=True)
class BtfLoad:
    """BPF_BTF_LOAD of `data`; creates a BTF fd.

    If the kernel rejects it, loading continues without BTF, unless something needs it: `needed_by`
    describes that ("program 'x' (CO-RE relocations)").
    """

    data: bytes
    needed_by: str


@dataclass(frozen=True, slots=True)
class MapCreate:
    """BPF_MAP_CREATE; creates a map fd.

    `btf` has the types `key_type` and `value_type`; `inner` is the inner map of a map of maps.
    `kernel_value_type` is the kernel's type of a struct_ops value. With `btf_is_optional` the map
    is created without `btf` if the kernel refuses it with. `slot` is the index in `Trace.maps`,
    None for inner maps and jump tables. `exclusive` is the digest of the only program that may use
    the map (`lskel.bpf.digest`); empty for any program.
    """

    name: str
    type: U32
    key_size: U32
    value_size: U32 | Input
    max_entries: U32
    flags: U32
    numa_node: U32
    map_extra: U64
    btf: Ref | None
    key_type: U32
    value_type: U32
    btf_is_optional: bool
    kernel_value_type: Ref | None
    inner: Ref | None
    slot: int | None
    exclusive: bytes = b""


@dataclass(frozen=True, slots=True)
class MapUpdate:
    """BPF_MAP_UPDATE_ELEM of a map with 4-byte keys.

    `value` is bytes, zero-padded to `size`, or the fd of a map or program. With `initial` it is the
    value of global data, which the caller of the loader may override.
    """

    map: Ref
    key: U32
    value: bytes | Ref
    size: int
    initial: bool


@dataclass(frozen=True, slots=True)
class MapFreeze:
    """BPF_MAP_FREEZE: the map is read-only for user space."""

    map: Ref


@dataclass(frozen=True, slots=True)
class BtfFind:
    """Find a kernel type by name and kind, in vmlinux and then in modules.

    The result is a BTF id and the fd of the module's BTF, 0 for vmlinux. Both are 0 for a missing
    weak symbol; one of which `mismatch` is not 0 counts as missing.
    """

    name: str
    kind: Kind
    is_weak: bool
    mismatch: Input | None = None


@dataclass(frozen=True, slots=True)
class KsymFind:
    """Find the address of a kernel symbol (bpf_kallsyms_lookup_name); 0 if weak and missing."""

    name: str
    is_weak: bool


class ExternReloc(NamedTuple):
    """An instruction that takes the result of operation `find`.

    A kfunc call gets the BTF id, and the fd_array index of its module's BTF; a 64-bit load gets the
    address of a `KsymFind`, of a `BtfFind` the BTF id and the fd of the module's BTF, of a
    `MapCreate`, which makes a jump table, the fd.
    """

    insn: int
    find: Ref
    is_call: bool


@dataclass(frozen=True, slots=True)
class ProgLoad:
    """BPF_PROG_LOAD; creates a program fd.

    `insns` are in target byte order and refer to maps by their index in `Trace.maps`
    (BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE); so `fd_array` is the fds of `Trace.maps`.
    func_info and line_info count instructions, CO-RE relocations count bytes, as in the kernel. The
    attach target is the result of `attach_btf`, or the inputs `attach_btf_id` and `attach_fd` (a
    BTF or a program). `slot` is the index in `Trace.programs`.
    """

    name: str
    type: U32
    expected_attach_type: U32 | Input
    flags: U32
    license: str
    insns: bytes
    btf: Ref | None
    func_info: Records
    line_info: Records
    core_relos: Records
    externs: tuple[ExternReloc, ...]
    attach_btf: Ref | None
    attach_btf_id: Input | None
    attach_fd: Input | None
    slot: int

    @property
    def attach_type(self) -> int:
        """The attach type; 0 for a struct_ops program, of which only the target knows its index."""
        return 0 if isinstance(self.expected_attach_type, Input) else self.expected_attach_type


@dataclass(frozen=True, slots=True)
class RawTracepointOpen:
    """BPF_RAW_TRACEPOINT_OPEN of a program that was loaded for its target; creates a link."""

    program: Ref


@dataclass(frozen=True, slots=True)
class LinkCreate:
    """BPF_LINK_CREATE of a program that needs no target; creates a link."""

    program: Ref
    attach_type: U32


@dataclass(frozen=True, slots=True)
class Close:
    """Close the fd of an operation; not an error if there is none (vmlinux)."""

    ref: Ref


Op = (
    BtfLoad
    | MapCreate
    | MapUpdate
    | MapFreeze
    | BtfFind
    | KsymFind
    | ProgLoad
    | RawTracepointOpen
    | LinkCreate
    | Close
)

# What an operation creates; "" for nothing.
Makes = Literal["btf", "map", "program", "link", "type", "address", ""]
MAKES: Mapping[type, Makes] = {
    BtfLoad: "btf",
    MapCreate: "map",
    MapUpdate: "",
    MapFreeze: "",
    BtfFind: "type",
    KsymFind: "address",
    ProgLoad: "program",
    RawTracepointOpen: "link",
    LinkCreate: "link",
    Close: "",
}

# The purposes of references between operations.
Role = Literal[
    "btf", "map", "value", "inner map", "value type", "attach target", "program", "closes", "extern"
]


class Takes(NamedTuple):
    """A field that refers to another operation: its purpose, and the allowed classes."""

    role: Role
    of: tuple[type, ...]


TAKES: Mapping[type, Mapping[str, Takes]] = {
    MapCreate: {
        "btf": Takes("btf", (BtfLoad,)),
        "inner": Takes("inner map", (MapCreate,)),
        "kernel_value_type": Takes("value type", (BtfFind,)),
    },
    MapUpdate: {"map": Takes("map", (MapCreate,)), "value": Takes("value", (MapCreate, ProgLoad))},
    MapFreeze: {"map": Takes("map", (MapCreate,))},
    ProgLoad: {"btf": Takes("btf", (BtfLoad,)), "attach_btf": Takes("attach target", (BtfFind,))},
    RawTracepointOpen: {"program": Takes("program", (ProgLoad,))},
    LinkCreate: {"program": Takes("program", (ProgLoad,))},
    Close: {"ref": Takes("closes", (BtfLoad, MapCreate, BtfFind, ProgLoad))},
}
_EXTERN = Takes("extern", (BtfFind, KsymFind, MapCreate))


class Reference(NamedTuple):
    """A reference of an operation: the field, the purpose, and the other operation."""

    field: str
    takes: Takes
    ref: Ref


def references(op: Op) -> Iterator[Reference]:
    """All references of an operation, its externs last."""
    for field_, takes in TAKES.get(type(op), {}).items():
        value = getattr(op, field_)
        if isinstance(value, Ref):
            yield Reference(field_, takes, value)
    if isinstance(op, ProgLoad):
        yield from (Reference("find", _EXTERN, extern.find) for extern in op.externs)


_IN_CODE = (Pseudo.MAP_IDX, Pseudo.MAP_IDX_VALUE)


def inputs_of(op: Op) -> Iterator[Input]:
    """The inputs of an operation."""
    for item in fields(op):
        value = getattr(op, item.name)
        if isinstance(value, Input):
            yield value


class Subject(Enum):
    """The subject of a guard."""

    MAP = "map"
    PROGRAM = "program"


class Guard(NamedTuple):
    """When an operation is skipped: map `slot` is reused, or program `slot` is not autoloaded."""

    subject: Subject
    slot: int


InputKind = TypeSize | MemberIndex | TypeMismatch | AttachFd | AttachBtfId


class MapResult(NamedTuple):
    """A map that stays open: its name, its ELF section, and the operation that creates it.

    `is_pinned`: shared by a pin of its name (LIBBPF_PIN_BY_NAME).
    """

    name: str
    section: str
    op: int
    is_pinned: bool = False


class ProgramResult(NamedTuple):
    """An entry program: its name, its section, and the operation, None if it cannot be loaded.

    `autoload`: whether it is loaded by default.
    """

    name: str
    section: str
    op: int | None
    autoload: bool = True


class LinkResult(NamedTuple):
    """A link that stays open: of program `slot`, created by operation `op`."""

    slot: int
    op: int


class KconfigResult(NamedTuple):
    """Map `slot` has these kconfig values of the target, in `size` bytes."""

    slot: int
    size: int
    vars: tuple[KconfigVar, ...]


class StructOpsResult(NamedTuple):
    """Map `slot` registers `ops` when its element 0 is written (to attach it)."""

    slot: int
    ops: StructOps


class Arena(NamedTuple):
    """Map `slot` is memory shared with user space, which starts with `initial`.

    Programs that use it can be loaded only after user space has mapped it.
    """

    slot: int
    initial: bytes


class EventType(NamedTuple):
    """The type of the events of map `slot`: a BTF id of the trace's types."""

    slot: int
    type: int


class GlobalData(NamedTuple):
    """The variables of ELF section `section` in a map, `size` bytes.

    Zeros at the end of `initial` may be left out. With `is_late` the loader has no value for the
    map: who runs it writes what is wanted there after it has run.
    """

    section: str
    size: int
    initial: bytes
    is_late: bool = False

    @property
    def content(self) -> bytes:
        """The initial value without zeros at the end."""
        return self.initial.rstrip(b"\0")


@dataclass(frozen=True)
class Trace:
    """All operations, and their results that stay open. `order` is the target's byte order.

    `guards` are the conditions under which operations are skipped, by operation. `inputs` are the
    numbers that must be determined on the target.

    `events` are the types of events that were chosen when the loader was generated. `types` is the
    BTF with them: that of the object, with types appended that it lacks; empty for the same.
    """

    name: str
    order: ByteOrder
    ops: tuple[Op, ...] = field(repr=False)
    maps: tuple[MapResult, ...]
    programs: tuple[ProgramResult, ...]
    guards: Mapping[int, Guard] = field(default_factory=dict, repr=False)
    inputs: tuple[InputKind, ...] = ()
    kconfig: KconfigResult | None = None
    struct_ops: tuple[StructOpsResult, ...] = ()
    arenas: tuple[Arena, ...] = ()
    links: tuple[LinkResult, ...] = ()
    events: tuple[EventType, ...] = ()
    types: bytes = field(default=b"", repr=False)

    def map_create(self, slot: int) -> MapCreate:
        """The operation that creates map `slot`."""
        op = self.ops[self.maps[slot].op]
        assert isinstance(op, MapCreate)
        return op

    def prog_load(self, slot: int) -> ProgLoad | None:
        """The operation that loads program `slot`; None if it cannot be loaded."""
        number = self.programs[slot].op
        if number is None:
            return None
        op = self.ops[number]
        assert isinstance(op, ProgLoad)
        return op

    def maps_in_code(self, op: ProgLoad) -> Iterator[int]:
        """The indexes in `maps` that a program's code uses, with repetitions."""
        for at in i.find(op.insns, i.OP_LD_IMM64):
            insn = i.read(op.insns, at, self.order)
            if insn.src in _IN_CODE:
                yield insn.imm

    def jump_table(self, number: int) -> tuple[int, ...]:
        """The instructions that are the elements of the map that operation `number` creates."""
        return tuple(self._instructions.get(number, ()))

    @cached_property
    def _instructions(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for op in self.ops:
            if isinstance(op, MapUpdate) and isinstance(op.value, bytes):
                create = self.ops[op.map.op]
                if isinstance(create, MapCreate) and create.type == MapType.INSN_ARRAY:
                    target = int.from_bytes(op.value[:4], self.order)
                    found.setdefault(op.map.op, []).append(target)
        return found

    def initial_value(self, slot: int) -> int | None:
        """The number of the operation that writes the value of global data to map `slot`."""
        return self._initial_values.get(self.maps[slot].op)

    def global_data(self, slot: int) -> GlobalData | None:
        """The variables in map `slot`; None if it has none."""
        number = self.initial_value(slot)
        if number is None:
            found = (arena.initial for arena in self.arenas if arena.slot == slot)
            initial = next(found, b"")
            return GlobalData(ARENA_SECTION, len(initial), initial) if initial else None
        op = self.ops[number]
        assert isinstance(op, MapUpdate) and isinstance(op.value, bytes)
        return GlobalData(self.maps[slot].section, op.size, op.value, number in self.unwritten)

    @cached_property
    def _initial_values(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for number, op in enumerate(self.ops):
            if isinstance(op, MapUpdate) and op.initial:
                found.setdefault(op.map.op, number)
        return found

    @cached_property
    def unwritten(self) -> frozenset[int]:
        """The numbers of the ops that are left out: they write many zeros into a map of zeros.

        What the caller wants in such a map is written when all is loaded. That is too late where
        the map is frozen, and where the trace attaches programs.
        """
        if self.links:
            return frozenset()
        frozen = {op.map.op for op in self.ops if isinstance(op, MapFreeze)}
        return frozenset(
            number
            for created, number in self._initial_values.items()
            if created not in frozen and self._writes_zeros(number)
        )

    def _writes_zeros(self, number: int) -> bool:
        op = self.ops[number]
        assert isinstance(op, MapUpdate)
        return op.value == b"" and op.size > budget.ZEROS

    def user(self, find: BtfFind | KsymFind) -> Op | None:
        """The first operation that uses the result of `find`, an operation of this trace."""
        return self._users.get(id(find))

    @cached_property
    def _users(self) -> dict[int, Op]:
        found: dict[int, Op] = {}
        for op in self.ops:
            for reference in references(op):
                found.setdefault(id(self.ops[reference.ref.op]), op)
        return found

    def subject(self, op: Op) -> Op:
        """The operation that creates the map or program of `op`, possibly `op` itself."""
        for reference in references(op):
            if reference.takes.role in ("map", "program", "closes"):
                return self.ops[reference.ref.op]
        return op

    @property
    def btf(self) -> bytes | None:
        """The object's BTF, if it is loaded."""
        for op in self.ops:
            if isinstance(op, BtfLoad):
                return op.data
        return None
