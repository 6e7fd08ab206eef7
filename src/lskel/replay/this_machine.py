"""The machine that this process runs on, as a target."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from lskel.bpf.enums import ProgType
from lskel.btf.btf import Btf
from lskel.btf.types import Kind
from lskel.errors import NotFound, UsageError, at
from lskel.object.sections import SectionSpec
from lskel.replay import struct_ops
from lskel.replay.kernel_btf import KernelBtf
from lskel.replay.target import AttachPoint
from lskel.runtime import kconfig, objects
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError

_ID = "id:"


class ThisMachine:
    """Asks the running kernel. A context manager: it holds fds that the answers speak of."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._kernel = KernelBtf()

    def __enter__(self) -> ThisMachine:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def cpus(self) -> int:
        """Number of possible CPUs."""
        return len(possible_cpus())

    @cached_property
    def page_size(self) -> int:
        """In bytes."""
        return os.sysconf("SC_PAGE_SIZE")

    @cached_property
    def kconfig(self) -> kconfig.Source:
        """The running kernel's configuration."""
        return kconfig.this_machine()

    def type_size(self, type_: str) -> int:
        """Bytes of a struct of the kernel."""
        return struct_ops.type_size(self._kernel, type_)

    def member_index(self, type_: str, member: str) -> int:
        """The number of a member in a struct of the kernel."""
        return struct_ops.member_index(self._kernel, type_, member)

    def attach_point(self, spec: SectionSpec, target: str) -> AttachPoint:
        """A function, hook or tracepoint of the kernel, or a function of a BPF program."""
        if spec.prog_type == ProgType.EXT or target.startswith((_ID, "/")):
            return self._in_program(spec, target)
        assert spec.btf_target is not None
        name = spec.btf_target.prefix + target.rpartition(":")[2]
        try:
            found = self._kernel.find(name, spec.btf_target.kind)
        except BpfError as error:
            kind = spec.btf_target.kind.name.lower()
            raise NotFound(f"there is no {kind} '{name}' in the kernel's BTF") from error
        if found.module is None:
            return AttachPoint(0, found.type_id)
        return AttachPoint(self._stack.enter_context(found.module).fileno(), found.type_id)

    def _in_program(self, spec: SectionSpec, target: str) -> AttachPoint:
        """PROGRAM[:FUNCTION]: a function of a loaded program, as its own BTF has it."""
        where = target.removeprefix(_ID)
        name, _, function = where.partition(":")
        with at(f"attach target '{target}'"):
            program = self._program(name, is_id=where != target)
            function = function or spec.target
            if not function:
                raise UsageError("it names no function", hint="name one: PROGRAM:FUNCTION")
            info = objects.prog_info(program.fileno())
            if not info.btf_id:
                raise NotFound(f"program {info.id} '{info.name}' has no BTF")
            with objects.by_id(objects.Kind.BTF, info.btf_id) as btf:
                raw = objects.btf_info(btf.fileno(), data=True).data
            type_id = Btf(raw).find_kernel_type(function, Kind.FUNC)
            if type_id is None:
                raise NotFound(f"program {info.id} '{info.name}' has no function '{function}'")
        return AttachPoint(program.fileno(), type_id)

    def _program(self, name: str, *, is_id: bool) -> Fd:
        try:
            if is_id:
                if not name.isdecimal():
                    raise UsageError(f"'{name}' is no id")
                return self._stack.enter_context(objects.by_id(objects.Kind.PROG, int(name)))
            return self._stack.enter_context(objects.obj_get(Path(name)))
        except BpfError as error:
            raise NotFound(f"no such program: {error.strerror}") from error
