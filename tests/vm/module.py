"""A kernel module with a C skeleton in it, as a job of a machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from lskel.runtime.objects import ObjectKind, by_id, identity, ids
from lskel.runtime.one_element import lookup

PROGRAMS = 7
# Seconds; the kernel frees programs some time after their last user.
_PATIENCE = 10


def count_execs(paths: dict[str, str]) -> dict[str, object]:
    """Load the module of docs/c-skeleton.md, execute `PROGRAMS` programs, and remove the module.

    It is that of `paths` for the kernel's series. Tells its variable before and after these, what
    it printed when it was removed, and which of its programs and maps were there meanwhile and
    afterwards.
    """
    release = os.uname().release
    path = next((path for series, path in paths.items() if release.startswith(f"{series}.")), None)
    if path is None:
        raise RuntimeError(f"no module for {release}")
    before = _everything()
    subprocess.run(["insmod", path], check=True)
    meanwhile = _everything()
    added = {name for name, number in meanwhile.items() if before.get(name) != number}
    first = _execs(meanwhile["execs.bss"])
    for _ in range(PROGRAMS):
        subprocess.run(["true"], check=True)
    last = _execs(meanwhile["execs.bss"])
    subprocess.run(["rmmod", "execs"], check=True)
    said = subprocess.run(["dmesg"], capture_output=True, text=True, check=True)
    deadline = time.monotonic() + _PATIENCE
    while added & (left := _everything()).keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    return {
        "counted": [first, last],
        "added": sorted(added),
        "left": sorted(added & left.keys()),
        "said": said.stdout.splitlines()[-1],
    }


def _everything() -> dict[str, int]:
    """The ids of all programs and maps, by name."""
    found = {}
    for kind in (ObjectKind.PROG, ObjectKind.MAP):
        for number in ids(kind):
            with by_id(kind, number) as fd:
                found[identity(fd.fileno(), kind).name] = number
    return found


def _execs(map_id: int) -> int:
    with by_id(ObjectKind.MAP, map_id) as fd:
        value = lookup(fd.fileno(), bytes(4), 8)
    assert value is not None
    return int.from_bytes(value, sys.byteorder)
