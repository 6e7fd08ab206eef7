"""Streams of a program: the text it prints by bpf_stream_printk (BPF_PROG_STREAM_READ_BY_FD)."""

from __future__ import annotations

import errno
from codecs import getincrementaldecoder
from enum import IntEnum

from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import PROG_STREAM_READ
from lskel.runtime.kernel import bpf_of, check_running
from lskel.runtime.syscall import BpfError, address_of, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lskel.runtime.program import Program

# More than a stream holds: BPF_STREAM_MAX_CAPACITY of linux/bpf.h is 100,000 bytes.
_ROOM = 1 << 17


class StreamId(IntEnum):
    """The streams of a program (uapi/linux/bpf.h)."""

    STDOUT = 1
    STDERR = 2


class Stream:
    """Text that a program has printed, and that the kernel has of it. Linux 6.17.

    Reading takes the text: who reads first has it. It does not wait. The kernel keeps 100,000 bytes
    of each stream; while it is full, bpf_stream_printk returns -ENOSPC and prints nothing. The
    kernel itself writes to `stderr`: faults in arenas, deadlocks of locks, loops that it ended.
    """

    def __init__(self, program: Program, number: StreamId) -> None:
        self._program = program
        self._number = number
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def read(self) -> str:
        """What has been printed since the last call; empty if nothing. Loads if necessary.

        BpfError EINVAL if the kernel has no streams.
        """
        program = self._program
        check_running(program.kernel, "runs no programs that print")
        buffer = bytearray(_ROOM)
        attr = host_attr(
            PROG_STREAM_READ,
            "prog_fd",
            stream_buf=address_of(buffer),
            stream_buf_len=len(buffer),
            stream_id=self._number,
            prog_fd=program.fileno(),
        )
        try:
            size = bpf_of(program.kernel)(Cmd.PROG_STREAM_READ_BY_FD, attr)
        except BpfError as error:
            if error.errno == errno.EINVAL:
                error.hint = "streams of programs need Linux 6.17"
            raise
        return self._decoder.decode(bytes(buffer[:size]))

    def __iter__(self) -> Iterator[str]:
        """The lines that have been printed, with their newlines; the last may lack one."""
        return iter(self.read().splitlines(keepends=True))

    def __repr__(self) -> str:
        return f"<Stream {self._number.name.lower()} of {self._program.name}>"
