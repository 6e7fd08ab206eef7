"""What the simulated kernel knows by name: types of its BTF, addresses of its symbols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from zlib import crc32

from lskel.btf.btf import MAX_TYPES, Btf
from lskel.btf.kinds import Kind
from lskel.btf.types import Struct, TypeId
from lskel.runtime.kernel_struct import KernelStruct

VMLINUX = "vmlinux"
_STRUCT_OPS_PREFIX = "bpf_struct_ops_"


class TypeFound(NamedTuple):
    """A type of the kernel: its id, and the name of the module or of `VMLINUX` that has it."""

    type_id: int
    module: str


class Names(Protocol):
    """A source of names."""

    def type(self, name: str, kind: int) -> TypeFound | None:
        """A type by name and number of kind: vmlinux first, then the modules."""

    def address(self, symbol: str) -> int | None:
        """The address of a symbol."""

    def struct_ops_size(self, type_id: int) -> int | None:
        """Bytes of the struct_ops value of this id in vmlinux; 0 where that is not known."""


class AnyName:
    """Knows every name: ids and addresses are invented, but always the same for one name.

    `modules` says which names belong to a module, by its name; all others are vmlinux's.
    """

    def __init__(self, modules: Mapping[str, Iterable[str]] | None = None) -> None:
        self._modules = {
            name: module for module, names in (modules or {}).items() for name in names
        }

    def type(self, name: str, kind: int) -> TypeFound | None:
        """An id from 1 to the kernel's largest."""
        type_id = crc32(f"{kind} {name}".encode()) % (MAX_TYPES - 1) + 1
        return TypeFound(type_id, self._modules.get(name, VMLINUX))

    def address(self, symbol: str) -> int | None:
        """An address where x86-64 has its kernel."""
        return 0xFFFF_FFFF_8000_0000 + crc32(symbol.encode()) % (1 << 26) * 16

    def struct_ops_size(self, type_id: int) -> int | None:
        """Not known of any."""
        return 0


@dataclass(frozen=True, slots=True)
class KernelImage:
    """Names of a certain kernel: its BTF, that of its modules by name, its symbols."""

    vmlinux: Btf
    modules: Mapping[str, Btf] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)

    def type(self, name: str, kind: int) -> TypeFound | None:
        """A type that really is there."""
        if kind not in Kind._value2member_map_:
            return None
        for module, btf in ((VMLINUX, self.vmlinux), *self.modules.items()):
            type_id = btf.find_kind(name, Kind(kind))
            if type_id is not None:
                return TypeFound(type_id, module)
        return None

    def struct(self, name: str) -> KernelStruct | None:
        """A struct by name, in vmlinux and then in modules."""
        for btf in (self.vmlinux, *self.modules.values()):
            type_id = btf.find_kind(name, Kind.STRUCT)
            if type_id is not None:
                return KernelStruct(btf, btf.get(type_id, Struct))
        return None

    def address(self, symbol: str) -> int | None:
        """As /proc/kallsyms has it."""
        return self.symbols.get(symbol)

    def struct_ops_size(self, type_id: int) -> int | None:
        """Bytes of a struct bpf_struct_ops_*."""
        if not 0 < type_id < len(self.vmlinux):
            return None
        found = self.vmlinux[TypeId(type_id)]
        if not isinstance(found, Struct) or not found.name.startswith(_STRUCT_OPS_PREFIX):
            return None
        return found.size


def parse_kallsyms(text: str) -> dict[str, int]:
    """Addresses by name from the text of /proc/kallsyms; of symbols of one name, the first."""
    symbols: dict[str, int] = {}
    for line in text.splitlines():
        address, _, name = line.split(maxsplit=3)[:3]
        symbols.setdefault(name, int(address, 16))
    return symbols
