"""Three ways to load an object, as jobs of a machine.

Each says why it does not load, in one line, or returns an empty text; it leaves nothing loaded.
Errors of lskel that are no LskelError pass through.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import lskel
from lskel.bpf import context
from lskel.errors import LskelError
from lskel.loader.header import parse_header
from lskel.runtime.loader import run_loader
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import errno_name
from tests.vm.batch import BPFFS

# The first message that is no mere remark; the kernel may do without BTF.
_REMARKS = r"elf: skipping|BTF loading error|-- |Error loading \.BTF"
_REASON = re.compile(rf"^libbpf: (?!{_REMARKS})(.*)", re.MULTILINE)
# It stops itself at a program without a type, which libbpf would refuse to load.
_STAGE = re.compile(
    r"^(?:Error: failed to (open|load) object file|libbpf: failed to guess program type)",
    re.MULTILINE,
)
# bpftool goes on after loading: it pins each program, also those that are not autoloaded.
_LOADED = re.compile(r"^Error: (failed to pin|object file doesn't contain any bpf)", re.MULTILINE)


def by_libbpf(path: str, bpftool: list[str]) -> str:
    """Load an object from its file, by the libbpf in a bpftool, which `bpftool` is to run."""
    command = [*bpftool, "prog", "loadall", path, f"{BPFFS}/loaded"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0 or _LOADED.search(done.stderr):
        return ""
    stage = _STAGE.search(done.stderr)
    if stage is None:
        raise RuntimeError(f"bpftool ended with {done.returncode}: {done.stderr}")
    reason = _REASON.search(done.stderr)
    return f"{stage[1] or 'load'}: {reason[1] if reason else 'no reason given'}"


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
