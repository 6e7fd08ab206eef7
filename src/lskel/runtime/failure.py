"""Saying why loading failed: the operation as a phrase, an errno, a hint, and a log's gist."""

from __future__ import annotations

import errno
import os
import re

from lskel.errors import ReplayError, remedy
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import errno_name

# Lines that end a verifier's log and say nothing of the cause.
_STATISTICS = ("processed ", "verification time", "stack depth", "peak_states", "max_states")
# A message that has no end of line is followed by them.
_FOLLOWING = re.compile(r"processed \d+ insns.*")
_STATES = ("cur state:", "old state:")

# The call that the kernel, as libbpf, puts where a CO-RE relocation failed: helper 0xbad2310
# (tools/lib/bpf/relo_core.c, which the kernel compiles too).
CORE_POISON = f"unknown#{0xBAD2310}"
_CORE_HINT = "a CO-RE relocation failed: this kernel lacks a type, field or enumerator it names"

_LACKS = "neither this kernel nor its loaded modules have it"
# What to do about an errno of an operation; operations by how their phrases begin.
_HINTS = {
    ("looking up kernel symbol", errno.EPERM): (
        "the kernel hides addresses: sysctl kernel.kptr_restrict"
    ),
    ("looking up", errno.ENOENT): _LACKS,
    ("BPF_MAP_CREATE", errno.E2BIG): (
        "the map is too large, or this kernel does not know a field of it"
    ),
    ("BPF_MAP_CREATE", errno.ENOMEM): "the map does not fit into memory: lower its max_entries",
    ("BPF_MAP_CREATE", errno.EINVAL): (
        "this kernel refuses the map's type, flags, sizes, or the BTF types of key and value"
    ),
    ("BPF_BTF_LOAD", errno.EINVAL): "this kernel rejects the object's BTF",
    ("BPF_BTF_LOAD", errno.E2BIG): "this kernel does not know a part of the object's BTF",
    ("BPF_PROG_LOAD", errno.E2BIG): "the program is too large or too complex for the verifier",
}


def failure(
    name: str, number: int, phrase: str, code: int, log: tuple[str, ...] = ()
) -> ReplayError:
    """The error of operation `number` of object `name`, which got errno `code` (positive).

    `phrase` says what the operation was: "BPF_PROG_LOAD of program 'on_open'".
    """
    what = f"{name}: {phrase}: {errno_name(code)}: {os.strerror(code)}"
    gist = summary(log)
    if gist:
        what += f": {gist}"
    return ReplayError(what, errno=code, op=number, log=log, hint=_hint(phrase, code, gist))


def _hint(phrase: str, code: int, gist: str) -> str:
    if CORE_POISON in gist:
        return _CORE_HINT
    for (start, number), hint in _HINTS.items():
        if number == code and phrase.startswith(start):
            return hint
    return why_refused() if code == errno.EPERM else remedy(code)


def split_log(raw: bytes | bytearray) -> tuple[str, ...]:
    """The lines of a log buffer, up to its NUL."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return tuple(text.splitlines())


def summary(log: tuple[str, ...]) -> str:
    """The last line of a log that tells of the cause; empty where there is none."""
    for line in reversed(log):
        if line.strip() and not line.startswith(_STATISTICS + _STATES):
            return _FOLLOWING.sub("", line).strip()
    return ""
