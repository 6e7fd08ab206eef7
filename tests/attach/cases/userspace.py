"""Programs of user space: probes of functions, and those that programs are compiled with."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lskel.runtime.attach.binaries import find_binary
from lskel.runtime.attach.elf_symbols import ElfFile
from lskel.runtime.attach.probe import (
    KprobeProgram,
    UprobeMultiProgram,
    UprobeProgram,
    UsdtProgram,
)
from lskel.runtime.attach.uprobe import THIS_PROCESS
from lskel.runtime.collection import Collection
from lskel.runtime.program import Program
from tests.attach.cases.case import Case, Lack
from tests.attach.scenes import Scene, Setting

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link

LIBRARY = "libc.so.6"
FUNCTION = "getloadavg"
TARGET = f"{LIBRARY}:{FUNCTION}"
COOKIE = 0xC00C1E
# Debian's, which has probes; the section of a program says it, too.
PYTHON = "/usr/bin/python3"

_NO_MULTI = Lack("EINVAL: Invalid argument (such links need Linux 6.6", (6, 6))
_NO_SESSIONS = _NO_MULTI._replace(since=(6, 13))
_NO_FD = Lack("EINVAL: Invalid argument (a binary by its fd needs Linux 7.2", (7, 2))


def _attach_itself(program: Any) -> Link:
    assert program.attaches_itself()
    link: Link = program.attach()
    return link


def _by_offset(program: UprobeProgram) -> Link:
    with ElfFile(find_binary(LIBRARY)) as elf:
        return program.attach(LIBRARY, offset=elf.function_offset(FUNCTION))


def _many_by_offset(program: UprobeMultiProgram) -> Link:
    with ElfFile(find_binary(LIBRARY)) as elf:
        offsets = [elf.function_offset(FUNCTION), elf.function_offset("setdomainname")]
    return program.attach(LIBRARY, offsets, cookies=[COOKIE, 1])


def _by_fd(program: UprobeMultiProgram) -> Link:
    with Path(find_binary(LIBRARY)).open("rb") as library:
        return program.attach(library.fileno(), ["setdomainname", FUNCTION])


def _collect() -> None:
    """Have Python collect garbage; environment and options that change what it does stay out."""
    subprocess.run([PYTHON, "-I", "-c", "import gc; gc.collect(1)"], check=True)


def _on(event: Callable[[], object], attach: Callable[[Any], Link]) -> Setting:
    @contextlib.contextmanager
    def setting(_: Collection) -> Iterator[Scene]:
        yield Scene(attach, event)

    return setting


def _uprobe(name: str, program: str, attach: Callable[[Any], Link] = _attach_itself) -> Case:
    return Case(name, "userspace", program, UprobeProgram, _on(os.getloadavg, attach))


def _multi(
    name: str,
    program: str,
    attach: Callable[[Any], Link] = _attach_itself,
    lack: Lack = _NO_MULTI,
) -> Case:
    setting = _on(os.getloadavg, attach)
    return Case(name, "userspace", program, UprobeMultiProgram, setting, lack=lack)


def _usdt(
    name: str,
    program: str,
    attach: Callable[[Any], Link],
    kind: type[Program] = UsdtProgram,
) -> Case:
    setting = _on(_collect, attach)
    return Case(name, "userspace_usdt", program, kind, setting, linked_since=None)


CASES: tuple[Case, ...] = (
    _uprobe("uprobe", "on_uprobe"),
    _uprobe("uprobe.s", "on_uprobe_s"),
    _uprobe("uprobe (given)", "on_given", lambda p: p.attach(LIBRARY, FUNCTION, pid=THIS_PROCESS)),
    _uprobe("uprobe (offset)", "on_given", _by_offset),
    _uprobe(
        "uprobe (cookie)", "uprobe_cookie", lambda p: p.attach(LIBRARY, FUNCTION, cookie=COOKIE)
    ),
    _uprobe("uretprobe", "on_uretprobe"),
    _uprobe("uprobe as uretprobe", "on_uprobe", lambda p: p.attach_as(f"uretprobe/{TARGET}")),
    _multi("uprobe.multi", "on_multi"),
    _multi(
        "uprobe.multi (given)",
        "on_multi_given",
        lambda p: p.attach(LIBRARY, ["setdomainname", FUNCTION], pid=os.getpid()),
    ),
    _multi("uprobe.multi (fd)", "on_multi_given", _by_fd, _NO_FD),
    _multi("uprobe.multi (cookies)", "multi_cookie", _many_by_offset),
    _multi("uretprobe.multi", "on_multi_return"),
    _multi("uprobe.session", "on_session", lack=_NO_SESSIONS),
    _usdt("usdt", "on_usdt", _attach_itself),
    _usdt(
        "kprobe as usdt",
        "kprobe_as_usdt",
        lambda p: p.attach_usdt(PYTHON, "python", "gc__start"),
        KprobeProgram,
    ),
    _usdt(
        "usdt (cookie)",
        "usdt_cookie",
        lambda p: p.attach(PYTHON, "python", "gc__start", cookie=COOKIE),
    ),
)
