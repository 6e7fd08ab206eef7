"""Kprobes: programs at the entry, return, or any instruction of kernel functions."""

from __future__ import annotations

import errno
import sys

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import KprobeMultiFlag
from lskel.errors import UsageError, at
from lskel.runtime import perf
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.perf_link import attach_perf_event
from lskel.runtime.offsets import parse_offset
from lskel.runtime.syscall import address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HINTS = {
    errno.ENOENT: "the kernel has no such function, or it was inlined",
    errno.EADDRNOTAVAIL: "more than one function has that name",
    errno.EILSEQ: "the offset is not at an instruction boundary",
    errno.EINVAL: "the function cannot be probed (denylist), or the offset is wrong",
    errno.EOPNOTSUPP: "the kernel cannot probe this function: probes use it themselves",
}
_MULTI_HINTS = {
    errno.ESRCH: "a function does not exist or is not traceable; see "
    "/sys/kernel/tracing/available_filter_functions",
    errno.EINVAL: "such links need Linux 5.18; a session program (6.10) only attaches as a session",
    errno.EOPNOTSUPP: "the kernel lacks CONFIG_FPROBE",
}


def parse_kprobe_target(target: str) -> tuple[str, int]:
    """The function and the offset of "do_unlinkat+0x10"; UsageError for other text."""
    name, plus, offset = target.partition("+")
    try:
        return name, parse_offset(offset) if plus else 0
    except ValueError as error:
        raise UsageError(f"'{offset}' is not an offset in a function") from error


def attach_kprobe(
    prog_fd: int,
    function: str,
    offset: int = 0,
    *,
    returns: bool = False,
    maxactive: int = 0,
    cookie: int = 0,
) -> BpfLink:
    """Attach to a function, or to an instruction at a byte offset; cookies need 5.15.

    With `returns` the program runs when the function returns, and an offset is a UsageError. A
    return is missed if more than `maxactive` calls of the function run at the same time: by default
    the larger of 10 and twice the number of CPUs, at most 4096 (see `attach_return_probe`).
    KernelError if the kernel refuses: ENOENT if it has no such function.
    """
    if returns and offset:
        raise UsageError("a return probe takes no offset")
    if maxactive and not returns:
        raise UsageError("'maxactive' is for return probes")
    place = f"{function}+{offset:#x}" if offset else function
    with at(f"function {place}"), with_hints(_HINTS):
        if maxactive:
            from lskel.runtime.attach.return_probe import attach_return_probe

            return attach_return_probe(prog_fd, function, maxactive, cookie)
        event = perf.open_probe("kprobe", function.encode(), offset, retprobe=int(returns))
        return attach_perf_event(prog_fd, event, cookie)


def attach_kprobe_multi(
    prog_fd: int,
    functions: str | Sequence[str],
    *,
    returns: bool = False,
    session: bool = False,
    cookies: Sequence[int] = (),
) -> BpfLink:
    """Attach to many functions with one link. Linux 5.18, sessions 6.10.

    `functions` are names, optionally with a cookie each, or a pattern: "*" is any text, "?" any
    character. With `returns` the program runs when they return, in a session at entry and return.
    UsageError for contradicting arguments; NotFound if no function matches the pattern; BpfError if
    the kernel refuses: ESRCH if one does not exist.
    """
    if isinstance(functions, str):
        if cookies:
            raise UsageError("cookies need a list of functions, not a pattern")
        from lskel.runtime.attach.functions import matching_functions

        functions = matching_functions(functions)
    if cookies and len(cookies) != len(functions):
        raise UsageError(f"{len(cookies)} cookies for {len(functions)} functions")
    names = [function.encode() + b"\0" for function in functions]
    pointers = _numbers(address_of(name) for name in names)
    numbers = _numbers(cookies)
    attach_type = AttachType.TRACE_KPROBE_SESSION if session else AttachType.TRACE_KPROBE_MULTI
    place = functions[0] if len(functions) == 1 else f"{len(functions)} functions"
    with at(place), with_hints(_MULTI_HINTS):
        return link_create(
            prog_fd,
            0,
            attach_type,
            kprobe_multi_flags=KprobeMultiFlag.RETURN if returns else 0,
            kprobe_multi_cnt=len(names),
            kprobe_multi_syms=address_of(pointers),
            kprobe_multi_cookies=address_of(numbers),
        )


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(8, sys.byteorder) for value in values)
