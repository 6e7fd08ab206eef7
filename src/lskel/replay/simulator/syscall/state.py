"""The state of the simulated kernel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakValueDictionary

from lskel import budget
from lskel.budget import Allowance
from lskel.cursor import ByteOrder
from lskel.replay.simulator.names import KernelNames
from lskel.replay.simulator.record import FdRef
from lskel.replay.simulator.syscall.attrs import Attr
from lskel.replay.simulator.syscall.btfs import ModuleBtf
from lskel.replay.simulator.syscall.fds import FdTable, File, KernelObject
from lskel.replay.simulator.syscall.space import Domain, Space


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A bpf(2) call in progress: its number in the record, its attr, the domain of its pointers."""

    number: int
    attr: Attr
    domain: Domain


@dataclass(eq=False, slots=True)
class KernelState:
    """The kernel of one process. `cpus` is the number of possible CPUs.

    LimitExceeded if something exceeds its allowance.
    """

    order: ByteOrder
    space: Space
    fds: FdTable
    names: KernelNames
    cpus: int
    modules: dict[str, ModuleBtf] = field(default_factory=dict)
    objects: WeakValueDictionary[tuple[str, int], KernelObject] = field(
        default_factory=WeakValueDictionary
    )
    calls: Allowance = field(default_factory=partial(Allowance, budget.CALLS, "calls of helpers"))
    elements: Allowance = field(
        default_factory=partial(Allowance, budget.ELEMENTS, "bytes for the elements of maps")
    )
    loaded: Allowance = field(
        default_factory=partial(Allowance, budget.LOADED, "instructions and records of programs")
    )
    btf: Allowance = field(default_factory=partial(Allowance, budget.BTF, "bytes of BTF"))
    _made: Counter[str] = field(default_factory=Counter)

    def open(
        self, made: KernelObject, call: int, *, readable: bool = True, writable: bool = True
    ) -> int:
        """A new fd for an object; its first fd assigns its id. Refusal EMFILE."""
        fd = self.fds.open(File(made, call, readable, writable))
        if not made.id and not isinstance(made, ModuleBtf):
            self._made[made.kind] += 1
            made.id = self._made[made.kind]
            self.objects[made.kind, made.id] = made
        return fd

    def open_module(self, name: str, call: int) -> int:
        """A new fd for a module's BTF."""
        return self.open(self.modules.setdefault(name, ModuleBtf(name)), call)

    def ref(self, fd: int) -> FdRef | int:
        """The object of an fd; 0 for 0, which means "none"."""
        file = self.fds.file(fd)
        if file is None:
            return FdRef("", 0, "", None, fd) if fd else 0
        made = file.object
        return FdRef(made.kind, made.id, made.name, file.call, fd)
