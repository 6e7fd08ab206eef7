"""Uprobes: programs that run where processes execute an instruction of a program or library."""

from __future__ import annotations

import errno
import os
import struct

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import UprobeMultiFlag
from lskel.errors import NotFound, UsageError, at
from lskel.named import NamedTuple
from lskel.runtime import perf
from lskel.runtime.attach.binaries import find_binary
from lskel.runtime.attach.given import target_of
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.perf_link import attach_perf_event
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd
from lskel.runtime.offsets import parse_offset
from lskel.runtime.program import Program
from lskel.runtime.syscall import ENOTSUPP, address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from lskel.runtime.attach.elf_symbols import ElfFile

    Binary: TypeAlias = str | os.PathLike[str]

#: For `pid`: the processes that run the file now, and those that will.
ALL_PROCESSES = -1
#: For `pid`: the process that attaches.
THIS_PROCESS = 0

# kernel/trace/bpf_trace.c.
_MAX_PLACES = 1 << 20

_HINTS = {
    errno.EACCES: "that takes CAP_SYS_ADMIN; for uprobe.multi (Linux 6.6) CAP_PERFMON is enough",
    errno.EINVAL: "the offset is outside the file, or not the start of an instruction; or the "
    "probes there use another counter (ref_ctr_offset)",
    errno.ESRCH: "there is no such process",
    errno.EOPNOTSUPP: "the instruction there cannot be probed",
    ENOTSUPP: "the instruction there cannot be probed",
}
_MULTI_HINTS = {
    **_HINTS,
    errno.EINVAL: "Linux 6.6 has such links, 6.13 those of sessions; an offset may be outside the "
    "file, or not the start of an instruction",
}


class Place(NamedTuple):
    """What a section's name says after "uprobe/": ``binary:symbol+offset`` or ``binary:offset``."""

    binary: str
    symbol: str
    offset: int


def parse_place(target: str) -> Place:
    """UsageError where that is no place. Offsets are decimal or, with 0x, hexadecimal."""
    binary, _, rest = target.partition(":")
    symbol, offset = "", rest
    if not rest[:1].isdigit():
        symbol, plus, offset = rest.partition("+")
        offset = offset if plus else "0"
    try:
        if not binary or not (symbol or rest[:1].isdigit()):
            raise ValueError
        return Place(binary, symbol, parse_offset(offset))
    except ValueError:
        raise UsageError(
            f"'{target}' says no place in a file", hint="BINARY:FUNCTION[+OFFSET] or BINARY:OFFSET"
        ) from None


def attach_uprobe(
    prog_fd: int,
    binary: Binary,
    symbol: str = "",
    offset: int = 0,
    *,
    returns: bool = False,
    pid: int = ALL_PROCESSES,
    ref_ctr_offset: int = 0,
    cookie: int = 0,
) -> Fd:
    """Attach to the instruction `offset` bytes after a function's start, or from the file's start.

    `binary` is a path or what `find_binary` finds. With `returns` the program runs when the
    function returns. `pid`: only that process, `ALL_PROCESSES` or `THIS_PROCESS`. The kernel counts
    users of the probe in the 16-bit number at `ref_ctr_offset` of the file's data (Linux 4.20).
    `cookie` is for bpf_get_attach_cookie (5.15).

    NotFound where there is no such file or function, BadInput where it is not ELF, KernelError
    where the kernel refuses.
    """
    path = find_binary(binary)
    with at(path):
        start = 0
        if symbol:
            if returns and offset:
                raise UsageError("a function's return has no offset")
            with _elf_file(path) as elf:
                start = elf.function_offset(symbol)
        elif not os.path.exists(path):  # noqa: PTH110 - pathlib is slow to import
            raise NotFound("there is no such file")
        fields = {"retprobe": int(returns), "ref_ctr_offset": ref_ctr_offset}
        with explained(_HINTS):
            event = perf.open_probe("uprobe", os.fsencode(path), start + offset, pid, **fields)
            return attach_perf_event(prog_fd, event, cookie)


def attach_uprobe_multi(
    prog_fd: int,
    binary: Binary,
    offsets: Sequence[int],
    attach_type: AttachType = AttachType.TRACE_UPROBE_MULTI,
    *,
    returns: bool = False,
    pid: int = ALL_PROCESSES,
    ref_ctr_offsets: Sequence[int] = (),
    cookies: Sequence[int] = (),
) -> Fd:
    """Attach to many places of a file by one link, which is much faster. Linux 6.6.

    `offsets` are from the file's start; of `ref_ctr_offsets` and `cookies` there are as many, or
    none. For the rest see `attach_uprobe`. BpfError where the kernel refuses.
    """
    path = find_binary(binary)
    if not offsets:
        raise UsageError("there are no offsets to attach to")
    for what, numbers in (("cookies", cookies), ("ref_ctr_offsets", ref_ctr_offsets)):
        if numbers and len(numbers) != len(offsets):
            raise UsageError(f"{len(numbers)} {what} are given for {len(offsets)} places")
    if len(offsets) > _MAX_PLACES:
        raise UsageError(f"{len(offsets)} places are too many: a link has at most {_MAX_PLACES}")
    name = os.fsencode(path) + b"\0"
    arrays = {
        "uprobe_multi_offsets": _u64s(offsets),
        "uprobe_multi_ref_ctr_offsets": _u64s(ref_ctr_offsets),
        "uprobe_multi_cookies": _u64s(cookies),
    }
    with at(path), explained(_MULTI_HINTS):
        return link_create(
            prog_fd,
            0,
            attach_type,
            uprobe_multi_path=address_of(name),
            uprobe_multi_cnt=len(offsets),
            uprobe_multi_flags=UprobeMultiFlag.RETURN if returns else 0,
            # 0 is here what -1 is elsewhere.
            uprobe_multi_pid={ALL_PROCESSES: 0, THIS_PROCESS: os.getpid()}.get(pid, pid),
            **{field: address_of(array) for field, array in arrays.items()},
        )


class _OfUserSpace(Program):
    @property
    def _returns(self) -> bool:
        return self.definition.kind.startswith("uretprobe")

    def attaches_itself(self) -> bool:
        """Whether the section's name says where, after "uprobe/" or the like."""
        return bool(self.definition.target)


class UprobeProgram(_OfUserSpace):
    """A program of ``SEC("uprobe")`` or ``SEC("uretprobe")``, sleepable (".s") or not.

    ``SEC("uprobe/libc.so.6:malloc")`` attaches itself; after the colon is a function, a function
    and an offset ("malloc+4"), or an offset in the file ("0x1234").
    """

    def attach(
        self,
        binary: Binary | None = None,
        symbol: str = "",
        offset: int = 0,
        *,
        pid: int = ALL_PROCESSES,
        ref_ctr_offset: int = 0,
        cookie: int = 0,
    ) -> Fd:
        """Attach to a function of a binary, or to an offset, until the link is closed.

        Without `binary` where the section's name says. Raises what `attach_uprobe` does; see there.
        """
        if binary is None:
            if symbol or offset:
                raise UsageError("a symbol or offset is of a binary")
            target = target_of(self, None, "a place", "uprobe/libc.so.6:malloc")
            binary, symbol, offset = parse_place(target)
        elif not symbol and not offset:
            raise UsageError("which place of the binary?", hint="give a symbol or an offset")
        link = attach_uprobe(
            self.fileno(),
            binary,
            symbol,
            offset,
            returns=self._returns,
            pid=pid,
            ref_ctr_offset=ref_ctr_offset,
            cookie=cookie,
        )
        self.attached(link)
        return link


class UprobeMultiProgram(_OfUserSpace):
    """A program of ``SEC("uprobe.multi")``, "uretprobe.multi" or "uprobe.session". Linux 6.6.

    ``SEC("uprobe.multi/libc.so.6:mem*")`` attaches itself, to all functions with such a name.
    """

    def attach(
        self,
        binary: Binary | None = None,
        places: str | Sequence[str] | Sequence[int] = "",
        *,
        pid: int = ALL_PROCESSES,
        ref_ctr_offsets: Sequence[int] = (),
        cookies: Sequence[int] = (),
    ) -> Fd:
        """Attach to places of a binary by one link, until that is closed.

        `places` is a pattern of functions' names (``*`` is any text, ``?`` any character), or a
        sequence of names or of offsets in the file; `ref_ctr_offsets` and `cookies`, one for each,
        need a sequence. Without `binary` where the section's name says. Functions that begin at one
        place are one. NotFound where no function is of such a name; raises what
        `attach_uprobe_multi` and `attach_uprobe` do.
        """
        if binary is None:
            if places:
                raise UsageError("places are those of a binary")
            target = target_of(self, None, "functions", "uprobe.multi/libc.so.6:mem*")
            binary, _, places = target.partition(":")
        if not binary or not places:
            raise UsageError("which functions of which binary?", hint="attach(BINARY, PATTERN)")
        if isinstance(places, str) and (ref_ctr_offsets or cookies):
            raise UsageError("cookies and counters are for places that are given one by one")
        path = find_binary(binary)
        link = attach_uprobe_multi(
            self.fileno(),
            path,
            _offsets(path, places),
            AttachType(self.definition.attach_type),
            returns=self._returns,
            pid=pid,
            ref_ctr_offsets=ref_ctr_offsets,
            cookies=cookies,
        )
        self.attached(link)
        return link


def _offsets(path: str, places: str | Sequence[str] | Sequence[int]) -> Sequence[int]:
    if isinstance(places, str):
        with at(path), _elf_file(path) as elf:
            found = elf.functions(_matcher(places))
        if not found:
            raise NotFound(f"{path}: there is no function '{places}'")
        return [function.offset for function in found]
    names = [place for place in places if isinstance(place, str)]
    if not names:
        return [place for place in places if isinstance(place, int)]
    if len(names) != len(places):
        raise UsageError("places are either names or offsets, not both")
    with at(path), _elf_file(path) as elf:
        return elf.function_offsets(names)


def _elf_file(path: str) -> ElfFile:
    # Offsets do without it, and skeletons start sooner.
    from lskel.runtime.attach.elf_symbols import ElfFile

    return ElfFile(path)


def _matcher(pattern: str) -> Callable[[str], bool]:
    """For a pattern that knows ``*`` and ``?`` only."""
    import fnmatch

    # To fnmatch brackets are special, too.
    plain = pattern.replace("[", "[[]")
    return lambda name: fnmatch.fnmatchcase(name, plain)


def _u64s(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"={len(numbers)}Q", *numbers)
