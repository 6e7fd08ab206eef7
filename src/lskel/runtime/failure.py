"""Why loading failed: the operation, an errno, a hint, and the key line of a log."""

from __future__ import annotations

import errno
import os
import re

from lskel.bpf.poison import FAILED_RELOCATION
from lskel.bpf.verifier_log import REPORT
from lskel.errors import ReplayError, remedy
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import errno_name
from lskel.tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.tasks import Label

# Lines at the end of a verifier log that do not tell the cause.
_STATISTICS = ("processed ", "verification time", "stack depth", "peak_states", "max_states")
# They follow directly a message without a newline.
_FOLLOWING = re.compile(r"processed \d+ insns.*")
_STATES = ("cur state:", "old state:")

# What the log says of an instruction whose CO-RE relocation failed.
CORE_POISON = f"unknown#{FAILED_RELOCATION}"
_CORE_HINT = "a CO-RE relocation failed: this kernel lacks {what}"
_ANY_TARGET = "a type, field or enumerator it names"
# What the kernel's log says of relocations (tools/lib/bpf/relo_core.c): what each asks for, and
# which instruction got the call above.
_ASKED = re.compile(r"relo #(\d+): .*?<\w+>.*?\[\d+\] (\S+) (\S+)")
_POISONED = re.compile(r"relo #(\d+): substituting insn #(\d+) ")
_POISON_AT = re.compile(rf"(\d+): .*{re.escape(CORE_POISON)}")

_LACKS = "neither this kernel nor its loaded modules have it"
_NO_INNER_MAP = "its inner map is not defined: add __array(values, struct { ... })"
# Hints by operation and errno.
_HINTS = {
    (Task.FIND_SYMBOL, errno.EPERM): "the kernel hides addresses: sysctl kernel.kptr_restrict",
    (Task.FIND_SYMBOL, errno.ENOENT): _LACKS,
    (Task.FIND_TYPE, errno.ENOENT): _LACKS,
    (Task.MAP_CREATE, errno.E2BIG): (
        "the map is too large, or this kernel does not know one of its attributes"
    ),
    (Task.MAP_CREATE, errno.ENOMEM): "not enough memory for the map: lower its max_entries",
    (Task.MAP_CREATE, errno.EINVAL): (
        "this kernel rejects the map's type, flags, sizes, or BTF types of key and value"
    ),
    (Task.JUMP_TABLE_CREATE, errno.EINVAL): (
        "jump tables need Linux 6.19: compile with -fno-jump-tables, or with -mcpu=v3"
    ),
    (Task.BTF_LOAD, errno.EINVAL): "this kernel rejects the object's BTF",
    (Task.BTF_LOAD, errno.E2BIG): "the object's BTF has something that this kernel does not know",
    (Task.PROG_LOAD, errno.E2BIG): (
        "the program is too large or too complex for the verifier, or uses more than 64 maps"
    ),
}


def failure(number: int, label: Label, code: int, log: tuple[str, ...] = ()) -> ReplayError:
    """The error of operation `number`, which failed with errno `code` (positive)."""
    why = f"{errno_name(code)}: {os.strerror(code)}"
    gist = summary(log)
    if gist:
        why += f": {gist}"
    else:
        log = ()  # the verifier did not object
    hint = _hint(label.task, code, gist)
    if CORE_POISON in gist:
        hint = _CORE_HINT.format(what=_core_target(log) or _ANY_TARGET)
    what = f"{label}: {why}"
    return ReplayError(what, errno=code, op=number, label=label, why=why, log=log, hint=hint)


def _hint(task: Task, code: int, gist: str) -> str:
    if task is Task.OUTER_MAP_CREATE and code != errno.EPERM:
        return _NO_INNER_MAP
    hint = _HINTS.get((task, code))
    if hint is None:
        hint = why_refused() if code == errno.EPERM else remedy(code)
    return hint


def _core_target(log: tuple[str, ...]) -> str:
    """What the relocation of the instruction that was refused asks for: ``struct task.flags``.

    Others may have failed as well, in code that is not run.
    """
    asked: dict[str, str] = {}
    poisoned: dict[str, str] = {}
    refused = ""
    for line in log:
        if found := _ASKED.search(line):
            asked.setdefault(found[1], f"{found[2].lower()} {found[3]}")
        elif found := _POISONED.search(line):
            poisoned[found[2]] = found[1]
        elif found := _POISON_AT.match(line):
            refused = found[1]
    return asked.get(poisoned.get(refused, ""), "")


def returned(code: int) -> ReplayError:
    """The error of a loader that returned errno `code` without naming an operation."""
    return ReplayError(f"the loader returned {errno_name(code)}", errno=code)


def before_first(code: int) -> ReplayError:
    """The error of a loader that failed with errno `code` before its first operation."""
    return ReplayError("the loader failed before its first call", errno=code)


def split_log(raw: bytes | bytearray) -> tuple[str, ...]:
    """The lines of a log buffer, up to its NUL."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return tuple(text.splitlines())


def summary(log: tuple[str, ...]) -> str:
    """The last line of a log that tells the cause; empty if there is none."""
    end = next((i for i, line in enumerate(log) if line.startswith(REPORT)), len(log))
    for line in reversed(log[:end]):
        if line.strip() and not line.startswith(_STATISTICS + _STATES):
            return _FOLLOWING.sub("", line).strip()
    return "".join(log[end : end + 1])
