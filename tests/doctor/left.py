"""That nothing is left behind: what a machine shows of BPF, cgroups, mounts, tc and tracefs."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from lskel.doctor.sandbox import cgroup_root
from lskel.runtime.attach.tracefs import ROOTS
from lskel.runtime.objects import ObjectKind, ids
from tests.conftest import open_fds

# The kernel frees what nobody holds any more a while later; and what others, such as tests that run
# at the same time, have loaded meanwhile goes when they end.
_PATIENCE = 60

State = dict[str, frozenset[object]]


def state() -> State:
    """What is there."""
    root = cgroup_root()
    found: State = {kind.name: frozenset(ids(kind)) for kind in ObjectKind}
    found["fds"] = frozenset(open_fds().items())
    found["mounts"] = frozenset(Path("/proc/self/mounts").read_text().splitlines())
    found["interfaces"] = frozenset(path.name for path in Path("/sys/class/net").iterdir())
    found["cgroups"] = frozenset(Path(root).glob("lskel-doctor-*") if root else ())
    control = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    found["congestion control"] = frozenset(control)
    found["probes"] = frozenset(_lines("kprobe_events", "uprobe_events"))
    if tc := shutil.which("tc"):
        shown = subprocess.run([tc, "qdisc", "show"], capture_output=True, text=True, check=True)
        found["qdiscs"] = frozenset(shown.stdout.splitlines())
    found["pins"] = frozenset(Path("/sys/fs/bpf").glob("lskel_doctor_*"))
    found["children"] = frozenset(
        Path("/proc/thread-self/children").read_text().split()
        if Path("/proc/thread-self/children").exists()
        else ()
    )
    return found


def _lines(*files: str) -> list[str]:
    """Of files of tracefs, where they are."""
    paths = [Path(root) / file for root in ROOTS for file in files]
    return [line for path in paths if path.exists() for line in path.read_text().splitlines()]


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """What is there after the block was there before, or goes soon."""
    before = state()
    yield
    left = {name: found - before[name] for name, found in state().items()}
    deadline = time.monotonic() + _PATIENCE
    while any(left.values()) and time.monotonic() < deadline:
        time.sleep(0.1)
        now = state()
        left = {name: found & now[name] for name, found in left.items()}
    remains = {name: sorted(found, key=str) for name, found in left.items() if found}
    assert not remains, f"left behind: {remains}"
