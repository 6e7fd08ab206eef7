"""The Object: programs, subprograms, maps and externs of a BPF ELF file, as frozen data.

Instruction indexes count 8-byte slots from the start of the function they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable
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
from lskel.errors import NotFound, UsageError
from lskel.object.sections import SectionSpec

if TYPE_CHECKING:
    from lskel.trace import Trace


class MapRef(NamedTuple):
    """ld_imm64 of a map (its address)."""

    insn: int
    map: int


class DataRef(NamedTuple):
    """ld_imm64 of the address `offset` bytes into a map's value."""

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
    """A call of extern number `extern`, or a ld_imm64 of it."""

    insn: int
    extern: int
    is_call: bool


Relocation = MapRef | DataRef | CallRef | FuncRef | ExternRef


@dataclass(frozen=True, slots=True)
class Function:
    """A function symbol and its code.

    `start` is the function's first instruction in its section. `code` is as in the file:
    not relocated. The three kinds of `Records` count instructions from the function's start.
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
class Program:
    """An entry-point program; `autoload` says whether the loader loads it."""

    function: Function
    spec: SectionSpec
    autoload: bool

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.name


class MapKind(Enum):
    """Where a map comes from."""

    USER = auto()
    LEGACY = auto()
    DATA = auto()
    RODATA = auto()
    BSS = auto()
    KCONFIG = auto()
    STRUCT_OPS = auto()


class Pinning(Enum):
    """What `__uint(pinning, ...)` asks for; the values are libbpf's."""

    NONE = 0
    BY_NAME = 1


class Slot(NamedTuple):
    """An initial value of a map-in-map or prog array: key `key` holds the map or program `name`."""

    key: int
    name: str


@dataclass(frozen=True, slots=True)
class Map:
    """A map to be created. Sizes in bytes; `type` a MapType, or a number newer than lskel.

    `section` and `offset` say where in the ELF file it is defined. `max_entries` 0 leaves the
    choice to the runner where the kernel needs more (one entry a CPU for perf event arrays).
    `initial` is the value of the only element of global data; of an arena, what its memory begins
    with. `key_type` and `value_type` are BTF ids, 0 for none. `inner` is the template of a
    map-in-map's values. A struct_ops map has `struct_ops`, and `value_size` 0: the target's kernel
    knows it. `autocreate` says whether the loader creates the map (``SEC("?.struct_ops")``).
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
    inner: Map | None = None
    slots: tuple[Slot, ...] = ()
    initial: bytes | None = None
    struct_ops: StructOps | None = None
    autocreate: bool = True

    @property
    def is_global_data(self) -> bool:
        """Whether the map is a data section: one element, written before programs load."""
        return self.initial is not None and self.kind is not MapKind.USER

    @property
    def is_frozen(self) -> bool:
        """Whether user space may not write it after load."""
        return self.kind in (MapKind.RODATA, MapKind.KCONFIG)


class ExternKind(Enum):
    """What an extern symbol stands for."""

    KFUNC = "kfunc"
    KSYM = "ksym"
    KCONFIG = "kconfig"


class Extern(NamedTuple):
    """A symbol to be resolved on the target; `type` is its VAR or FUNC in the object's BTF.

    A kernel variable without a type (``extern const void NAME __ksym``) is known by its address
    alone. `kconfig` says what a configuration value looks like and where it lies.
    """

    name: str
    kind: ExternKind
    is_weak: bool
    type: TypeId
    is_typeless: bool = False
    kconfig: KconfigVar | None = None


_Named = TypeVar("_Named", Program, Map)


@dataclass(frozen=True, slots=True)
class Object:
    """What a BPF ELF file says. Maps and programs are in libbpf's order.

    `remarks` are sentences on what the file asks for and is not done, or not so.
    Change it before tracing by `with_map` and `with_program`, which return changed copies.
    """

    name: str
    order: ByteOrder
    license: str
    kernel_version: int
    btf: Btf | None
    maps: tuple[Map, ...]
    programs: tuple[Program, ...]
    subprograms: tuple[Function, ...]
    externs: tuple[Extern, ...]
    sections: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    remarks: tuple[str, ...] = ()

    def map(self, name: str) -> Map:
        """The map of this name; NotFound names the ones there are."""
        return _named(self.maps, name, "map")

    def program(self, name: str) -> Program:
        """The program of this name; NotFound names the ones there are."""
        return _named(self.programs, name, "program")

    def with_map(self, name: str, **changes: Any) -> Object:
        """A copy with fields of one map changed: `max_entries`, `flags`, `autocreate`, ...

        UsageError where a new `initial` is not as long as the value, or the map has none.
        """
        old = self.map(name)
        new = replace(old, **changes)
        for key, value in changes.items():
            bits = 64 if key == "map_extra" else 32
            if isinstance(value, int) and not 0 <= value < 1 << bits:
                raise UsageError(f"map '{name}': {key} {value} does not fit {bits} bits")
        if "initial" in changes:
            if old.initial is None or new.initial is None:
                raise UsageError(f"map '{name}' is not global data: it has no initial value")
            size = old.value_size if old.is_global_data else len(old.initial)
            if len(new.initial) != size:
                raise UsageError(f"map '{name}' has {size} bytes, not {len(new.initial)}")
        return replace(self, maps=_swap(self.maps, old, new))

    def with_program(self, name: str, **changes: Any) -> Object:
        """A copy with fields of one program changed: `autoload`, `spec`."""
        old = self.program(name)
        return replace(self, programs=_swap(self.programs, old, replace(old, **changes)))

    def with_type(self, name: str, type_: ProgType, attach: AttachType | None = None) -> Object:
        """A copy in which a program has a type that its section's name does not give."""
        spec = self.program(name).spec._replace(
            prog_type=type_,
            attach_type=attach,
            # The kernel takes them so only.
            sleepable=type_ == ProgType.SYSCALL,
        )
        return self.with_program(name, spec=spec)

    def trace(self, *, attach: bool = False) -> Trace:
        """Load phase: the ordered operations that load this object.

        With `attach` they also attach the programs that need nothing from user space for it.
        """
        from lskel.load_phase.plan import plan

        return plan(self, attach=attach)


def _named(items: tuple[_Named, ...], name: str, what: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    known = ", ".join(item.name for item in items) or "none"
    raise NotFound(f"there is no {what} '{name}'", hint=f"there is: {known}")


def _swap(items: Iterable[_Named], old: _Named, new: _Named) -> tuple[_Named, ...]:
    return tuple(new if item is old else item for item in items)
