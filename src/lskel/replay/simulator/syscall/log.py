"""The logs of BTF_LOAD and PROG_LOAD; those of the simulated kernel are empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lskel.replay.simulator.syscall.errnos import check
from lskel.replay.simulator.syscall.space import Domain

if TYPE_CHECKING:
    from lskel.replay.simulator.syscall.attrs import Attr
    from lskel.replay.simulator.syscall.state import KernelState

# BPF_LOG_MASK (include/linux/bpf_verifier.h)
_LEVELS = 0xF
_MAX_SIZE = (1 << 30) - 1


class LogAttrFields(NamedTuple):
    """The names of the log fields."""

    level: str
    size: str
    buffer: str


def check_log(attr: Attr, fields: LogAttrFields) -> None:
    """Refusal EINVAL if level, size and buffer are inconsistent."""
    level, size, buffer = (attr[field] for field in fields)
    check(bool(buffer) == bool(size) and (not buffer or level != 0))
    check(not level & ~_LEVELS and size <= _MAX_SIZE)


def write_log(state: KernelState, attr: Attr, fields: LogAttrFields) -> None:
    """Write an empty log; Refusal EFAULT if the buffer is not user memory."""
    if attr[fields.buffer]:
        state.space.write(attr[fields.buffer], b"\0", Domain.USER)
