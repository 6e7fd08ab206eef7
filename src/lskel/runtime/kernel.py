"""What loading asks of a kernel; and the answers of the running one."""

from __future__ import annotations

import os

from lskel.errors import NotSupported
from lskel.runtime.syscall import BpfError, bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import Protocol

    from lskel.runtime.attach_point import AttachPoint
    from lskel.runtime.image import Image
    from lskel.runtime.kconfig import Source
    from lskel.runtime.memory import MappedFd
    from lskel.runtime.objects import Bpf
    from lskel.runtime.program import ProgramDefinition
    from lskel.runtime.request import LoadedFds, Request

    class KernelTypes(Protocol):
        """The types of a kernel, and of programs that are loaded in it."""

        def type_size(self, type_: str) -> int:
            """Bytes of a struct; NotSupported where there is none."""

        def member_index(self, type_: str, member: str) -> int:
            """The number of a member in a struct; NotSupported where there is none."""

        def attach_point(
            self, program: ProgramDefinition, target: str, held: ExitStack, *, trust_pins: bool
        ) -> AttachPoint:
            """What a program attaches to, by the name of its target; `held` keeps its fd."""

    class Kernel(Protocol):
        """A kernel: the running one, or another that is known or simulated.

        `is_running` says that it is the running one: pins can be opened, arenas mapped. `kconfig`
        is its configuration, `types` its types; None for those of the running one.
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
        def kconfig(self) -> Source | None: ...

        @property
        def types(self) -> KernelTypes | None: ...

        def load(self, image: Image, request: Request) -> LoadedFds:
            """Load what is asked: all or nothing. ReplayError names what was refused."""

        def bpf(self, cmd: int, attr: bytearray) -> int:
            """bpf(2): what it returns, or minus the errno (or BpfError).

            Its pointers are to memory of this process.
            """

        def map_memory(self, fd: int, size: int) -> MappedFd:
            """The memory of an array with one element, which its programs share."""


class RunningKernel:
    """The running kernel. Of what it knows, only those ask who need it: not all skeletons do."""

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
    def kconfig(self) -> Source | None:
        """Its configuration, which `lskel.runtime.kconfig` finds."""
        return None

    @property
    def types(self) -> KernelTypes | None:
        """Its types, which `lskel.runtime.inputs` finds."""
        return None

    def load(self, image: Image, request: Request) -> LoadedFds:
        """Run the loader program once (Linux 5.14)."""
        return image.load(request)

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """bpf(2) itself."""
        return bpf(cmd, attr)

    def map_memory(self, fd: int, size: int) -> MappedFd:
        """Map it (Linux 5.5); KernelError where the kernel refuses."""
        from lskel.runtime.memory import map_memory

        return map_memory(fd, size)


RUNNING = RunningKernel()


def bpf_of(kernel: Kernel) -> Bpf:
    """The bpf(2) of a kernel, which raises BpfError."""

    def checked(cmd: int, attr: bytearray) -> int:
        result = kernel.bpf(cmd, attr)
        if result < 0:
            raise BpfError(cmd, -result)
        return result

    return kernel.bpf if kernel.is_running else checked


def check_running(kernel: Kernel, what: str) -> None:
    """NotSupported unless the kernel is the running one, which alone can do `what`."""
    if not kernel.is_running:
        raise NotSupported(f"this kernel is simulated: it {what}")
