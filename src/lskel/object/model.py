"""The Object: programs, subprograms, maps and externs of a BPF ELF file, as frozen data.

Instruction indexes count 8-byte slots from the start of the function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lskel.bpf.enums import AttachType, ProgType
from lskel.bpf.kconfig import KconfigVar
from lskel.bpf.struct_ops import StructOps
from lskel.btf.btf import Btf
from lskel.btf.ext import Records
from lskel.btf.types import VOID, TypeId
from lskel.cursor import ByteOrder
from lskel.elf.object import Elf
from lskel.errors import NotFound, UsageError
from lskel.object.sections import SectionSpec

if TYPE_CHECKING:
    from lskel.trace import Trace


class MapRef(NamedTuple):
    """ld_imm64 of a map (its address)."""

    insn: int
    map: int


class DataRef(NamedTuple):
    """ld_imm64 of an address in a map's value, at `offset` bytes."""

    insn: int
    map: int
    offset: int


class CallRef(NamedTuple):
    """A call of the subprogram that starts at instruction `target` of .text."""

    insn: int
    target: int


class FuncRef(NamedTuple):
    """ld_imm64 of the address of the subprogram that starts at instruction `target` of .text."""

    insn: int
    target: int


class ExternRef(NamedTuple):
    """A call of extern number `extern`, or an ld_imm64 of it."""

    insn: int
    extern: int
    is_call: bool


class JumpTableRef(NamedTuple):
    """ld_imm64 of an address in a jump table, at `offset` bytes.

    `table` is the table's offset in section .jumptables; `targets` are its entries, as instructions
    of the section that the code is in.
    """

    insn: int
    table: int
    targets: tuple[int, ...]
    offset: int


Relocation = MapRef | DataRef | CallRef | FuncRef | ExternRef | JumpTableRef


@dataclass(frozen=True, slots=True)
class Function:
    """A function symbol and its code.

    `start` is the function's first instruction in its section. `code` is not relocated. The three
    kinds of `Records` count instructions from the function's start.
    """

    name: str
    section: str
    start: int
    code: bytes
    relocations: tuple[Relocation, ...]
    func_info: Records
    line_info: Records
    core_relos: Records


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """An entry program; `autoload`: whether the loader loads it by default.

    `exception_callback` is the name of the subprogram that is called if the program throws.
    """

    function: Function
    spec: SectionSpec
    autoload: bool
    exception_callback: str | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.name


class MapKind(Enum):
    """The origin of a map."""

    USER = auto()
    LEGACY = auto()
    DATA = auto()
    RODATA = auto()
    BSS = auto()
    KCONFIG = auto()
    STRUCT_OPS = auto()


class Pinning(Enum):
    """The value of `__uint(pinning, ...)`, as in libbpf."""

    NONE = 0
    BY_NAME = 1


class Slot(NamedTuple):
    """An initial value of a map of maps or prog array: map or program `name` at `key`."""

    key: int
    name: str


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A map to create. Sizes are in bytes; `type` is a MapType, or a number newer than lskel.

    `section` and `offset` are its location in the ELF file. With `max_entries` 0 the number is
    chosen at load time, if the kernel requires one (one entry per CPU for perf event arrays).
    `initial` is the value of the only element of global data, or the start of an arena's memory.
    `key_type` and `value_type` are BTF ids, 0 for none. `inner` is the inner map definition of a
    map of maps. A struct_ops map has `struct_ops`, and `value_size` 0: it is known in the target's
    kernel. `autocreate`: whether the loader creates the map (``SEC("?.struct_ops")``). `exclusive`:
    the name of the only program that may use the map, None for any (Linux 6.18).
    """

    name: str
    kind: MapKind
    section: str
    offset: int
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    numa_node: int = 0
    map_extra: int = 0
    key_type: TypeId = VOID
    value_type: TypeId = VOID
    pinning: Pinning = Pinning.NONE
    inner: MapSpec | None = None
    slots: tuple[Slot, ...] = ()
    initial: bytes | None = None
    struct_ops: StructOps | None = None
    autocreate: bool = True
    exclusive: str | None = None

    @property
    def is_global_data(self) -> bool:
        """Whether the map is a data section: one element, written before programs are loaded."""
        return self.initial is not None and self.kind is not MapKind.USER

    @property
    def is_frozen(self) -> bool:
        """Whether it is read-only for user space after load."""
        return self.kind in (MapKind.RODATA, MapKind.KCONFIG)


class ExternKind(Enum):
    """The kind of an extern symbol."""

    KFUNC = "kfunc"
    KSYM = "ksym"
    KCONFIG = "kconfig"


class Extern(NamedTuple):
    """A symbol to resolve on the target; `type` is its FUNC or VAR in the object's BTF.

    Of a kernel variable it is the declared type, since its VAR gets another one for the kernel.

    Of a kernel variable without a type (``extern const void NAME __ksym``) only the address is
    resolved. `kconfig` is the type and position of a kconfig value.
    """

    name: str
    kind: ExternKind
    is_weak: bool
    type: TypeId
    is_typeless: bool = False
    kconfig: KconfigVar | None = None


_Named = TypeVar("_Named", ProgramSpec, MapSpec)


@dataclass(frozen=True, slots=True)
class Object:
    """The content of a BPF ELF file. Maps and programs are in libbpf's order.

    `remarks` are warnings: what the file asks for and lskel does not do. `event_types` are those of
    `with_event_types`; `elf` is the file, whose debug information is read for types of events.
    To change it before tracing, use `with_map` and `with_program`, which return copies.
    """

    name: str
    order: ByteOrder
    license: str
    kernel_version: int
    btf: Btf | None
    maps: tuple[MapSpec, ...]
    programs: tuple[ProgramSpec, ...]
    subprograms: tuple[Function, ...]
    externs: tuple[Extern, ...]
    sections: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    remarks: tuple[str, ...] = ()
    event_types: Mapping[str, str] = field(default_factory=dict, hash=False)
    elf: Elf | None = field(default=None, repr=False, compare=False)

    def map(self, name: str) -> MapSpec:
        """The map of this name; NotFound lists the available ones."""
        return _named(self.maps, name, "map")

    def program(self, name: str) -> ProgramSpec:
        """The program of this name; NotFound lists the available ones."""
        return _named(self.programs, name, "program")

    def with_map(self, name: str, **changes: Any) -> Object:
        """A copy with fields of one map changed: `max_entries`, `flags`, `autocreate`, ...

        UsageError if a new `initial` has the wrong length, or the map has no initial value.
        """
        old = self.map(name)
        new = replace(old, **changes)
        for key, value in changes.items():
            bits = 64 if key == "map_extra" else 32
            if isinstance(value, int) and not 0 <= value < 1 << bits:
                raise UsageError(f"map '{name}': {key} {value} does not fit into {bits} bits")
        if "initial" in changes:
            if old.initial is None or new.initial is None:
                raise UsageError(f"map '{name}' is not global data: it has no initial value")
            size = old.value_size if old.is_global_data else len(old.initial)
            if len(new.initial) != size:
                raise UsageError(f"map '{name}': expected {size} bytes, got {len(new.initial)}")
        return replace(self, maps=_swap(self.maps, old, new))

    def with_program(self, name: str, **changes: Any) -> Object:
        """A copy with fields of one program changed: `autoload`, `spec`."""
        old = self.program(name)
        return replace(self, programs=_swap(self.programs, old, replace(old, **changes)))

    def with_type(self, name: str, type_: ProgType, attach: AttachType | None = None) -> Object:
        """A copy with the type of one program set, if its section name has none."""
        spec = self.program(name).spec._replace(
            prog_type=type_,
            attach_type=attach,
            # The kernel requires this.
            sleepable=type_ == ProgType.SYSCALL,
        )
        return self.with_program(name, spec=spec)

    def with_event_types(self, types: Mapping[str, str]) -> Object:
        """A copy with the types of the events of ring and perf buffers, by the buffer's name.

        A type is the name of a struct, union, enum or typedef in BTF or in the debug information,
        or ``NAME@HEADER``, a C header that clang compiles. `trace` raises NotFound if there is no
        such buffer or type.
        """
        return replace(self, event_types={**self.event_types, **types})

    def trace(self, *, attach: bool = False) -> Trace:
        """Load phase: the operations that load this object, in order.

        With `attach` they also attach the programs that need nothing from user space.
        """
        from lskel.load_phase.plan import plan

        return plan(self, attach=attach)


def _named(items: tuple[_Named, ...], name: str, what: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    known = ", ".join(item.name for item in items) or "none"
    raise NotFound(f"no {what} '{name}'", hint=f"available: {known}")


def _swap(items: Iterable[_Named], old: _Named, new: _Named) -> tuple[_Named, ...]:
    return tuple(new if item is old else item for item in items)
