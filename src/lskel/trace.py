"""The Trace: the ordered operations that load an object, with symbolic references between them.

It is the one intermediate form: loaders are generated from it, direct replay issues it, nothing
right of it looks at the object. An operation refers to another by its index in `Trace.ops`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from lskel.btf.ext import Records
from lskel.btf.types import Kind
from lskel.cursor import ByteOrder


@dataclass(frozen=True, slots=True)
class Ref:
    """What operation `op` of the trace made: a file descriptor, or a BTF id with its BTF's fd."""

    op: int


@dataclass(frozen=True, slots=True)
class BtfLoad:
    """BPF_BTF_LOAD of `data`; makes a BTF fd."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MapCreate:
    """BPF_MAP_CREATE; makes a map fd.

    `btf` holds the types `key_type` and `value_type`; `inner` is the template of a map-in-map.
    `slot` is the index in `Trace.maps`, None for templates.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    numa_node: int
    map_extra: int
    btf: Ref | None
    key_type: int
    value_type: int
    inner: Ref | None
    slot: int | None


@dataclass(frozen=True, slots=True)
class MapUpdate:
    """BPF_MAP_UPDATE_ELEM of a map with 4-byte keys.

    `value` is bytes, zero up to `size` bytes, or the fd of another map. With `initial` it is the
    value of global data, which the caller of the loader may override.
    """

    map: Ref
    key: int
    value: bytes | Ref
    size: int
    initial: bool


@dataclass(frozen=True, slots=True)
class MapFreeze:
    """BPF_MAP_FREEZE: user space can no longer write the map."""

    map: Ref


@dataclass(frozen=True, slots=True)
class BtfFind:
    """Find a kernel type by name and kind, in vmlinux and then in modules.

    Makes a BTF id and the fd of the module's BTF, 0 for vmlinux.
    """

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class ProgLoad:
    """BPF_PROG_LOAD; makes a program fd.

    `insns` are in the target's byte order and refer to maps by their index in `Trace.maps`
    (BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE); so `fd_array` is the fds of `Trace.maps`.
    func_info and line_info count instructions, CO-RE relocations count bytes, as the kernel wants.
    `slot` is the index in `Trace.programs`.
    """

    name: str
    type: int
    expected_attach_type: int
    flags: int
    license: str
    insns: bytes
    btf: Ref | None
    func_info: Records
    line_info: Records
    core_relos: Records
    attach_btf: Ref | None
    slot: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close the fd that an operation made; not an error where that is none (vmlinux)."""

    ref: Ref


Op = BtfLoad | MapCreate | MapUpdate | MapFreeze | BtfFind | ProgLoad | Close


class MapResult(NamedTuple):
    """A map that stays: its name, the ELF section that defines it, and the op that makes it."""

    name: str
    section: str
    op: int


class ProgramResult(NamedTuple):
    """An entry-point program: its name, its section's name, the op, None if it is not loaded."""

    name: str
    section: str
    op: int | None


@dataclass(frozen=True, slots=True)
class Trace:
    """All operations, and which of their results stay. `order` is the target's byte order."""

    name: str
    order: ByteOrder
    ops: tuple[Op, ...] = field(repr=False)
    maps: tuple[MapResult, ...]
    programs: tuple[ProgramResult, ...]

    def map_create(self, slot: int) -> MapCreate:
        """The op that creates map number `slot`."""
        op = self.ops[self.maps[slot].op]
        assert isinstance(op, MapCreate)
        return op

    def prog_load(self, slot: int) -> ProgLoad | None:
        """The op that loads program number `slot`; None where it is not loaded."""
        number = self.programs[slot].op
        if number is None:
            return None
        op = self.ops[number]
        assert isinstance(op, ProgLoad)
        return op

    def initial_value(self, slot: int) -> int | None:
        """The number of the op that writes the value of global data into map number `slot`."""
        for number, op in enumerate(self.ops):
            if isinstance(op, MapUpdate) and op.initial and op.map.op == self.maps[slot].op:
                return number
        return None

    @property
    def btf(self) -> bytes | None:
        """The object's BTF, where it is loaded."""
        for op in self.ops:
            if isinstance(op, BtfLoad):
                return op.data
        return None
