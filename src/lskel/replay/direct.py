"""Direct replay: this process makes the system calls of the trace."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeVar

from lskel.bpf.attr import store
from lskel.bpf.enums import Cmd
from lskel.describe.labels import label
from lskel.replay.externs import FdArrayBuilder, resolve
from lskel.replay.prepared_trace import PreparedTrace, VerifierLog, prepare_trace
from lskel.runtime.common_attr import kernel_text
from lskel.runtime.failure import failure, split_log
from lskel.runtime.image import Image
from lskel.runtime.kallsyms import symbol_address
from lskel.runtime.kernel import RunningKernel
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.objects import Fd
from lskel.runtime.request import LoadedFds, Request
from lskel.runtime.syscall import BpfError, KernelError, address_of, bpf
from lskel.syscalls import (
    Call,
    Data,
    FdArray,
    FdPointer,
    InputNumber,
    LogFields,
    Number,
    Part,
    call_of,
)
from lskel.trace import BtfFind, BtfLoad, Close, KsymFind, MapCreate, Op, ProgLoad, Ref, Trace

_MAKE_FDS = frozenset(
    {
        Cmd.BTF_LOAD,
        Cmd.MAP_CREATE,
        Cmd.PROG_LOAD,
        Cmd.RAW_TRACEPOINT_OPEN,
        Cmd.LINK_CREATE,
    }
)
# The first and last size of growing log buffers; old kernels accept no more than the last.
LOG_SIZES = (1 << 16, 1 << 20, (1 << 24) - 1)
_LOG_LEVEL = 1
# Called with the number of an operation and the nanoseconds of its system calls or BTF lookups.
Observer = Callable[[int, int], None]
_T = TypeVar("_T")


def _nobody(number: int, spent: int) -> None:
    """The default observer: does nothing."""


class CallByCall(RunningKernel):
    """Loads a trace by direct system calls, without a loader program.

    These are the calls of the trace. The bytes of a bundle may make other calls; see
    `lskel.replay.trust.check_trace`. `observe` is called after each successful operation.
    """

    def __init__(self, trace: Trace, observe: Observer = _nobody) -> None:
        self._trace = trace
        self._observe = observe

    def load(self, image: Image, request: Request) -> LoadedFds:
        """Make the calls; ReplayError names the failed one, with the verifier log."""
        made = prepare_trace(self._trace, request)
        trace = made.trace
        with ExitStack() as stack:
            calls = Calls(made, stack)
            for number, op in enumerate(trace.ops):
                if not made.skips(number):
                    calls.spent = 0
                    calls.issue(number, op)
                    self._observe(number, calls.spent)
            stack.pop_all()
        results = {item.op for item in trace.maps} | {program.op for program in trace.programs}
        results |= {link.op for link in trace.links}
        for number, fd in calls.fds.items():
            if number not in results:
                fd.close()
        return LoadedFds(
            tuple(calls.fds.get(item.op) for item in trace.maps),
            tuple(None if p.op is None else calls.fds.get(p.op) for p in trace.programs),
            tuple(calls.fds.get(link.op) for link in trace.links),
        )


class Calls:
    """Makes the calls; their results are by operation number.

    `spent` is the total of nanoseconds in the kernel and in BTF lookups.
    """

    def __init__(self, prepared: PreparedTrace, stack: ExitStack) -> None:
        self.trace = prepared.trace
        self.inputs = prepared.inputs
        self.stack = stack
        self.logs = prepared.logs
        self.fds = {self.trace.maps[slot].op: fd for slot, fd in prepared.given.items()}
        self.found: dict[int, int] = {}
        self.slots = FdArrayBuilder([])
        self.kernel_btf = KernelBtf()
        self.spent = 0

    def timed(self, do: Callable[[], _T]) -> _T:
        start = time.perf_counter_ns()
        try:
            return do()
        finally:
            self.spent += time.perf_counter_ns() - start

    def issue(self, number: int, op: Op) -> None:
        """Make the call of one operation; ReplayError if the kernel refuses it."""
        if isinstance(op, ProgLoad):
            self.slots = FdArrayBuilder([self.fd(made.op) for made in self.trace.maps])
            fds = {find: fd.fileno() for find, fd in self.fds.items() if not fd.closed}
            op = resolve(self.trace, op, self.found, fds, self.slots)
        call = call_of(op, self.trace.order)
        try:
            if call is not None:
                self.keep(number, self.call(op, call, self.logs.get(number)), call.cmd)
            elif isinstance(op, BtfFind):
                self.find(number, op)
            elif isinstance(op, KsymFind):
                self.found[number] = self.timed(lambda: address(op))
            elif isinstance(op, Close) and op.ref.op in self.fds:
                self.timed(self.fds[op.ref.op].close)
        except KernelError as error:
            log = self.logged(number, op, call, error.errno) if call is not None else ()
            raise failure(number, label(self.trace, op), error.errno, log) from error

    def call(self, op: Op, call: Call, log: VerifierLog | None) -> int | None:
        """The result of a call; None for BTF that the kernel rejects and nothing needs."""
        try:
            return self.make(op, call, log)
        except BpfError:
            if isinstance(op, BtfLoad) and not op.needed_by:
                return None
            if isinstance(op, MapCreate) and op.btf_is_optional:
                return self.make(replace(op, btf=None), call)
            raise

    def keep(self, number: int, result: int | None, cmd: Cmd) -> None:
        if result is not None and cmd in _MAKE_FDS:
            self.fds[number] = self.stack.enter_context(Fd(result))

    def find(self, number: int, op: BtfFind) -> None:
        if op.is_weak and op.mismatch is not None and self.inputs[op.mismatch.number]:
            self.found[number] = 0
            return
        try:
            found = self.timed(lambda: self.kernel_btf.find(op.name, op.kind))
        except BpfError as error:
            if not op.is_weak or error.errno != errno.ENOENT:
                raise
            self.found[number] = 0
            return
        self.found[number] = found.type_id
        if found.module is not None:
            self.fds[number] = self.stack.enter_context(found.module)

    def make(self, op: Op, call: Call, log: VerifierLog | None = None) -> int:
        attr, keep = self.attr(op, call, log)
        result = self.timed(lambda: bpf(call.cmd, attr))
        del keep
        return result

    def attr(
        self, op: Op, call: Call, log: VerifierLog | None = None
    ) -> tuple[bytearray, list[bytes | bytearray]]:
        """The attr of a call, and what it points to, which must live as long."""
        order = self.trace.order
        attr = bytearray(call.attr)
        keep: list[bytes | bytearray] = []

        def point(field: str, content: bytes | bytearray) -> None:
            keep.append(content)
            store(attr, call.layout, field, address_of(content), order)

        for value in call.numbers:
            store(attr, call.layout, value.field, self.number(value), order)
        if call.if_module is not None and self.fd(call.if_module.ref.op):
            store(attr, call.layout, call.if_module.field, call.if_module.value, order)
        btf: Ref | None = getattr(op, "btf", None)
        if btf is None or btf.op not in self.fds:
            for field in call.btf_fields:
                store(attr, call.layout, field, 0, order)
        for pointer in call.pointers:
            if isinstance(pointer, Data):
                point(pointer.field, pointer.content.ljust(pointer.size, b"\0"))
            elif isinstance(pointer, FdPointer):
                point(pointer.field, self.fd(pointer.ref.op).to_bytes(4, order))
            elif isinstance(pointer, FdArray):
                point(pointer.field, self.slots.content(order))
        if log is not None and call.log is not None:
            fill_log(attr, call, call.log, log)
        return attr, keep

    def number(self, value: Number | InputNumber) -> int:
        if isinstance(value, InputNumber):
            return self.inputs[value.input.number]
        if value.part is Part.BTF_ID:
            return self.found[value.ref.op]
        return self.fd(value.ref.op)

    def fd(self, op: int) -> int:
        """The fd of an operation; 0 for vmlinux BTF, and for BTF that the kernel rejected."""
        fd = self.fds.get(op)
        return fd.fileno() if fd is not None else 0

    def logged(self, number: int, op: Op, call: Call, code: int) -> tuple[str, ...]:
        """Repeat a failed call with a large enough log buffer; return the log."""
        if isinstance(op, MapCreate):
            return self.said(op, call, code)
        if call.log is None:
            return ()
        asked = self.logs.get(number)
        log, level = bytearray(), _LOG_LEVEL if asked is None else asked.level
        for size in LOG_SIZES:
            log = bytearray(size)
            try:
                Fd(self.make(op, call, VerifierLog(level, log))).close()
                break  # it works now: the cause is gone
            except BpfError as error:
                if error.errno != errno.ENOSPC:
                    break
        return split_log(bytes(log))

    def said(self, op: MapCreate, call: Call, code: int) -> tuple[str, ...]:
        """What the kernel says of a map that it refused."""
        if op.btf_is_optional:
            op = replace(op, btf=None)  # the second call
        attr, keep = self.attr(op, call)
        lines = kernel_text(call.cmd, attr, code)
        del keep
        return lines


def address(op: KsymFind) -> int:
    """The address of a kernel symbol; 0 for a weak one that is missing."""
    found = symbol_address(op.name)
    if found is None and not op.is_weak:
        raise KernelError(f"kernel symbol '{op.name}'", errno.ENOENT)
    return found or 0


def fill_log(attr: bytearray, call: Call, fields: LogFields, log: VerifierLog) -> None:
    """Request a log."""
    store(attr, call.layout, fields.level, log.level, sys.byteorder)
    store(attr, call.layout, fields.size, len(log.buffer), sys.byteorder)
    store(attr, call.layout, fields.buffer, address_of(log.buffer), sys.byteorder)
