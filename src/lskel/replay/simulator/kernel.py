"""The simulated kernel: bpf(2) and the helpers of SYSCALL programs, for one process.

It behaves like Linux 6.18 for root. It has no verifier, and does not attach programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lskel import budget
from lskel.bpf.enums import Cmd
from lskel.btf.kinds import Kind
from lskel.cursor import ByteOrder
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.memory import Memory, MemoryRegion
from lskel.replay.simulator.names import VMLINUX, AnyName, KernelNames
from lskel.replay.simulator.record import (
    CallRecord,
    FdRef,
    FoundType,
    RecordedHelper,
    Result,
    Value,
)
from lskel.replay.simulator.syscall import btfs, links, maps, prog_load
from lskel.replay.simulator.syscall.attrs import (
    SHAPES,
    SIZE,
    Attr,
    check_size,
    check_tail,
    check_unused,
)
from lskel.replay.simulator.syscall.describe import describe
from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check
from lskel.replay.simulator.syscall.fds import FIRST_FD, MAX_FDS, FdTable
from lskel.replay.simulator.syscall.space import Domain, Space
from lskel.replay.simulator.syscall.state import KernelState, PendingCall

_COMMANDS: dict[Cmd, Callable[[KernelState, PendingCall], int]] = {
    Cmd.MAP_CREATE: maps.create,
    Cmd.MAP_LOOKUP_ELEM: maps.lookup,
    Cmd.MAP_UPDATE_ELEM: maps.update,
    Cmd.MAP_DELETE_ELEM: maps.delete,
    Cmd.MAP_LOOKUP_AND_DELETE_ELEM: maps.lookup_and_delete,
    Cmd.MAP_GET_NEXT_KEY: maps.next_key,
    Cmd.MAP_FREEZE: maps.freeze,
    Cmd.MAP_GET_FD_BY_ID: maps.by_id,
    Cmd.PROG_LOAD: prog_load.load,
    Cmd.PROG_BIND_MAP: links.bind_map,
    Cmd.BTF_LOAD: btfs.load,
    Cmd.RAW_TRACEPOINT_OPEN: links.raw_tracepoint_open,
    Cmd.LINK_CREATE: links.create,
}
_MAKE_FDS = frozenset(
    (
        Cmd.MAP_CREATE,
        Cmd.MAP_GET_FD_BY_ID,
        Cmd.PROG_LOAD,
        Cmd.BTF_LOAD,
        Cmd.RAW_TRACEPOINT_OPEN,
        Cmd.LINK_CREATE,
    )
)
# The commands for SYSCALL programs; others return EINVAL.
_FOR_PROGRAMS = frozenset(
    (
        Cmd.MAP_CREATE,
        Cmd.MAP_DELETE_ELEM,
        Cmd.MAP_UPDATE_ELEM,
        Cmd.MAP_FREEZE,
        Cmd.MAP_GET_FD_BY_ID,
        Cmd.PROG_LOAD,
        Cmd.BTF_LOAD,
        Cmd.LINK_CREATE,
        Cmd.RAW_TRACEPOINT_OPEN,
    )
)


class CallOutcome(NamedTuple):
    """The return value of a call, and its result in the record."""

    ret: int
    result: Result


class SimulatedKernel:
    """A kernel with one process, which has memory, and fds from `first_fd` on.

    `order` is its byte order, `names` its BTF and symbols, `cpus` its number of possible CPUs.
    `records` grows by one for each call, with which `observers` are called; `printed` by one for
    each trace_printk. Without `names` it knows every name, so that every loader completes.
    """

    def __init__(
        self,
        order: ByteOrder,
        *,
        names: KernelNames | None = None,
        faults: Faults | None = None,
        cpus: int = 1,
        first_fd: int = FIRST_FD,
    ) -> None:
        self.faults = faults or Faults()
        self.memory = Memory(order)
        limit = MAX_FDS if self.faults.max_fds is None else self.faults.max_fds
        self.state = KernelState(
            order, Space(self.memory), FdTable(limit, first_fd), names or AnyName(), cpus
        )
        self.records: list[CallRecord] = []
        self.observers: list[Callable[[CallRecord], None]] = []
        self.printed: list[str] = []

    @property
    def order(self) -> ByteOrder:
        """Its byte order."""
        return self.state.order

    @property
    def fds(self) -> FdTable:
        """The process's fds."""
        return self.state.fds

    @property
    def open_fds(self) -> dict[int, FdRef]:
        """The object of each open fd."""
        refs = ((fd, self.state.ref(fd)) for fd, _ in self.fds)
        return {fd: ref for fd, ref in refs if isinstance(ref, FdRef)}

    def map_user(self, name: str, data: bytearray, *, writable: bool = True) -> MemoryRegion:
        """Map `data` into the process's memory."""
        return self.state.space.map_user(name, data, writable=writable)

    def bpf(self, cmd: int, address: int, size: int) -> int:
        """bpf(2) of the process: the return value, or minus an errno."""
        return self._syscall(cmd, address, size, Domain.USER)

    def sys_bpf(self, cmd: int, address: int, size: int) -> int:
        """bpf_sys_bpf of a SYSCALL program; its pointers are to kernel memory."""
        return self._syscall(cmd, address, size, Domain.KERNEL)

    def _syscall(self, cmd: int, address: int, size: int, domain: Domain) -> int:
        known = Cmd(cmd) if cmd in Cmd._value2member_map_ else None
        attr: dict[str, Value] = {}

        def answer() -> CallOutcome:
            check(domain is Domain.USER or known in _FOR_PROGRAMS)
            call = self._call(known, address, size, domain)
            if known is None or known not in _COMMANDS:
                raise Refusal(Errno.EINVAL)
            attr.update(describe(self.state, known, call))
            self._inject()
            check_unused(call.attr, SHAPES[known].last)
            ret = _COMMANDS[known](self.state, call)
            return CallOutcome(ret, self.state.ref(ret) if known in _MAKE_FDS else ret)

        return self._record(cmd if known is None else known, attr, answer, size)

    def _call(self, cmd: Cmd | None, address: int, size: int, domain: Domain) -> PendingCall:
        check_size(size)
        content = self.state.space.read(address, size, domain)
        check_tail(content)
        layout = SHAPES[cmd].layout if cmd is not None and cmd in SHAPES else {}
        raw = content[:SIZE].ljust(SIZE, b"\0")
        return PendingCall(len(self.records), Attr(raw, layout, self.order), domain)

    def close(self, fd: int) -> int:
        """close(2) of an fd: 0 or minus an errno."""
        attr: dict[str, Value] = {"fd": self.state.ref(fd)}

        def answer() -> CallOutcome:
            self.fds.close(fd)
            self._inject()
            return CallOutcome(0, 0)

        return self._record(RecordedHelper.CLOSE, attr, answer)

    def find_type(self, name: bytes, kind: int, flags: int) -> int:
        """bpf_btf_find_by_name_kind; the name includes its NUL.

        Returns a BTF id, with the fd of a module's BTF in the upper half, or minus an errno.
        """
        attr: dict[str, Value] = {
            "name": _text(name),
            "kind": Kind(kind) if kind in Kind._value2member_map_ else kind,
            "flags": flags,
        }

        def answer() -> CallOutcome:
            self._inject()
            check(flags == 0)
            wanted = self._wanted(name)
            found = self.state.names.type(wanted, kind)
            if found is None or wanted in self.faults.missing:
                raise Refusal(Errno.ENOENT)
            fd = 0
            if found.module != VMLINUX:
                fd = self.state.open_module(found.module, len(self.records))
            return CallOutcome(
                fd << 32 | found.type_id, FoundType(found.type_id, self.state.ref(fd))
            )

        return self._record(RecordedHelper.BTF_FIND, attr, answer)

    def find_symbol(self, name: bytes, flags: int) -> tuple[int, int]:
        """bpf_kallsyms_lookup_name; the name includes its NUL.

        Returns 0 or minus an errno, and the address.
        """
        found = 0

        def answer() -> CallOutcome:
            nonlocal found
            self._inject()
            check(flags == 0)
            wanted = self._wanted(name)
            address = None if wanted in self.faults.missing else self.state.names.address(wanted)
            found = address or 0
            check(found != 0, Errno.ENOENT)
            return CallOutcome(0, found)

        ret = self._record(RecordedHelper.KALLSYMS, {"name": _text(name), "flags": flags}, answer)
        return ret, found

    def _wanted(self, name: bytes) -> str:
        check(len(name) > 1 and name[-1] == 0)
        return _text(name)

    def _inject(self) -> None:
        errno = self.faults.calls.get(len(self.records))
        if errno is not None:
            raise Refusal(errno)

    def _record(
        self,
        cmd: Cmd | int | RecordedHelper,
        attr: dict[str, Value],
        answer: Callable[[], CallOutcome],
        size: int = 0,
    ) -> int:
        number = len(self.records)
        try:
            ret, result = answer()
        except Refusal as refusal:
            ret = result = -refusal.errno
        injected = ret < 0 and self.faults.calls.get(number) == -ret
        record = CallRecord(number, cmd, attr, result, ret, size, injected)
        self.records.append(record)
        for observe in self.observers:
            observe(record)
        return ret


def _text(name: bytes) -> str:
    return name[: budget.STRING].partition(b"\0")[0].decode("utf-8", "backslashreplace")
