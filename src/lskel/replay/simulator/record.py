"""The record of a replay: each call with its decoded attr and its result.

Records of different loaders can be compared: comparisons ignore fd numbers, addresses, attr sizes
and call numbers. An fd compares by its object; a pointer is replaced by what it points to, and a
pointer to nothing, such as func_info with func_info_cnt 0, by b"".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from lskel.bpf.enums import Cmd


class RecordedHelper(Enum):
    """The recorded helpers other than bpf(2)."""

    CLOSE = "close"
    BTF_FIND = "btf_find_by_name_kind"
    KALLSYMS = "kallsyms_lookup_name"


@dataclass(frozen=True, slots=True)
class FdRef:
    """The object of an fd: the `id`-th (from 1) created object of its kind, and its name.

    `kind` is "map", "btf", "prog" or "link"; "" if the fd is not open. The BTF of kernel modules
    has id 0. `call` is the number of the call that opened it.
    """

    kind: str
    id: int
    name: str
    call: int | None = field(compare=False)
    fd: int = field(compare=False)

    def __str__(self) -> str:
        if not self.kind:
            return f"{self.fd} (not open)"
        return f"{self.kind} {self.name or f'#{self.id}'}"


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer to something not in the record: a log buffer, or unreadable memory.

    `place` is "user memory", "kernel memory" or "nowhere".
    """

    place: str
    address: int = field(compare=False)

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True, slots=True)
class RecordedCode:
    """Instructions: `insns` with 0 for each fd, and the objects of these fds.

    `fds` are (index of the instruction, fd); `raw` is the original code.
    """

    insns: bytes
    fds: tuple[tuple[int, Value], ...] = ()
    raw: bytes = field(default=b"", compare=False)

    def __len__(self) -> int:
        """Number of slots."""
        return len(self.insns) // 8


@dataclass(frozen=True, slots=True)
class RecordedFdArray:
    """The slots of fd_array that the instructions use: (index, fd)."""

    used: tuple[tuple[int, Value], ...]


@dataclass(frozen=True, slots=True)
class FoundType:
    """A kernel type; `btf` is the fd of its module's BTF, 0 for vmlinux."""

    type_id: int
    btf: FdRef | int


# An fd field is an FdRef, or 0 for "none".
Value = int | str | bytes | FdRef | Pointer | RecordedCode | RecordedFdArray
# 0, minus an errno, the new fd, or the type or address found.
Result = int | FdRef | FoundType


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call: its number (from 0), command, decoded attr, and result.

    `attr` has all fields of the command, 0 for those beyond the caller's attr of `size` bytes; for
    helpers, it has the arguments. `cmd` is a number if the command is unknown. `ret` is the return
    value. `injected`: whether the result is an injected fault.
    """

    n: int = field(compare=False)
    cmd: Cmd | int | RecordedHelper
    attr: Mapping[str, Value]
    result: Result
    ret: int = field(compare=False)
    size: int = field(default=0, compare=False)
    injected: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """Such as "BPF_MAP_CREATE" or "close"."""
        if isinstance(self.cmd, RecordedHelper):
            return self.cmd.value
        return f"BPF_{self.cmd.name}" if isinstance(self.cmd, Cmd) else f"bpf({self.cmd})"

    @property
    def failed(self) -> bool:
        """Whether it returned an error."""
        return isinstance(self.result, int) and self.result < 0
