"""Commands of bpf(2) that not every kernel has, as jobs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

import lskel
from lskel.errors import ReplayError
from lskel.loader.model import Form
from lskel.runtime.objects import ObjectKind, by_id, duplicate
from lskel.runtime.syscall import BpfError

_DELETED = 10.0  # seconds until the kernel has freed a map


def streams(bundle: str, bpftool: Sequence[str]) -> dict[str, object]:
    """What a program prints, read by its streams and by bpftool; an errno if there are none."""
    with lskel.load(bundle).load() as bpf:
        program = bpf.progs.talk
        program.run(ctx=bytes(4))
        try:
            found: dict[str, object] = {"stdout": program.stdout.read()}
        except BpfError as error:
            return {"errno": error.errno, "hint": error.hint}
        found |= {"stderr": list(program.stderr), "again": program.stdout.read()}
        program.run(ctx=bytes(4))
        program.run(ctx=bytes(4))
        words = [*bpftool, "prog", "tracelog", "stdout", "id", str(program.info().id)]
        found["bpftool"] = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found["after it"] = program.stdout.read()
        return found


def run_shows(words: Sequence[str]) -> str:
    """The output of a command of lskel."""
    command = [sys.executable, "-m", "lskel", *words]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def associations(bundle: str) -> dict[str, object]:
    """The errnos of associating programs with maps, and whether a program keeps its map."""

    def errno_of(program: str, ops: str) -> int:
        try:
            bpf.progs[program].assoc_struct_ops(bpf.maps[ops])
        except BpfError as error:
            return error.errno
        return 0

    with lskel.load(bundle).load() as bpf:
        pairs = [("p", "one"), ("p", "one"), ("p", "two"), ("so_undo", "one"), ("q", "assoc.bss")]
        errnos = [errno_of(*pair) for pair in pairs]
        kept, other = bpf.maps.one.info().id, bpf.maps.two.info().id
        program = duplicate(bpf.progs.p.fileno())
    with program:
        gone = _is_gone(other)
        stays = not _is_gone(kept, within=0)
    return {"errnos": errnos, "kept": stays, "other gone": gone, "gone": _is_gone(kept)}


def _is_gone(number: int, within: float = _DELETED) -> bool:
    end = time.monotonic() + within
    while True:
        try:
            by_id(ObjectKind.MAP, number).close()
        except BpfError:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)


def refused_maps(objects: Sequence[str]) -> dict[str, list[str]]:
    """The log and the reason of each object that no kernel loads, by each way to load it."""
    found = {}
    for path in objects:
        for how, options in (
            ("table", {"form": Form.TABLE}),
            ("unrolled", {"form": Form.UNROLLED}),
            ("direct", {"direct": True}),
        ):
            try:
                with lskel.load(path, **options) as bpf:
                    bpf.load()
            except ReplayError as error:
                found[f"{os.path.basename(path)} {how}"] = [*error.log, error.why or ""]  # noqa: PTH119
    return found


def in_namespace(script: str, words: Sequence[str], options: Sequence[str]) -> list[object]:
    """Exit status, stdout and stderr of lskel in a user namespace: examples/delegate.py."""
    command = [sys.executable, script, *options, sys.executable, "-m", "lskel", *words]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    return [done.returncode, done.stdout, done.stderr]
