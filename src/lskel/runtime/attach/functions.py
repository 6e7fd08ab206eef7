"""The kernel's functions by name: those that can be traced."""

from __future__ import annotations

from lskel.errors import LskelError, NotFound
from lskel.runtime.attach.tracefs import read_tracefs
from lskel.runtime.files import read_bytes, read_text
from lskel.runtime.kallsyms import KALLSYMS

# Lines of available_filter_functions for functions of memory that was given back.
_GONE = "__ftrace_invalid_address__"
_TEXT = "TtWw"
_SIGNS = frozenset("*?")

# CONFIG_ARCH_HAS_SYSCALL_WRAPPER: __x64_sys_close. By what uname(2) calls the machine.
_SYSCALL_PREFIXES = {
    "x86_64": "__x64_sys_",
    "i686": "__ia32_sys_",
    "aarch64": "__arm64_sys_",
    "s390x": "__s390x_sys_",
    "riscv64": "__riscv_sys_",
}


def traceable_functions() -> list[str]:
    """Names of functions of the kernel and its modules, in its order, each once.

    Those that ftrace has; all in /proc/kallsyms where that cannot be asked, some of which cannot be
    traced.
    """
    try:
        listed = read_tracefs("available_filter_functions", "list of functions")
    except LskelError:
        return _symbols()
    # "NAME", "NAME [MODULE]"
    names = (line.partition(" ")[0] for line in listed.splitlines())
    return list(dict.fromkeys(name for name in names if not name.startswith(_GONE)))


def _symbols() -> list[str]:
    """Names of the functions in /proc/kallsyms, each once."""
    lines = (line.split(None, 3) for line in read_text(KALLSYMS).splitlines())
    return list(dict.fromkeys(fields[2] for fields in lines if fields[1] in _TEXT))


def matching_functions(pattern: str) -> list[str]:
    """Those whose name fits a pattern, where "*" is any text and "?" any letter.

    NotFound where there is none. What is no pattern is the function's name, and not looked up.
    """
    if not _SIGNS & set(pattern):
        return [pattern]
    import re

    special = {"*": ".*", "?": "."}
    fits = re.compile("".join(special.get(sign) or re.escape(sign) for sign in pattern)).fullmatch
    found = [name for name in traceable_functions() if fits(name)]
    if not found:
        raise NotFound(f"no function of the kernel fits '{pattern}'")
    return found


def syscall_function(name: str) -> str:
    """The function of a system call: "__x64_sys_close" for "close".

    NotFound where the kernel has none.
    """
    import os

    prefixes = (_SYSCALL_PREFIXES.get(os.uname().machine, "__se_sys_"), "__se_sys_", "sys_")
    # Lines are not taken apart: there are some hundred thousand.
    listed = read_bytes(KALLSYMS)
    for prefix in prefixes:
        if any(f" {kind} {prefix}{name}\n".encode() in listed for kind in _TEXT):
            return prefix + name
    raise NotFound(f"the kernel has no system call '{name}'")
