"""Looking up types in the BTF of the running kernel and its modules."""

from __future__ import annotations

import errno
from functools import cache

from lskel.bpf.enums import Cmd
from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.btf.types import StructType, TypeId
from lskel.errors import NotFound
from lskel.light_typing import NamedTuple
from lskel.runtime import objects
from lskel.runtime.files import read_bytes
from lskel.runtime.info import btf_info
from lskel.runtime.kernel_struct import KernelStruct
from lskel.runtime.objects import Fd, by_id, ids
from lskel.runtime.syscall import BpfError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VMLINUX = "/sys/kernel/btf/vmlinux"


class Found(NamedTuple):
    """A kernel type: its id, the BTF that has it, and the fd of that BTF if it is a module's."""

    type_id: TypeId
    btf: Btf
    module: Fd | None


@cache
def _read(path: str) -> Btf:
    # Cached: it does not change while the kernel runs, and parsing takes 0.1 s.
    try:
        return Btf(read_bytes(path))
    except KernelError as error:
        raise NotFound(
            f"cannot read the kernel's BTF {path}: {error.strerror}",
            hint=error.hint or "the kernel must be built with CONFIG_DEBUG_INFO_BTF",
        ) from error


def _modules() -> Iterator[tuple[str, Fd]]:
    """The names of the modules with BTF, and its fds, which the caller closes."""
    for number in ids(objects.ObjectKind.BTF):
        try:
            fd = by_id(objects.ObjectKind.BTF, number)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                continue  # unloaded meanwhile
            raise
        info = btf_info(fd.fileno())
        if info.kernel and info.name != "vmlinux":
            yield info.name, fd
        else:
            fd.close()


class KernelBtf:
    """The running kernel's BTF, read on first use."""

    @property
    def vmlinux(self) -> Btf:
        """NotFound if the kernel has none (CONFIG_DEBUG_INFO_BTF)."""
        return _read(VMLINUX)

    def find(self, name: str, kind: Kind) -> Found:
        """A type by name and kind, in vmlinux, then modules, as bpf_btf_find_by_name_kind does.

        BpfError ENOENT if it does not exist. The caller owns the module's fd.
        """
        type_id = self.vmlinux.find_kind(name, kind)
        if type_id is not None:
            return Found(type_id, self.vmlinux, None)
        try:
            return self._find_in_modules(name, kind)
        except BpfError as error:
            if error.errno == errno.EPERM:
                error.hint = (
                    f"vmlinux has no {kind.name.lower()} '{name}', and the BTF of modules needs "
                    "CAP_SYS_ADMIN"
                )
            raise

    def module(self, name: str) -> Fd:
        """The fd of a module's BTF, which the caller owns. NotFound if no such module is loaded.

        BpfError EPERM without CAP_SYS_ADMIN.
        """
        for found, fd in _modules():
            if found == name:
                return fd
            fd.close()
        raise NotFound(f"no module '{name}' with BTF is loaded", hint="load it with modprobe")

    def of_module(self, fd: Fd) -> Btf:
        """The BTF of a module's BTF fd."""
        return Btf(btf_info(fd.fileno(), data=True).data, self.vmlinux)

    def _find_in_modules(self, name: str, kind: Kind) -> Found:
        for _, fd in _modules():
            btf = self.of_module(fd)
            type_id = btf.find_kind(name, kind)
            if type_id is not None:
                return Found(type_id, btf, fd)
            fd.close()
        raise BpfError(Cmd.BTF_GET_FD_BY_ID, errno.ENOENT)

    def struct(self, name: str) -> KernelStruct | None:
        """A struct by name, in vmlinux and then in modules."""
        try:
            found = self.find(name, Kind.STRUCT)
        except BpfError as error:
            if error.errno != errno.ENOENT:
                raise
            return None
        if found.module is not None:
            found.module.close()
        return KernelStruct(found.btf, found.btf.get(found.type_id, StructType))
