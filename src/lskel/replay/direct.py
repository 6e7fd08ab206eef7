"""Direct replay: the trace's own calls, one by one, from this process."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from contextlib import ExitStack

from lskel.bpf.attr import store
from lskel.bpf.enums import Cmd
from lskel.replay import target
from lskel.replay.kernel_btf import KernelBtf
from lskel.replay.loaded import Loaded, loaded
from lskel.replay.overrides import override
from lskel.replay.report import failure, split_log
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError, address_of, bpf
from lskel.syscalls import Call, Data, FdArray, FdPointer, LogFields, Part, call_of
from lskel.trace import BtfFind, Close, Op, Trace

# Log buffers grow from the first size to the last, the most that old kernels take.
LOG_SIZES = (1 << 16, 1 << 20, (1 << 24) - 1)


def run(
    trace: Trace,
    *,
    max_entries: Mapping[str, int] | None = None,
    initial: Mapping[str, bytes] | None = None,
) -> Loaded:
    """Load everything by a system call an operation; takes what `kernel.run` takes.

    ReplayError names the failing operation, with the verifier's log; all fds are closed then.
    """
    target.check_byte_order(trace)
    changed = override(trace, max_entries, initial, target.this_machine())
    with ExitStack() as stack:
        replay = _Direct(changed, stack)
        for number, op in enumerate(changed.ops):
            replay.issue(number, op)
        kept = {made.op for made in trace.maps} | {p.op for p in trace.programs if p.op is not None}
        result = loaded(
            trace,
            [replay.fds[made.op] for made in trace.maps],
            [None if p.op is None else replay.fds[p.op] for p in trace.programs],
        )
        stack.pop_all()
    for number, fd in replay.fds.items():
        if number not in kept:
            fd.close()
    return result


class _Direct:
    """Issues the calls; `fds` and `btf_ids` by the number of the op that made them."""

    def __init__(self, trace: Trace, stack: ExitStack) -> None:
        self.trace = trace
        self.stack = stack
        self.fds: dict[int, Fd] = {}
        self.btf_ids: dict[int, int] = {}
        self.kernel_btf = KernelBtf()

    def issue(self, number: int, op: Op) -> None:
        """Make the call of one operation; ReplayError where the kernel refuses it."""
        call = call_of(op, self.trace.order)
        try:
            if call is not None:
                self.keep(number, self.make(call), call.cmd)
            elif isinstance(op, BtfFind):
                self.find(number, op)
            elif isinstance(op, Close) and op.ref.op in self.fds:
                self.fds[op.ref.op].close()
        except BpfError as error:
            log = self.logged(call) if call is not None and call.log is not None else ()
            raise failure(self.trace, number, error.errno, log) from error

    def keep(self, number: int, result: int, cmd: Cmd) -> None:
        if cmd in (Cmd.BTF_LOAD, Cmd.MAP_CREATE, Cmd.PROG_LOAD):
            self.fds[number] = self.stack.enter_context(Fd(result))

    def find(self, number: int, op: BtfFind) -> None:
        found = self.kernel_btf.find(op.name, op.kind)
        self.btf_ids[number] = found.type_id
        if found.module is not None:
            self.fds[number] = self.stack.enter_context(found.module)

    def make(self, call: Call, log: bytearray | None = None) -> int:
        order = self.trace.order
        attr = bytearray(call.attr)
        keep: list[bytes | bytearray] = []

        def point(field: str, content: bytes | bytearray) -> None:
            keep.append(content)
            store(attr, call.layout, field, address_of(content), order)

        for value in call.numbers:
            store(attr, call.layout, value.field, self.number(value.ref.op, value.part), order)
        for pointer in call.pointers:
            if isinstance(pointer, Data):
                point(pointer.field, pointer.content.ljust(pointer.size, b"\0"))
            elif isinstance(pointer, FdPointer):
                point(pointer.field, self.fds[pointer.ref.op].fileno().to_bytes(4, order))
            elif isinstance(pointer, FdArray):
                fds = [self.fds[made.op].fileno() for made in self.trace.maps]
                point(pointer.field, b"".join(fd.to_bytes(4, order) for fd in fds))
        if log is not None and call.log is not None:
            fill_log(attr, call, call.log, log)
        return bpf(call.cmd, attr)

    def number(self, op: int, part: Part) -> int:
        if part is Part.BTF_ID:
            return self.btf_ids[op]
        fd = self.fds.get(op)
        return fd.fileno() if fd is not None else 0

    def logged(self, call: Call) -> tuple[str, ...]:
        """Make a call that failed again, with a log buffer that is large enough."""
        log = bytearray()
        for size in LOG_SIZES:
            log = bytearray(size)
            try:
                Fd(self.make(call, log)).close()
            except BpfError as error:
                if error.errno != errno.ENOSPC:
                    break
        return split_log(bytes(log))


def fill_log(attr: bytearray, call: Call, fields: LogFields, log: bytearray) -> None:
    """Ask for a log in `log`."""
    store(attr, call.layout, fields.level, 1, sys.byteorder)
    store(attr, call.layout, fields.size, len(log), sys.byteorder)
    store(attr, call.layout, fields.buffer, address_of(log), sys.byteorder)
