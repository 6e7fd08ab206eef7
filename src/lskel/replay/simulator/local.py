"""A simulated kernel instead of the running one: for tests of collections without root.

Loaders run in it, and maps store values. Programs are loaded, but not run.
"""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from lskel.bpf.attr import encode, load, object_name, store
from lskel.bpf.enums import Cmd
from lskel.bpf.inputs import TypeMismatch
from lskel.bpf.layouts import INFO, MAP_ELEM, MAP_INFO, PROG_INFO, Layout
from lskel.errors import NotFound, NotSupported, UsageError
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import VMLINUX, KernelImage, KernelNames
from lskel.replay.simulator.simulate import simulate
from lskel.replay.simulator.syscall.map_types import PAGE_SIZE
from lskel.replay.simulator.syscall.maps import SimulatedMap
from lskel.replay.simulator.syscall.programs import SimulatedProgram
from lskel.replay.simulator.syscall.storage import ArrayStorage
from lskel.runtime import kernel_extern, kernel_struct
from lskel.runtime.attach.link import Link
from lskel.runtime.attach_point import AttachPoint, btf_name, module_of
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.image import Image
from lskel.runtime.kconfig import FixedSource, KconfigSource, version_code
from lskel.runtime.loader import Result
from lskel.runtime.memory import MappedFd
from lskel.runtime.objects import Fd
from lskel.runtime.program import ProgramDefinition
from lskel.runtime.request import LoadedFds, Request, build_context, expected_fds
from lskel.runtime.syscall import BpfError

if TYPE_CHECKING:
    from lskel.runtime.kernel import KernelTypes

# The release that the simulator follows.
_VERSION = version_code(6, 18, 0)
# The struct size and member index of a kernel that knows every name.
_SOME_SIZE, _SOME_INDEX, _SOME_FD = 64, 0, 0
# Not an fd of this process: real system calls with a simulated fd fail with EBADF.
FIRST_FD = 1 << 30
_FD_SIZE = 4
# The pointers of the element commands, and whether the kernel writes to them.
_POINTERS = {
    Cmd.MAP_LOOKUP_ELEM: (("key", False), ("value", True)),
    Cmd.MAP_LOOKUP_AND_DELETE_ELEM: (("key", False), ("value", True)),
    Cmd.MAP_UPDATE_ELEM: (("key", False), ("value", False)),
    Cmd.MAP_DELETE_ELEM: (("key", False),),
    Cmd.MAP_GET_NEXT_KEY: (("key", False), ("next_key", True)),
    Cmd.MAP_FREEZE: (),
    Cmd.MAP_CREATE: (),
}


class SimulatedFd(Fd, Link):
    """An fd of a simulated kernel; that of a link has no pin, update or info."""

    __slots__ = ("_kernel",)

    def __init__(self, kernel: SimulatedKernel, fd: int) -> None:
        super().__init__(fd)
        self._kernel = kernel

    def close(self) -> None:
        """Close the fd; does nothing if already closed."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._kernel.fds.close(fd)

    def __enter__(self) -> SimulatedFd:
        return self


class _SharedMemory(MappedFd):
    """The bytes of an element, until closed."""

    def close(self) -> None:
        self._fd = -1
        self.memory.release()


class SimulatedMachine:
    """A machine with a simulated kernel: ``lskel.load(obj, kernel=SimulatedMachine())``.

    It behaves like Linux 6.18 for root, has no verifier and does not attach programs. `names` are
    its BTF and symbols; by default it knows every name, with sizes and indexes that are made up.
    `faults` are injected faults. `kernel` has the record of all calls.
    """

    is_running = False

    def __init__(
        self,
        kernel: SimulatedKernel | None = None,
        *,
        names: KernelNames | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._is_own = kernel is None
        self.kernel = kernel or SimulatedKernel(
            sys.byteorder,
            names=names,
            faults=faults,
            cpus=len(possible_cpus()),  # per-CPU map values have the layout of this machine
            first_fd=FIRST_FD,
        )
        self._state = self.kernel.state

    @property
    def cpus(self) -> int:
        """Number of possible CPUs."""
        return self._state.cpus

    @property
    def page_size(self) -> int:
        """The page size in bytes."""
        return PAGE_SIZE

    @property
    def kconfig(self) -> KconfigSource:
        """A kernel configuration in which unset values are 0."""
        return FixedSource(kernel_version=_VERSION, unknown_is_zero=True)

    @property
    def types(self) -> KernelTypes:
        """Its types: this object."""
        return self

    def type_size(self, type_: str) -> int:
        """The size of a struct in bytes."""
        names = self._state.names
        if isinstance(names, KernelImage):
            return kernel_struct.type_size(names, type_)
        return _SOME_SIZE

    def member_index(self, type_: str, member: str) -> int:
        """The index of a member in a struct."""
        names = self._state.names
        if isinstance(names, KernelImage):
            return kernel_struct.member_index(names, type_, member)
        return _SOME_INDEX

    def is_mismatch(self, asked: TypeMismatch) -> bool:
        """Whether a weak function is of another type; any name is of the type that is declared."""
        names = self._state.names
        if not isinstance(names, KernelImage):
            return False
        found = names.find(asked.name, kernel_extern.kind(asked))
        return found is not None and kernel_extern.is_mismatch(asked, found.btf, found.type_id)

    def attach_point(
        self, program: ProgramDefinition, target: str, held: ExitStack, *, trust_pins: bool
    ) -> AttachPoint:
        """The attach target, a kernel type or a module; other BPF programs do not exist."""
        if module := module_of(program, target):
            names = self._state.names
            if isinstance(names, KernelImage) and module not in names.modules:
                raise NotFound(f"no module '{module}' with BTF is loaded")
            return AttachPoint(self._state.open_module(module, 0), 0)
        name, kind = btf_name(program, target)
        found = self._state.names.type(name, kind)
        if found is None:
            raise NotFound(f"no {kind.name.lower()} '{name}'")
        if found.module == VMLINUX:
            return AttachPoint(_SOME_FD, found.type_id)
        return AttachPoint(self._state.open_module(found.module, 0), found.type_id)

    def load(self, image: Image, request: Request) -> LoadedFds:
        """Run the loader; ReplayError names the failed operation."""
        if not self._is_own:
            raise UsageError(
                "this simulated kernel is not that of this machine",
                hint="make the machine without `kernel`",
            )
        return image.load(request, self._run)

    def _run(self, image: Image, request: Request, log: bytearray | None) -> Result:
        def address_of(value: bytes | bytearray) -> int:
            return self.kernel.map_user("initial value", bytearray(value)).base

        ran = simulate(
            image.insns,
            image.settled(request, address_of),
            bytes(build_context(request, image.order, address_of)),
            image.order,
            kernel=self.kernel,
        )
        if ran.value:
            return Result(ran.value, ran.blob)
        offsets = (item.offset for item in expected_fds(request))
        numbers = (int.from_bytes(ran.context[at : at + _FD_SIZE], sys.byteorder) for at in offsets)
        fds = tuple(SimulatedFd(self.kernel, number) for number in numbers)
        return Result(0, b"", fds)

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """The element commands and OBJ_GET_INFO_BY_FD; minus EINVAL for others."""
        if cmd == Cmd.OBJ_GET_INFO_BY_FD:
            return self._info(attr)
        if cmd not in _POINTERS or cmd == Cmd.MAP_CREATE:
            return -errno.EINVAL
        file = self.kernel.fds.file(load(attr, MAP_ELEM, "map_fd", sys.byteorder))
        if file is None or not isinstance(file.object, SimulatedMap):
            return -(errno.EBADF if file is None else errno.EINVAL)
        sizes = {"value": file.object.element_size}
        with self._reachable(Cmd(cmd), attr, sizes, file.object.key_size) as address:
            return self.kernel.bpf(cmd, address, len(attr))

    @contextmanager
    def _reachable(
        self, cmd: Cmd, attr: bytearray, sizes: dict[str, int], key_size: int
    ) -> Iterator[int]:
        """The address of a copy of `attr` whose pointers are to simulated process memory."""
        memory, copy, regions = self.kernel.memory, bytearray(attr), []
        for field, is_written in _POINTERS[cmd]:
            address, size = load(attr, MAP_ELEM, field, sys.byteorder), sizes.get(field, key_size)
            if address:
                data = bytearray(ctypes.string_at(address, size))
                region = self.kernel.map_user(field, data)
                store(copy, MAP_ELEM, field, region.base, sys.byteorder)
                regions.append((region, address if is_written else 0))
        regions.append((self.kernel.map_user("attr", copy), 0))
        try:
            yield regions[-1][0].base
        finally:
            for region, address in regions:
                memory.unmap(region)
                if address:
                    ctypes.memmove(address, bytes(region.data), len(region.data))

    def create(self, cmd: int, attr: bytearray) -> Fd:
        """MAP_CREATE without BTF; BpfError if the kernel refuses."""
        with self._reachable(Cmd(cmd), attr, {}, 0) as address:
            number = self.kernel.bpf(cmd, address, len(attr))
        if number < 0:
            raise BpfError(cmd, -number)
        return SimulatedFd(self.kernel, number)

    def _info(self, attr: bytearray) -> int:
        file = self.kernel.fds.file(load(attr, INFO, "bpf_fd", sys.byteorder))
        if file is None or not isinstance(file.object, SimulatedMap | SimulatedProgram):
            return -(errno.EBADF if file is None else errno.EINVAL)
        size = load(attr, INFO, "info_len", sys.byteorder)
        layout, fields = _info_of(file.object)
        info = bytes(encode(layout, size, sys.byteorder, **fields))
        ctypes.memmove(load(attr, INFO, "info", sys.byteorder), info, size)
        return 0

    def map_memory(self, fd: int, size: int) -> MappedFd:
        """The memory of the only element of an array."""
        file = self.kernel.fds.file(fd)
        storage = file.object.storage if file and isinstance(file.object, SimulatedMap) else None
        if not isinstance(storage, ArrayStorage) or storage.entries != 1:
            raise NotSupported("the simulated kernel can only mmap global variables")
        element = storage.lookup(bytes(4), b"")
        assert isinstance(element, bytearray)
        return _SharedMemory(fd, 0, memoryview(element))


def _info_of(made: SimulatedMap | SimulatedProgram) -> tuple[Layout, dict[str, int | bytes]]:
    common: dict[str, int | bytes] = {
        "id": made.id,
        "type": made.type,
        "name": object_name(made.name),
    }
    if isinstance(made, SimulatedProgram):
        return PROG_INFO, common
    return MAP_INFO, common | {
        "key_size": made.key_size,
        "value_size": made.value_size,
        "max_entries": made.max_entries,
        "map_flags": made.flags,
        "btf_key_type_id": made.key_type,
        "btf_value_type_id": made.value_type,
        "map_extra": made.extra,
    }
