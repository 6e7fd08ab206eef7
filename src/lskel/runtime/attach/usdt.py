"""USDT: programs at static probes of user space programs and libraries.

A probe is one or more nop instructions, to which uprobes attach; ELF notes have their addresses and
the locations of arguments. bpf/usdt.bpf.h, which is compiled into the program, reads these from two
maps, which are filled here.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from functools import cache

from lskel.errors import LskelError, NotFound, NotSupported, UsageError, at
from lskel.light_typing import NamedTuple
from lskel.runtime.attach.binaries import find_binary
from lskel.runtime.attach.link import Link
from lskel.runtime.attach.uprobe import ALL_PROCESSES, attach_uprobe, attach_uprobe_multi
from lskel.runtime.attach.usdt_arguments import parse_arguments
from lskel.runtime.attach.usdt_layout import SPECS_MAP, spec_layout
from lskel.runtime.info import map_info
from lskel.runtime.objects import duplicate
from lskel.runtime.one_element import delete, lookup, update
from lskel.runtime.syscall import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from lskel.runtime.attach.stapsdt import UsdtProbe
    from lskel.runtime.attach.uprobe import Binary
    from lskel.runtime.attach.usdt_arguments import Argument

    class HasFileno(Protocol):
        """A map."""

        def fileno(self) -> int:
            """Its fd."""


IPS_MAP = "__bpf_usdt_ip_to_spec_id"

_NO_MAPS = "USDT programs must include bpf/usdt.bpf.h, which defines these maps"


class UsdtLink(Link):
    """All locations of one probe; closing it detaches from all."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Detach; a second call does nothing."""
        self._closed = True
        self._stack.close()


def parse_usdt_target(target: str) -> tuple[str, str, str]:
    """The parts of BINARY:PROVIDER:NAME; UsageError for other text."""
    parts = target.split(":")
    if len(parts) != 3:
        raise UsageError(f"'{target}' is not an attach target", hint="BINARY:PROVIDER:NAME")
    binary, provider, name = parts
    return binary, provider, name


def attach_usdt(
    prog_fd: int,
    maps: Mapping[str, HasFileno],
    binary: Binary,
    provider: str,
    name: str,
    *,
    pid: int = ALL_PROCESSES,
    cookie: int = 0,
    multi: bool = False,
) -> UsdtLink:
    """Attach to all locations of a probe.

    `maps` are those of the program's object, by name; `binary` is a path or a name for
    `find_binary`; `cookie` is for bpf_usdt_cookie. `pid`: a process, `ALL_PROCESSES` (Linux 5.15)
    or `THIS_PROCESS`. Semaphores of probes are incremented while attached (4.20). `multi` uses one
    link, for which the program must have been loaded (6.6).

    NotFound if the file or probe does not exist, NotSupported for arguments that cannot be read,
    UsageError if the maps are missing, LskelError if they are full, KernelError if the kernel
    refuses.
    """
    from lskel.runtime.attach.elf_symbols import ElfFile
    from lskel.runtime.attach.stapsdt import find_probes

    path = find_binary(binary)
    with at(path), ElfFile(path) as elf:
        probes = find_probes(elf, provider, name)
        places = [parse_arguments(probe.arguments, elf.header.machine) for probe in probes]
    with at(f"probe {provider}:{name}"), ExitStack() as stack:
        specs = _Specs(maps, stack)
        numbers = [specs.number(arguments, cookie) for arguments in places]
        if not _has_cookies():
            _fill_ips(_own(maps, IPS_MAP, stack), _addresses(path, probes, pid), numbers, stack)
            numbers = [0] * len(probes)
        if multi:
            link = attach_uprobe_multi(
                prog_fd,
                path,
                [probe.offset for probe in probes],
                pid=pid,
                ref_ctr_offsets=[probe.semaphore for probe in probes],
                cookies=numbers,
            )
            stack.callback(link.close)
        else:
            for probe, number in zip(probes, numbers, strict=True):
                link = attach_uprobe(
                    prog_fd,
                    path,
                    offset=probe.offset,
                    pid=pid,
                    ref_ctr_offset=probe.semaphore,
                    cookie=number,
                )
                stack.callback(link.close)
        return UsdtLink(stack.pop_all())


class _Specs:
    """Allocated elements of the spec map; they are released with the stack."""

    def __init__(self, maps: Mapping[str, HasFileno], stack: ExitStack) -> None:
        self._fd = _own(maps, SPECS_MAP, stack)
        self._stack = stack
        self._numbers: dict[bytes, int] = {}
        info = map_info(self._fd)
        self._layout = spec_layout(info)
        self._room = info.max_entries
        self._next = 0

    def number(self, arguments: Sequence[Argument], cookie: int) -> int:
        """The key of a spec: equal locations share one."""
        spec = self._layout.encode(arguments, cookie)
        if spec not in self._numbers:
            number = self._numbers[spec] = self._free()
            self._set(number, spec)
            self._stack.callback(self._set, number, bytes(len(spec)))
        return self._numbers[spec]

    def _free(self) -> int:
        # The map itself has the allocation state, as all programs of the object share it.
        for number in range(self._next, self._room):
            spec = lookup(self._fd, _u32(number), self._layout.size)
            if spec is None or self._layout.is_free(spec):
                self._next = number + 1
                return number
        raise LskelError(
            f"map '{SPECS_MAP}' is full: all {self._room} elements are in use",
            hint="raise its max_entries before load(), or define BPF_USDT_MAX_SPEC_CNT",
        )

    def _set(self, number: int, spec: bytes) -> None:
        update(self._fd, _u32(number), spec)


def _own(maps: Mapping[str, HasFileno], name: str, stack: ExitStack) -> int:
    """A duplicate of a map's fd until the stack ends, independent of the object."""
    found = maps.get(name)
    if found is None:
        raise UsageError(f"no map '{name}'", hint=_NO_MAPS)
    return stack.enter_context(duplicate(found.fileno())).fileno()


@cache
def _has_cookies() -> bool:
    """The value of LINUX_HAS_BPF_COOKIE that the program was loaded with."""
    from lskel.runtime.kconfig import this_machine

    return bool(this_machine().has_bpf_cookie)


class _Mapping(NamedTuple):
    """A line of /proc/PID/maps; `offset` is the file offset."""

    start: int
    end: int
    offset: int


def _fill_ips(fd: int, addresses: list[int], numbers: list[int], stack: ExitStack) -> None:
    for address, number in zip(addresses, numbers, strict=True):
        key = address.to_bytes(8, sys.byteorder)
        update(fd, key, _u32(number))
        stack.callback(delete, fd, key)


def _addresses(path: str, probes: list[UsdtProbe], pid: int) -> list[int]:
    """The addresses of the probes in the process."""
    if pid == ALL_PROCESSES:
        raise NotSupported(
            "before Linux 5.15 a probe is attached for one process at a time", hint="pass a pid"
        )
    mappings = _mappings(path, pid)
    found = []
    for probe in probes:
        places = (
            mapping.start + probe.offset - mapping.offset
            for mapping in mappings
            if mapping.offset <= probe.offset < mapping.offset + mapping.end - mapping.start
        )
        place = next(places, None)
        if place is None:
            raise NotFound(f"process {pid or 'self'} has not mapped that file")
        found.append(place)
    return found


def _mappings(path: str, pid: int) -> list[_Mapping]:
    """Executable mappings of a file."""
    with calling(f"stat({path})"):
        file = os.stat(path)  # noqa: PTH116 - pathlib is slow to import
    found = []
    try:
        with open(f"/proc/{pid or 'self'}/maps") as lines:  # noqa: PTH123
            for line in lines:
                # start-end permissions offset device inode path
                area, permissions, offset, _, inode, *_ = line.split()
                if int(inode) == file.st_ino and "x" in permissions:
                    start, _, end = area.partition("-")
                    found.append(_Mapping(int(start, 16), int(end, 16), int(offset, 16)))
    except OSError as error:
        raise NotFound(f"no process {pid}") from error
    return found


def _u32(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)
