"""Traceable kernel functions, by name."""

from __future__ import annotations

from lskel.errors import LskelError, NotFound
from lskel.runtime.attach.tracefs import read_tracefs
from lskel.runtime.files import read_bytes, read_text
from lskel.runtime.kallsyms import KALLSYMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Lines of available_filter_functions for functions in freed memory.
_GONE = "__ftrace_invalid_address__"
_TEXT = "TtWw"
_SIGNS = frozenset("*?")

# CONFIG_ARCH_HAS_SYSCALL_WRAPPER: __x64_sys_close. By the machine name of uname(2).
_SYSCALL_PREFIXES = {
    "x86_64": "__x64_sys_",
    "i686": "__ia32_sys_",
    "aarch64": "__arm64_sys_",
    "s390x": "__s390x_sys_",
    "riscv64": "__riscv_sys_",
}


def traceable_functions() -> list[str]:
    """Names of functions of the kernel and its modules, in kernel order, without duplicates.

    Those of ftrace; without ftrace all of /proc/kallsyms, some of which cannot be traced.
    """
    try:
        listed = read_tracefs("available_filter_functions", "list of functions")
    except LskelError:
        return _symbols()
    # "NAME", "NAME [MODULE]"
    names = (line.partition(" ")[0] for line in listed.splitlines())
    return list(dict.fromkeys(name for name in names if not name.startswith(_GONE)))


def _symbols() -> list[str]:
    """Names of the functions in /proc/kallsyms, without duplicates."""
    lines = (line.split(None, 3) for line in read_text(KALLSYMS).splitlines())
    return list(dict.fromkeys(fields[2] for fields in lines if fields[1] in _TEXT))


def matching_functions(pattern: str) -> list[str]:
    """The functions that match a pattern: "*" is any text, "?" any character.

    NotFound if none matches. A name without wildcards is returned without lookup.
    """
    if not is_pattern(pattern):
        return [pattern]
    fits = matcher(pattern)
    found = [name for name in traceable_functions() if fits(name)]
    if not found:
        raise NotFound(f"no kernel function matches '{pattern}'")
    return found


def is_pattern(text: str) -> bool:
    """Whether it has wildcards: "*" or "?"."""
    return not _SIGNS.isdisjoint(text)


def matcher(pattern: str) -> Callable[[str], object]:
    """What is true for a name that a pattern matches as a whole."""
    import re

    special = {"*": ".*", "?": "."}
    return re.compile("".join(special.get(sign) or re.escape(sign) for sign in pattern)).fullmatch


def syscall_function(name: str) -> str:
    """The function of a system call: "__x64_sys_close" for "close".

    NotFound if it does not exist.
    """
    import os

    prefixes = (_SYSCALL_PREFIXES.get(os.uname().machine, "__se_sys_"), "__se_sys_", "sys_")
    # Searched as a whole: there are several hundred thousand lines.
    listed = read_bytes(KALLSYMS)
    for prefix in prefixes:
        if any(f" {kind} {prefix}{name}\n".encode() in listed for kind in _TEXT):
            return prefix + name
    raise NotFound(f"the kernel has no system call '{name}'")
