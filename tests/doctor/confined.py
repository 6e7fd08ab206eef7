"""Doing something as somebody who may do less, in a child process."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TypeVar

from lskel.doctor.child import in_child
from lskel.runtime.machine import this_machine
from lskel.runtime.permissions import Capability

_T = TypeVar("_T")

_NOBODY = 65534
_CLONE_NEWUSER = 0x10000000
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2
# uapi/linux/filter.h, for a filter of seccomp: load the number of the call, compare, return.
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW = 0x7FFF0000
# struct __user_cap_header_struct, version 3, and two struct __user_cap_data_struct.
_CAP_VERSION = 0x20080522

_LIBC = ctypes.CDLL(None, use_errno=True)


class Action(IntEnum):
    """What a seccomp filter does to a call: SECCOMP_RET_ERRNO with EPERM, or end the process."""

    REFUSE = 0x00050001
    KILL = 0x80000000


def as_nobody(function: Callable[[], _T]) -> _T:
    """As a user without privileges. What it imports must be imported before."""

    def run() -> _T:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        return function()

    return in_child(run)


def with_capabilities(capabilities: Iterable[Capability], function: Callable[[], _T]) -> _T:
    """As root who has these only."""

    def run() -> _T:
        mask = sum(1 << capability for capability in capabilities)
        low, high = mask & 0xFFFFFFFF, mask >> 32
        header = ctypes.create_string_buffer(struct.pack("=Ii", _CAP_VERSION, 0))
        data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
        _check(_LIBC.capset(header, data))
        return function()

    return in_child(run)


def in_user_namespace(function: Callable[[], _T]) -> _T:
    """As root of a user namespace of its own."""

    def run() -> _T:
        _check(_LIBC.unshare(_CLONE_NEWUSER))
        return function()

    return in_child(run)


def without_bpf(action: Action, function: Callable[[], _T]) -> _T:
    """Under a seccomp filter that has this for bpf(2)."""

    def run() -> _T:
        code = b"".join(
            struct.pack("=HBBI", *instruction)
            for instruction in (
                (_LOAD, 0, 0, 0),
                (_JUMP_IF_EQUAL, 0, 1, this_machine().bpf),
                (_RETURN, 0, 0, action),
                (_RETURN, 0, 0, _ALLOW),
            )
        )
        text = ctypes.create_string_buffer(code)
        program = struct.pack("@HP", len(code) // 8, ctypes.addressof(text))
        _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _check(_LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0))
        return function()

    return in_child(run)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
