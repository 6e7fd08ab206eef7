"""The record of a replay: each call with its decoded attr and its result.

Two records can be compared, though different loaders made them: what differs from loader to loader
without a reason (fd numbers, addresses, sizes of attrs, the numbers of the calls themselves) is
left out of comparisons. An fd compares as the object that it stands for; a pointer is replaced by
what it pointed to, and one to no bytes at all, such as func_info with func_info_cnt 0, is b"".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from lskel.bpf.enums import Cmd


class Aside(Enum):
    """The helpers that are recorded besides bpf(2)."""

    CLOSE = "close"
    BTF_FIND = "btf_find_by_name_kind"
    KALLSYMS = "kallsyms_lookup_name"


@dataclass(frozen=True, slots=True)
class FdRef:
    """What an fd stands for: the `id`-th (from 1) object of its kind that was made, by its name.

    `kind` is "map", "btf", "prog" or "link"; "" where the fd is not open. BTF of the kernel's
    modules has id 0. `call` is the number of the call that opened it.
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
    """A pointer to what the record does not hold: a log's buffer, or where nothing can be read.

    `place` is "nowhere", or "user memory" or "kernel memory" where there is some.
    """

    place: str
    address: int = field(compare=False)

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True, slots=True)
class Code:
    """Instructions: `insns` with 0 for each fd in them, and what these fds stand for.

    `fds` are (index of the instruction, fd); `raw` is the code as it was.
    """

    insns: bytes
    fds: tuple[tuple[int, Value], ...] = ()
    raw: bytes = field(default=b"", compare=False)

    def __len__(self) -> int:
        """Number of slots."""
        return len(self.insns) // 8


@dataclass(frozen=True, slots=True)
class FdArray:
    """The slots of fd_array that the instructions use: (index, fd)."""

    used: tuple[tuple[int, Value], ...]


@dataclass(frozen=True, slots=True)
class FoundType:
    """A type of the kernel; `btf` is the fd of its module's BTF, 0 for vmlinux."""

    type_id: int
    btf: FdRef | int


# An fd field is an FdRef, or 0 for "none".
Value = int | str | bytes | FdRef | Pointer | Code | FdArray
# 0, minus an errno, the fd that was made, the type or the address that was found.
Result = int | FdRef | FoundType


@dataclass(frozen=True, slots=True)
class Record:
    """One call: the `n`-th (from 0), what was called, its decoded attr, its result.

    `attr` has all fields that the command knows, 0 where the caller's attr (of `size` bytes) ends
    before; of helpers, it has the arguments. `cmd` is a number where no command has it. `ret` is
    what the call returned. `injected` is whether a fault on demand made the result.
    """

    n: int = field(compare=False)
    cmd: Cmd | int | Aside
    attr: Mapping[str, Value]
    result: Result
    ret: int = field(compare=False)
    size: int = field(default=0, compare=False)
    injected: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """Such as "BPF_MAP_CREATE" or "close"."""
        if isinstance(self.cmd, Aside):
            return self.cmd.value
        return f"BPF_{self.cmd.name}" if isinstance(self.cmd, Cmd) else f"bpf({self.cmd})"

    @property
    def failed(self) -> bool:
        """Whether it returned an error."""
        return isinstance(self.result, int) and self.result < 0
