"""What a load needs from a kernel; and the running kernel."""

from __future__ import annotations

import os

from lskel.errors import NotSupported
from lskel.runtime.syscall import BpfError, bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import Protocol

    from lskel.bpf.inputs import TypeMismatch
    from lskel.runtime.attach_point import AttachPoint
    from lskel.runtime.image import Image
    from lskel.runtime.kconfig import KconfigSource
    from lskel.runtime.memory import MappedFd
    from lskel.runtime.objects import Bpf, Fd
    from lskel.runtime.program import ProgramDefinition
    from lskel.runtime.request import LoadedFds, Request

    class KernelTypes(Protocol):
        """The types of a kernel, and of programs loaded in it."""

        def type_size(self, type_: str) -> int:
            """Size of a struct in bytes; NotSupported if it does not exist."""

        def member_index(self, type_: str, member: str) -> int:
            """Index of a member in a struct; NotSupported if it does not exist."""

        def is_mismatch(self, asked: TypeMismatch) -> bool:
            """Whether a weak function is of another type; NotSupported if it is not a weak one."""

        def attach_point(
            self, program: ProgramDefinition, target: str, held: ExitStack, *, trust_pins: bool
        ) -> AttachPoint:
            """The attach target of a program, by name; `held` keeps its fd open."""

    class Kernel(Protocol):
        """A kernel: the running one, or a simulated one.

        `is_running`: it is the running kernel, where pins can be opened and arenas mapped.
        `kconfig` are its kconfig values, `types` its types; None for those of the running kernel.
        """

        @property
        def is_running(self) -> bool: ...

        @property
        def cpus(self) -> int:
            """Number of possible CPUs."""

        @property
        def page_size(self) -> int:
            """In bytes."""

        @property
        def kconfig(self) -> KconfigSource | None: ...

        @property
        def types(self) -> KernelTypes | None: ...

        def load(self, image: Image, request: Request) -> LoadedFds:
            """Execute a request, all or nothing. ReplayError names the refused operation."""

        def bpf(self, cmd: int, attr: bytearray) -> int:
            """bpf(2): its result, or minus the errno (or BpfError).

            Pointers are to memory of this process.
            """

        def create(self, cmd: int, attr: bytearray) -> Fd:
            """bpf(2) that creates an fd; BpfError if the kernel refuses."""

        def map_memory(self, fd: int, size: int) -> MappedFd:
            """Map the memory of a one-element array, which its programs share."""


class RunningKernel:
    """The running kernel. What few skeletons need is imported on use."""

    is_running = True

    @property
    def cpus(self) -> int:
        """Number of possible CPUs."""
        from lskel.runtime.cpus import possible_cpus

        return len(possible_cpus())

    @property
    def page_size(self) -> int:
        """In bytes."""
        return os.sysconf("SC_PAGE_SIZE")

    @property
    def kconfig(self) -> KconfigSource | None:
        """None: `lskel.runtime.kconfig` reads its configuration."""
        return None

    @property
    def types(self) -> KernelTypes | None:
        """None: `lskel.runtime.inputs` reads its types."""
        return None

    def load(self, image: Image, request: Request) -> LoadedFds:
        """Run the loader program once (Linux 5.14)."""
        return image.load(request)

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """bpf(2) itself."""
        return bpf(cmd, attr)

    def create(self, cmd: int, attr: bytearray) -> Fd:
        """bpf(2) itself; the fd that it returns."""
        from lskel.runtime.objects import Fd

        return Fd(bpf(cmd, attr))

    def map_memory(self, fd: int, size: int) -> MappedFd:
        """mmap it (Linux 5.5); KernelError if the kernel refuses."""
        from lskel.runtime.memory import map_memory

        return map_memory(fd, size)


RUNNING = RunningKernel()


def bpf_of(kernel: Kernel) -> Bpf:
    """The bpf(2) of a kernel, raising BpfError."""

    def checked(cmd: int, attr: bytearray) -> int:
        result = kernel.bpf(cmd, attr)
        if result < 0:
            raise BpfError(cmd, -result)
        return result

    return kernel.bpf if kernel.is_running else checked


def check_running(kernel: Kernel, what: str) -> None:
    """NotSupported unless this is the running kernel, the only one that can do `what`."""
    if not kernel.is_running:
        raise NotSupported(f"this kernel is simulated: it {what}")
