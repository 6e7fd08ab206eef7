"""The machine of a simulated kernel, as a target."""

from __future__ import annotations

from lskel.errors import NotFound
from lskel.object.sections import SectionSpec
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import VMLINUX, KernelImage
from lskel.replay.simulator.syscall.map_types import PAGE_SIZE
from lskel.runtime import kernel_struct
from lskel.runtime.attach_point import AttachPoint
from lskel.runtime.kconfig import FixedSource, Source, version_code

# The kernel that the simulator follows.
_VERSION = version_code(6, 18, 0)
# What structs of a kernel that knows every name look like.
_SOME_SIZE, _SOME_INDEX, _SOME_FD = 64, 0, 0


class SimulatedMachine:
    """Answers for a simulated kernel: what is not known of it is 0, or some number."""

    def __init__(self, kernel: SimulatedKernel) -> None:
        self._state = kernel.state

    @property
    def cpus(self) -> int:
        """Number of possible CPUs."""
        return self._state.cpus

    @property
    def page_size(self) -> int:
        """In bytes."""
        return PAGE_SIZE

    @property
    def kconfig(self) -> Source:
        """A configuration in which everything is 0 that nobody sets."""
        return FixedSource(kernel_version=_VERSION, unknown_is_zero=True)

    def type_size(self, type_: str) -> int:
        """Bytes of a struct."""
        names = self._state.names
        if isinstance(names, KernelImage):
            return kernel_struct.type_size(names, type_)
        return _SOME_SIZE

    def member_index(self, type_: str, member: str) -> int:
        """The number of a member in a struct."""
        names = self._state.names
        if isinstance(names, KernelImage):
            return kernel_struct.member_index(names, type_, member)
        return _SOME_INDEX

    def attach_point(self, spec: SectionSpec, target: str) -> AttachPoint:
        """A type of the kernel; there are no other programs."""
        assert spec.btf_target is not None
        name = spec.btf_target.prefix + target.rpartition(":")[2]
        found = self._state.names.type(name, spec.btf_target.kind)
        if found is None:
            raise NotFound(f"there is no {spec.btf_target.kind.name.lower()} '{name}'")
        if found.module == VMLINUX:
            return AttachPoint(_SOME_FD, found.type_id)
        return AttachPoint(self._state.open_module(found.module, 0), found.type_id)
