"""The names of the simulated kernel: types in its BTF, addresses of its symbols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from zlib import crc32

from lskel.btf.btf import MAX_TYPES, Btf
from lskel.btf.kinds import Kind
from lskel.btf.types import StructType, TypeId
from lskel.runtime.kernel_struct import KernelStruct

VMLINUX = "vmlinux"
_STRUCT_OPS_PREFIX = "bpf_struct_ops_"


class TypeFound(NamedTuple):
    """A kernel type: its id, and the name of its module, or `VMLINUX`."""

    type_id: int
    module: str


class ImageType(NamedTuple):
    """A type of a kernel image, in the BTF of a module or of `VMLINUX`."""

    btf: Btf
    type_id: TypeId
    module: str


class KernelNames(Protocol):
    """A source of names."""

    def type(self, name: str, kind: int) -> TypeFound | None:
        """A type by name and BTF kind: vmlinux first, then the modules."""

    def address(self, symbol: str) -> int | None:
        """The address of a symbol."""

    def struct_ops_size(self, type_id: int) -> int | None:
        """The size of the struct_ops value of this id in vmlinux; 0 if unknown."""


class AnyName:
    """Knows every name: ids and addresses are made up, but constant for each name.

    `modules` are the names that belong to modules, by module name; all others are vmlinux's.
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
        """An address in the x86-64 kernel range."""
        return 0xFFFF_FFFF_8000_0000 + crc32(symbol.encode()) % (1 << 26) * 16

    def struct_ops_size(self, type_id: int) -> int | None:
        """Unknown."""
        return 0


@dataclass(frozen=True, slots=True)
class KernelImage:
    """The names of a real kernel: its BTF, that of its modules by name, its symbols."""

    vmlinux: Btf
    modules: Mapping[str, Btf] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)

    def find(self, name: str, kind: Kind) -> ImageType | None:
        """A type by name: vmlinux first, then the modules."""
        for module, btf in ((VMLINUX, self.vmlinux), *self.modules.items()):
            type_id = btf.find_kind(name, kind)
            if type_id is not None:
                return ImageType(btf, type_id, module)
        return None

    def type(self, name: str, kind: int) -> TypeFound | None:
        """A type in the BTF."""
        known = kind in Kind._value2member_map_
        found = self.find(name, Kind(kind)) if known else None
        return None if found is None else TypeFound(found.type_id, found.module)

    def struct(self, name: str) -> KernelStruct | None:
        """A struct by name."""
        found = self.find(name, Kind.STRUCT)
        if found is None:
            return None
        return KernelStruct(found.btf, found.btf.get(found.type_id, StructType))

    def address(self, symbol: str) -> int | None:
        """The address in /proc/kallsyms."""
        return self.symbols.get(symbol)

    def struct_ops_size(self, type_id: int) -> int | None:
        """The size of a struct bpf_struct_ops_*."""
        if not 0 < type_id < len(self.vmlinux):
            return None
        found = self.vmlinux[TypeId(type_id)]
        if not isinstance(found, StructType) or not found.name.startswith(_STRUCT_OPS_PREFIX):
            return None
        return found.size


def parse_kallsyms(text: str) -> dict[str, int]:
    """Addresses by name from the text of /proc/kallsyms; the first of each name."""
    symbols: dict[str, int] = {}
    for line in text.splitlines():
        address, _, name = line.split(maxsplit=3)[:3]
        symbols.setdefault(name, int(address, 16))
    return symbols
