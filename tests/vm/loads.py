"""Three ways to load an object, as jobs of a machine.

Each says why it does not load, in one line, or returns an empty text; it leaves nothing loaded.
Errors of lskel that are no LskelError pass through.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

import lskel
from lskel.bpf import context
from lskel.errors import LskelError
from lskel.loader.header import parse_header
from lskel.runtime.loader import run_loader
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import errno_name

# The first message that is no mere remark; the kernel may do without BTF.
_REMARKS = r"elf: skipping|BTF loading error|-- |Error loading \.BTF"
_REASON = re.compile(rf"^libbpf: (?!{_REMARKS})(.*)", re.MULTILINE)


def by_libbpf(path: str) -> str:
    """Load an object from its file, as `bpftool prog loadall` does.

    On the whole corpus they differ in two points. bpftool pins each program, and fails where one
    is not to be loaded (`SEC("?...")`). It has the libbpf of the kernel's source, for which a
    function in `.text` is a subprogram, also if it is the only one.
    """
    log = os.memfd_create("log")
    os.dup2(log, sys.stderr.fileno())  # where libbpf writes; this process serves nothing else
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    libbpf.bpf_object__open_file.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(libbpf.bpf_object__open_file(path.encode(), None))
    if not opened:
        return _failure("open", ctypes.get_errno(), log)
    if failed := libbpf.bpf_object__load(opened):
        return _failure("load", -failed, log)
    libbpf.bpf_object__close(opened)
    return ""


def _failure(stage: str, number: int, log: int) -> str:
    lines = os.pread(log, 1 << 20, 0).decode(errors="replace")
    reason = _REASON.search(lines)
    return f"{stage}: {errno_name(number)}: {reason[1] if reason else 'no reason given'}"


def by_bpftool(header: str) -> str:
    """Run the loader in a light skeleton of `bpftool gen skeleton -L`."""
    skeleton = parse_header(Path(header).read_text())
    ctx = bytearray(skeleton.context_size)
    ctx[0:4] = len(ctx).to_bytes(4, sys.byteorder)
    if value := run_loader(skeleton.insns, skeleton.blob, ctx).value:
        return errno_name(-value)
    maps = len(skeleton.maps)
    offsets = [context.map_fd(slot) for slot in range(maps)]
    offsets += [context.program_fd(maps, slot) for slot in range(len(skeleton.programs))]
    for offset in offsets:
        # 0 stands for a program that is not loaded by itself.
        if number := int.from_bytes(ctx[offset : offset + 4], sys.byteorder):
            Fd(number).close()
    return ""


def by_lskel(path: str) -> str:
    """Run the loader in a bundle."""
    try:
        with lskel.load(path) as bpf:
            bpf.load()
    except LskelError as error:
        return str(error)
    return ""
