"""Uprobes: programs at instructions of user space programs and libraries."""

from __future__ import annotations

import errno
import os
import struct

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import UprobeMultiFlag
from lskel.errors import NotFound, UsageError, at
from lskel.light_typing import NamedTuple
from lskel.runtime import perf
from lskel.runtime.attach.binaries import find_binary
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.perf_link import attach_perf_event
from lskel.runtime.offsets import parse_offset
from lskel.runtime.syscall import ENOTSUPP, address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from lskel.runtime.attach.elf_symbols import ElfFile

    Binary: TypeAlias = str | os.PathLike[str]

#: For `pid`: all processes that run the file, now and later.
ALL_PROCESSES = -1
#: For `pid`: the calling process.
THIS_PROCESS = 0

# kernel/trace/bpf_trace.c.
_MAX_PLACES = 1 << 20

_HINTS = {
    errno.EACCES: "this needs CAP_SYS_ADMIN; for uprobe.multi (Linux 6.6) CAP_PERFMON is enough",
    errno.EINVAL: "the offset is outside the file, or not at an instruction boundary; or existing "
    "probes there have another ref_ctr_offset",
    errno.ESRCH: "no such process",
    errno.EOPNOTSUPP: "the instruction cannot be probed",
    ENOTSUPP: "the instruction cannot be probed",
}
_MULTI_HINTS = {
    **_HINTS,
    errno.EINVAL: "such links need Linux 6.6, sessions 6.13; or an offset is outside the file, or "
    "not at an instruction boundary",
}
_FD_HINTS = {
    **_MULTI_HINTS,
    errno.EINVAL: "a binary by its fd needs Linux 7.2; or an offset is outside the file, or not at "
    "an instruction boundary",
    errno.EBADF: "it is not open",
}


class UprobeTarget(NamedTuple):
    """The part of a section name after "uprobe/": ``binary:symbol+offset`` or ``binary:offset``."""

    binary: str
    symbol: str
    offset: int


def parse_uprobe_target(target: str) -> UprobeTarget:
    """UsageError for other text. Offsets are decimal or, with 0x, hexadecimal."""
    binary, _, rest = target.partition(":")
    symbol, offset = "", rest
    if not rest[:1].isdigit():
        symbol, plus, offset = rest.partition("+")
        offset = offset if plus else "0"
    try:
        if not binary or not (symbol or rest[:1].isdigit()):
            raise ValueError
        return UprobeTarget(binary, symbol, parse_offset(offset))
    except ValueError:
        raise UsageError(
            f"'{target}' is not an attach target", hint="BINARY:FUNCTION[+OFFSET] or BINARY:OFFSET"
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
) -> BpfLink:
    """Attach to the instruction `offset` bytes after the start of a function, or of the file.

    `binary` is a path or a name for `find_binary`. With `returns` the program runs when the
    function returns. `pid`: a process, `ALL_PROCESSES` or `THIS_PROCESS`. The kernel maintains the
    16-bit reference counter at file offset `ref_ctr_offset` (Linux 4.20). `cookie` is for
    bpf_get_attach_cookie (5.15).

    NotFound if the file or function does not exist, BadInput if it is not ELF, KernelError if the
    kernel refuses.
    """
    path = find_binary(binary)
    with at(path):
        start = 0
        if symbol:
            if returns and offset:
                raise UsageError("a return probe takes no offset")
            with _elf_file(path) as elf:
                start = elf.function_offset(symbol)
        elif not os.path.exists(path):  # noqa: PTH110 - pathlib is slow to import
            raise NotFound("no such file")
        fields = {"retprobe": int(returns), "ref_ctr_offset": ref_ctr_offset}
        with with_hints(_HINTS):
            event = perf.open_probe("uprobe", os.fsencode(path), start + offset, pid, **fields)
            return attach_perf_event(prog_fd, event, cookie)


def attach_uprobe_multi(
    prog_fd: int,
    binary: Binary | int,
    offsets: Sequence[int],
    attach_type: AttachType = AttachType.TRACE_UPROBE_MULTI,
    *,
    returns: bool = False,
    pid: int = ALL_PROCESSES,
    ref_ctr_offsets: Sequence[int] = (),
    cookies: Sequence[int] = (),
) -> BpfLink:
    """Attach to many offsets of a file with one link, which is much faster. Linux 6.6.

    `binary` may also be the fd of the file, of any mount namespace (7.2). `offsets` are file
    offsets; `ref_ctr_offsets` and `cookies` have the same length, or are empty. For the rest see
    `attach_uprobe`. BpfError if the kernel refuses.
    """
    if not offsets:
        raise UsageError("no offsets to attach to")
    for what, numbers in (("cookies", cookies), ("ref_ctr_offsets", ref_ctr_offsets)):
        if numbers and len(numbers) != len(offsets):
            raise UsageError(f"{len(numbers)} {what} for {len(offsets)} offsets")
    if len(offsets) > _MAX_PLACES:
        raise UsageError(f"{len(offsets)} offsets, a link has at most {_MAX_PLACES}")
    name, flags = b"", UprobeMultiFlag.RETURN if returns else 0
    if isinstance(binary, int):
        place, file = f"fd {binary}", {"uprobe_multi_path_fd": binary}
        flags, hints = flags | UprobeMultiFlag.PATH_FD, _FD_HINTS
    else:
        place, file, hints = find_binary(binary), {}, _MULTI_HINTS
        name = os.fsencode(place) + b"\0"
    arrays = {
        "uprobe_multi_offsets": _u64s(offsets),
        "uprobe_multi_ref_ctr_offsets": _u64s(ref_ctr_offsets),
        "uprobe_multi_cookies": _u64s(cookies),
    }
    with at(place), with_hints(hints):
        return link_create(
            prog_fd,
            0,
            attach_type,
            uprobe_multi_path=address_of(name),
            uprobe_multi_cnt=len(offsets),
            uprobe_multi_flags=flags,
            # 0 here is -1 elsewhere.
            uprobe_multi_pid={ALL_PROCESSES: 0, THIS_PROCESS: os.getpid()}.get(pid, pid),
            **file,
            **{field: address_of(array) for field, array in arrays.items()},
        )


def file_offsets(binary: str | int, places: str | Sequence[str] | Sequence[int]) -> Sequence[int]:
    """The file offsets of functions, by a pattern or by names; offsets are returned as they are.

    `binary` is the path of the file, or its fd. NotFound if no function matches; else the errors of
    `ElfFile.function_offsets`.
    """
    path = f"/proc/self/fd/{binary}" if isinstance(binary, int) else binary
    if isinstance(places, str):
        with at(path), _elf_file(path) as elf:
            found = elf.functions(_matcher(places))
        if not found:
            raise NotFound(f"{path}: no function '{places}'")
        return [function.offset for function in found]
    names = [place for place in places if isinstance(place, str)]
    if not names:
        return [place for place in places if isinstance(place, int)]
    if len(names) != len(places):
        raise UsageError("places must be all names or all offsets")
    with at(path), _elf_file(path) as elf:
        return elf.function_offsets(names)


def _elf_file(path: str) -> ElfFile:
    # Imported here: offsets do not need it, and skeletons start faster.
    from lskel.runtime.attach.elf_symbols import ElfFile

    return ElfFile(path)


def _matcher(pattern: str) -> Callable[[str], bool]:
    """For a pattern with only ``*`` and ``?``."""
    import fnmatch

    # fnmatch would also interpret brackets.
    plain = pattern.replace("[", "[[]")
    return lambda name: fnmatch.fnmatchcase(name, plain)


def _u64s(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"={len(numbers)}Q", *numbers)
