"""Kprobes: programs that run where functions of the kernel begin, return, or anywhere in them."""

from __future__ import annotations

import errno
import sys

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import KprobeMultiFlag
from lskel.errors import UsageError, at
from lskel.runtime import perf
from lskel.runtime.attach.given import target_of
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.perf_link import attach_perf_event
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd
from lskel.runtime.offsets import parse_offset
from lskel.runtime.program import Program
from lskel.runtime.syscall import address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HINTS = {
    errno.ENOENT: "the kernel has no such function, or no code of its own for it",
    errno.EADDRNOTAVAIL: "there is more than one function of that name",
    errno.EILSEQ: "the offset is inside an instruction",
    errno.EINVAL: "the function cannot be probed: the kernel forbids it, or the offset is wrong",
    errno.EOPNOTSUPP: "the kernel cannot probe this function: on the way of probes themselves",
}
_MULTI_HINTS = {
    errno.ESRCH: "one of the functions does not exist or cannot be traced; "
    "/sys/kernel/tracing/available_filter_functions lists those that can",
    errno.EINVAL: "before Linux 5.18 there are no such links; a program for sessions (6.10) is "
    "only for them",
    errno.EOPNOTSUPP: "the kernel lacks CONFIG_FPROBE",
}

_RETURNS = ("kretprobe", "kretsyscall")
_SYSCALLS = ("ksyscall", "kretsyscall")


def attach_kprobe(
    prog_fd: int, function: str, offset: int = 0, *, returns: bool = False, cookie: int = 0
) -> Fd:
    """Attach to a function, or to an instruction in it by its offset in bytes; 5.15 with a cookie.

    With `returns` the program runs when the function does. UsageError for an offset then;
    KernelError where the kernel refuses: ENOENT if it has no such function.
    """
    if returns and offset:
        raise UsageError("a function returns as a whole: no offset goes with it")
    place = f"{function}+{offset:#x}" if offset else function
    with at(f"function {place}"), explained(_HINTS):
        event = perf.open_probe("kprobe", function.encode(), offset, retprobe=int(returns))
        return attach_perf_event(prog_fd, event, cookie)


def attach_kprobe_multi(
    prog_fd: int,
    functions: str | Sequence[str],
    *,
    returns: bool = False,
    session: bool = False,
    cookies: Sequence[int] = (),
) -> Fd:
    """Attach to many functions by one link. Linux 5.18, sessions 6.10.

    `functions` are their names, with a cookie each if any, or a pattern in which "*" stands for any
    text and "?" for any letter. With `returns` the program runs when they return, in a session on
    both occasions. UsageError where that does not fit together; NotFound where no function fits the
    pattern; BpfError where the kernel refuses: ESRCH if it has not all of them.
    """
    if isinstance(functions, str):
        if cookies:
            raise UsageError("cookies go with a list of functions, not with a pattern")
        from lskel.runtime.attach.functions import matching_functions

        functions = matching_functions(functions)
    if cookies and len(cookies) != len(functions):
        raise UsageError(f"{len(cookies)} cookies for {len(functions)} functions")
    names = [function.encode() + b"\0" for function in functions]
    pointers = _numbers(address_of(name) for name in names)
    numbers = _numbers(cookies)
    attach_type = AttachType.TRACE_KPROBE_SESSION if session else AttachType.TRACE_KPROBE_MULTI
    place = functions[0] if len(functions) == 1 else f"{len(functions)} functions"
    with at(place), explained(_MULTI_HINTS):
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


class KprobeProgram(Program):
    """A program of ``SEC("kprobe/...")`` or ``SEC("ksyscall/...")``, or where these return."""

    def attaches_itself(self) -> bool:
        """Whether the section's name says which function."""
        return bool(self.definition.target)

    def attach(self, function: str | None = None, offset: int = 0, *, cookie: int = 0) -> Fd:
        """Attach to a function, by default the section's, until the link is closed.

        Or to an instruction in it, by its `offset` in bytes, which may be part of the name, too
        ("do_unlinkat+0x10"); for ``SEC("ksyscall")`` to the function of a system call, by that
        one's name. `cookie` is what ``bpf_get_attach_cookie`` returns. UsageError where nobody says
        a function; else raises what `attach_kprobe` does.
        """
        kind = self.definition.kind
        target = target_of(self, function, "a function", "kprobe/do_unlinkat")
        name, _, added = target.partition("+")
        if added:
            try:
                offset += parse_offset(added)
            except ValueError as error:
                raise UsageError(f"'{added}' is not an offset in a function") from error
        if kind in _SYSCALLS:
            from lskel.runtime.attach.functions import syscall_function

            name = syscall_function(name)
        link = attach_kprobe(self.fileno(), name, offset, returns=kind in _RETURNS, cookie=cookie)
        self.attached(link)
        return link


class KprobeMultiProgram(Program):
    """A program of ``SEC("kprobe.multi/...")``, "kretprobe.multi" or "kprobe.session"."""

    def attaches_itself(self) -> bool:
        """Whether the section's name says which functions."""
        return bool(self.definition.target)

    def attach(
        self, functions: str | Sequence[str] | None = None, *, cookies: Sequence[int] = ()
    ) -> Fd:
        """Attach to functions, by default the section's pattern, until the link is closed.

        The arguments are those of `attach_kprobe_multi`; a cookie is what ``bpf_get_attach_cookie``
        returns in its function. UsageError where nobody says a function; else raises what that
        function does.
        """
        kind = self.definition.kind
        if functions is None or isinstance(functions, str):
            functions = target_of(self, functions, "functions", "kprobe.multi/tcp_*")
        link = attach_kprobe_multi(
            self.fileno(),
            functions,
            returns=kind == "kretprobe.multi",
            session=self.definition.attach_type == AttachType.TRACE_KPROBE_SESSION,
            cookies=cookies,
        )
        self.attached(link)
        return link
