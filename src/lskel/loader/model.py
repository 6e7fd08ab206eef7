"""A Loader: the blob, the program, and the trace that they replay."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum

from lskel.bpf import context
from lskel.loader.blob import Region
from lskel.trace import Trace


class Form(Enum):
    """The code generators."""

    TABLE = "table"
    UNROLLED = "unrolled"


# The release of Linux that runs a form: BPF_PROG_TYPE_SYSCALL is of 5.14, bpf_loop of 5.17.
NEEDS = {Form.TABLE: "5.17", Form.UNROLLED: "5.14"}


class Bytes(Enum):
    """How a loader's bytes compare with those that its trace generates (loader/verify.py)."""

    SAME = "same"
    # They differ, and another version of lskel is said to have written them; replay/trust.py
    # compares their calls, which tells which of the next two it is.
    ANOTHER_VERSION = "another version"
    SAME_CALLS = "another version, same calls"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Loader:
    """What runs in the kernel: `insns` is a SYSCALL program, `blob` the value of its one map.

    `trace` is what it replays; `regions` say what each range of the blob holds. `status` is the
    blob offset of a u32: the operation that failed, or NO_OP. A program with callbacks needs `btf`,
    with the types of its functions that `func_info` (struct bpf_func_info) names.

    `compared` says of a loader that was read whether its bytes are what `trace` generates.
    """

    form: Form
    trace: Trace
    insns: bytes = field(repr=False)
    blob: bytes = field(repr=False)
    regions: tuple[Region, ...] = field(repr=False)
    status: int
    btf: bytes = b""
    func_info: bytes = b""
    compared: Bytes = field(default=Bytes.SAME, compare=False)

    @property
    def context_size(self) -> int:
        """Bytes of the context that the program takes."""
        return context_size(self.trace)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the loader as a bundle; the file appears whole or not at all."""
        from lskel.loader.bundle import save

        save(self, path)

    @staticmethod
    def load(source: str | os.PathLike[str] | bytes) -> Loader:
        """Read a bundle from a path or from bytes; BadBundle where it is none."""
        from lskel.loader.bundle import load

        return load(source)


def context_size(trace: Trace) -> int:
    """Bytes of the context of a trace's loader."""
    return context.size(len(trace.maps), len(trace.programs), len(trace.inputs), len(trace.links))
