"""The kernel types that may stand for a type of the object: those of its name, without flavors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lskel.btf.btf import Btf
from lskel.btf.compatible import same_kind
from lskel.btf.names import essential_name
from lskel.btf.types import TypeId


class Candidate(NamedTuple):
    """A type of the kernel, in the BTF of vmlinux or of a module."""

    btf: Btf
    type: TypeId


class KernelTypes:
    """The BTF of a kernel: vmlinux, and its modules (split BTF), in the order they are searched.

    As in the kernel and libbpf, modules are searched only for what vmlinux does not have: they may
    be read when they are first iterated over.
    """

    def __init__(self, vmlinux: Btf, modules: Iterable[Btf] = ()) -> None:
        self.vmlinux = vmlinux
        self.modules = modules

    def candidates(self, local_btf: Btf, type_id: TypeId) -> list[Candidate]:
        """The types of the same kind and essential name; none for an anonymous type."""
        local = local_btf[type_id]
        name = essential_name(local.name)
        if not name:
            return []
        groups: tuple[Iterable[Btf], ...] = ((self.vmlinux,), self.modules)
        found = (
            [
                Candidate(btf, candidate)
                for btf in group
                for candidate in btf.find_essential(name)
                if same_kind(local, btf[candidate])
            ]
            for group in groups
        )
        return next(filter(None, found), [])
