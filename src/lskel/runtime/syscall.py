"""bpf(2), and raw syscalls that Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from lskel.bpf.attr import Value, encode, size_through
from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import Layout
from lskel.errors import LskelError, remedy
from lskel.runtime.machine import this_machine
from lskel.runtime.token_fields import add_token

# bpf_check() returns EAGAIN when a signal is pending; libbpf retries as often.
LOAD_ATTEMPTS = 5

# These may have done part of their work when interrupted, and updated their attr.
_NOT_REPEATED = frozenset(
    (
        Cmd.PROG_RUN,
        Cmd.MAP_LOOKUP_BATCH,
        Cmd.MAP_LOOKUP_AND_DELETE_BATCH,
        Cmd.MAP_UPDATE_BATCH,
        Cmd.MAP_DELETE_BATCH,
    )
)

# Not in uapi/asm/errno.h (include/linux/errno.h), but the BPF parts of the kernel return it.
ENOTSUPP = 524

_MAX_ARGS = 6


class KernelError(LskelError, OSError):
    """A syscall failed: `errno` is positive; `call` names the call, `why` describes the errno."""

    errno: int

    def __init__(self, call: str, number: int, *, hint: str = "") -> None:
        strerror = "Operation is not supported" if number == ENOTSUPP else os.strerror(number)
        self.why = f"{errno_name(number)}: {strerror}"
        super().__init__(f"{call}: {self.why}", hint=hint or remedy(number))
        self.call = call
        self.errno = number
        self.strerror = strerror


class BpfError(KernelError):
    """bpf(2) failed: `cmd` is its command, a `Cmd` if known."""

    def __init__(self, cmd: int, number: int, *, hint: str = "") -> None:
        self.cmd = Cmd(cmd) if cmd in Cmd._value2member_map_ else cmd
        name = f"BPF_{self.cmd.name}" if isinstance(self.cmd, Cmd) else str(cmd)
        super().__init__(f"bpf({name})", number, hint=hint)


@contextmanager
def calling(call: str) -> Iterator[None]:
    """Convert an OSError of Python's functions to a KernelError."""
    try:
        yield
    except KernelError:
        raise
    except OSError as error:
        raise KernelError(call, error.errno or 0) from error


def errno_name(number: int) -> str:
    """The name, such as "EPERM", or "errno 4095" if it has none. `number` is positive."""
    if number == ENOTSUPP:
        return "ENOTSUPP"
    return errno.errorcode.get(number, f"errno {number}")


def address_of(buffer: bytes | bytearray) -> int:
    """The address of the bytes, for a pointer in an attr; 0 (NULL) if empty.

    Nothing is copied: the caller keeps `buffer` alive, without resizing it, while the kernel uses
    it. The kernel may write to a bytearray, never to bytes.
    """
    if not buffer:
        return 0
    if isinstance(buffer, bytearray):
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    return ctypes.c_void_p.from_buffer(ctypes.c_char_p(buffer)).value or 0


def host_attr(layout: Layout, through: str, /, **fields: Value) -> bytearray:
    """An attr in native byte order that ends with the field `through`."""
    return encode(layout, size_through(layout, through), sys.byteorder, **fields)


def bpf(cmd: int, attr: bytearray) -> int:
    """Call bpf(2); the kernel may write to `attr`. Returns the kernel's result: an fd, a count, 0.

    BpfError if the kernel refuses, NotSupported if the system has no bpf(2). Retries PROG_LOAD
    after EAGAIN up to 5 times, and interrupted calls that had no effect.
    """
    number = this_machine().bpf
    add_token(attr, cmd)
    memory = ctypes.c_char.from_buffer(attr)
    loads = 0
    while True:
        result = syscall(number, cmd, ctypes.addressof(memory), len(attr))
        if result >= 0:
            return result
        if result == -errno.EAGAIN and cmd == Cmd.PROG_LOAD and loads < LOAD_ATTEMPTS:
            loads += 1
        elif result != -errno.EINTR or cmd in _NOT_REPEATED:
            raise BpfError(cmd, -result)


def syscall(number: int, *args: int) -> int:
    """The kernel's result, or minus the errno. Releases the GIL."""
    result = _libc_syscall()(number, *args, *(0,) * (_MAX_ARGS - len(args)))
    return result if result != -1 else -ctypes.get_errno()


@cache
def _libc_syscall() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long,) * (1 + _MAX_ARGS)
    return function
