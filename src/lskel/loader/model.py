"""The Loader: the blob, the program, and the trace that they replay."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from lskel.bpf import context
from lskel.loader.blob import Region
from lskel.trace import Trace


class Form(Enum):
    """The code generators."""

    TABLE = "table"
    UNROLLED = "unrolled"


# The first Linux release for a form: BPF_PROG_TYPE_SYSCALL is in 5.14, bpf_loop in 5.17.
NEEDS = {Form.TABLE: "5.17", Form.UNROLLED: "5.14"}


class Bytes(Enum):
    """How a loader's bytes compare with those that its trace generates (loader/verify.py)."""

    SAME = "same"
    # They differ, and the bundle claims another version of lskel; replay/trust.py compares their
    # calls, to decide between the next two.
    ANOTHER_VERSION = "another version"
    SAME_CALLS = "another version, same calls"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Loader:
    """A loader: `insns` is a SYSCALL program, `blob` the value of its only map.

    It replays `trace`; `regions` describe the ranges of the blob. `status` is the blob offset of a
    u32: the operation that failed, or NO_OP. A program with callbacks needs `btf`, with the
    function types for `func_info` (struct bpf_func_info).

    `compared`: for a loader from a file, whether its bytes are what `trace` generates.
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
        """Bytes of the program's context."""
        return context_size(self.trace)

    def with_event_types(self, types: Mapping[str, str]) -> Loader:
        """A copy with the types of the events of ring and perf buffers, by the buffer's name.

        As `Object.with_event_types`; but debug information is not in loaders.
        """
        from lskel.load_phase.events import with_event_types

        return replace(self, trace=with_event_types(self.trace, types)) if types else self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the loader as a bundle, atomically."""
        from lskel.loader.bundle import save

        save(self, path)

    @staticmethod
    def load(source: str | os.PathLike[str] | bytes) -> Loader:
        """Read a bundle from a path or from bytes; BadBundle if it is not valid."""
        from lskel.loader.bundle import load

        return load(source)


def context_size(trace: Trace) -> int:
    """Bytes of the context of a loader for this trace."""
    return context.size(len(trace.maps), len(trace.programs), len(trace.inputs), len(trace.links))
