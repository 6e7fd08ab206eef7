"""The logs that BTF_LOAD and PROG_LOAD write on demand; the simulated kernel's are empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lskel.replay.simulator.syscall.errnos import check
from lskel.replay.simulator.syscall.space import Domain

if TYPE_CHECKING:
    from lskel.replay.simulator.syscall.attrs import Attr
    from lskel.replay.simulator.syscall.state import State

# BPF_LOG_MASK (include/linux/bpf_verifier.h)
_LEVELS = 0xF
_MAX_SIZE = (1 << 30) - 1


class LogFields(NamedTuple):
    """Names of the fields that ask for a log."""

    level: str
    size: str
    buffer: str


def check_log(attr: Attr, fields: LogFields) -> None:
    """Refusal EINVAL where level, size and buffer do not fit together."""
    level, size, buffer = (attr[field] for field in fields)
    check(bool(buffer) == bool(size) and (not buffer or level != 0))
    check(not level & ~_LEVELS and size <= _MAX_SIZE)


def write_log(state: State, attr: Attr, fields: LogFields) -> None:
    """Write an empty log; Refusal EFAULT where there is no user memory for it."""
    if attr[fields.buffer]:
        state.space.write(attr[fields.buffer], b"\0", Domain.USER)
