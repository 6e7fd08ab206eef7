"""What a simulated kernel says to whoever loads something."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from lskel.errors import NotFound
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import VMLINUX, KernelImage
from lskel.replay.simulator.syscall.map_types import PAGE_SIZE
from lskel.runtime import kernel_struct
from lskel.runtime.attach_point import AttachPoint, btf_name
from lskel.runtime.image import Image
from lskel.runtime.kconfig import FixedSource, Source, version_code
from lskel.runtime.memory import MappedFd
from lskel.runtime.program import ProgramDefinition
from lskel.runtime.request import LoadedFds, Request

if TYPE_CHECKING:
    from lskel.runtime.kernel import KernelTypes

# The kernel that the simulator follows.
_VERSION = version_code(6, 18, 0)
# What structs of a kernel that knows every name look like.
_SOME_SIZE, _SOME_INDEX, _SOME_FD = 64, 0, 0


class SimulatedAnswers:
    """Answers for a simulated kernel: what is not known of it is 0, or some number."""

    is_running = False

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

    @property
    def types(self) -> KernelTypes:
        """Its types: this machine answers for them itself."""
        return self

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

    def attach_point(
        self, program: ProgramDefinition, target: str, held: ExitStack, *, trust_pins: bool
    ) -> AttachPoint:
        """A type of the kernel; there are no other programs."""
        name, kind = btf_name(program, target)
        found = self._state.names.type(name, kind)
        if found is None:
            raise NotFound(f"there is no {kind.name.lower()} '{name}'")
        if found.module == VMLINUX:
            return AttachPoint(_SOME_FD, found.type_id)
        return AttachPoint(self._state.open_module(found.module, 0), found.type_id)

    def load(self, image: Image, request: Request) -> LoadedFds:
        """Nothing is loaded by who only answers."""
        raise AssertionError

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """Nothing is called by who only answers."""
        raise AssertionError

    def map_memory(self, fd: int, size: int) -> MappedFd:
        """Nothing is mapped by who only answers."""
        raise AssertionError
