"""The machine that this process runs on, as a target."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property

from lskel.bpf.enums import ProgType
from lskel.object.sections import SectionSpec
from lskel.runtime import kconfig, kernel_struct
from lskel.runtime.attach_point import AttachPoint, in_kernel, in_program, is_in_program
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.kernel_btf import KernelBtf


class ThisMachine:
    """Asks the running kernel. A context manager: it holds fds that the answers speak of.

    `trust_pins` is that of `Options`, for programs that are named by their pins.
    """

    def __init__(self, *, trust_pins: bool = False) -> None:
        self._trust_pins = trust_pins
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
        return kernel_struct.type_size(self._kernel, type_)

    def member_index(self, type_: str, member: str) -> int:
        """The number of a member in a struct of the kernel."""
        return kernel_struct.member_index(self._kernel, type_, member)

    def attach_point(self, spec: SectionSpec, target: str) -> AttachPoint:
        """A function, hook or tracepoint of the kernel, or a function of a BPF program."""
        if spec.prog_type == ProgType.EXT or is_in_program(target):
            trust = self._trust_pins
            return in_program(target, spec.target, self._stack, trust_pins=trust)
        assert spec.btf_target is not None
        name = spec.btf_target.prefix + target.rpartition(":")[2]
        return in_kernel(name, spec.btf_target.kind, self._kernel, self._stack)
