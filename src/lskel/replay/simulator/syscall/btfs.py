"""BPF_BTF_LOAD, and BTF objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lskel import budget
from lskel.bpf.flags import MapFlag
from lskel.btf.btf import HEADER_SIZE, MAGIC, Btf
from lskel.cursor import ByteOrder
from lskel.errors import BadObject
from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check
from lskel.replay.simulator.syscall.fds import KernelObject
from lskel.replay.simulator.syscall.log import LogAttrFields, check_log, write_log

if TYPE_CHECKING:
    from lskel.replay.simulator.syscall.state import KernelState, PendingCall

_LOG = LogAttrFields("btf_log_level", "btf_log_size", "btf_log_buf")
# Where the header's hdr_len ends: shorter BTF has none.
_LENGTH_END = 8


class BtfObject(KernelObject):
    """The object of a BTF fd."""

    kind = "btf"


class ModuleBtf(BtfObject):
    """The BTF of a kernel module."""

    def __init__(self, name: str) -> None:
        self.id = 0
        self.name = name


class LoadedBtf(BtfObject):
    """BTF loaded by a process."""

    def __init__(self, data: bytes) -> None:
        self.id = 0
        self.name = ""
        self.data = data
        try:
            self.btf = Btf(data)
        except BadObject:
            raise Refusal(Errno.EINVAL) from None


def load(state: KernelState, call: PendingCall) -> int:
    """BPF_BTF_LOAD: the fd. Checks header and sections like the kernel, but not each type."""
    attr = call.attr
    check(not attr["btf_flags"] & ~MapFlag.TOKEN_FD)
    check(attr["btf_size"] <= budget.BTF, Errno.E2BIG)
    check_log(attr, _LOG)
    state.btf.spend(attr["btf_size"])
    data = state.space.read(attr["btf"], attr["btf_size"], call.domain)
    _check_header(data, state.order)
    made = LoadedBtf(data)
    write_log(state, attr, _LOG)
    return state.open(made, call.number)


def _check_header(data: bytes, order: ByteOrder) -> None:
    def number(offset: int, size: int = 4) -> int:
        return int.from_bytes(data[offset : offset + size], order)

    check(len(data) >= _LENGTH_END)
    header_size = number(4)
    check(len(data) >= header_size)
    check(not any(data[HEADER_SIZE:header_size]), Errno.E2BIG)
    check(number(0, 2) == MAGIC)
    check(data[2] == 1 and data[3] == 0, Errno.ENOTSUPP)
    check(len(data) > header_size >= HEADER_SIZE)
    types, strings = (number(8), number(12)), (number(16), number(20))
    end = 0
    for offset, size in sorted((types, strings)):
        check(offset == end)
        end += size
    check(end == len(data) - header_size and types[1] > 0)
