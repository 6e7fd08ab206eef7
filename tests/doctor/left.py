"""That nothing is left behind: all that a machine shows of BPF, of cgroups and of mounts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from lskel.doctor.places import cgroup_root
from lskel.runtime.objects import Kind, ids
from tests.conftest import open_fds

# The kernel frees what nobody holds any more a while later.
_PATIENCE = 10


def state() -> dict[str, frozenset[object]]:
    """What is there."""
    root = cgroup_root()
    found: dict[str, frozenset[object]] = {kind.name: frozenset(ids(kind)) for kind in Kind}
    found["fds"] = frozenset(open_fds().items())
    found["mounts"] = frozenset(Path("/proc/self/mounts").read_text().splitlines())
    found["interfaces"] = frozenset(path.name for path in Path("/sys/class/net").iterdir())
    found["cgroups"] = frozenset(Path(root).glob("lskel-doctor-*") if root else ())
    control = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    found["congestion control"] = frozenset(control)
    found["pins"] = frozenset(Path("/sys/fs/bpf").glob("lskel_doctor_*"))
    found["children"] = frozenset(
        Path("/proc/thread-self/children").read_text().split()
        if Path("/proc/thread-self/children").exists()
        else ()
    )
    return found


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """What is there after the block was there before."""
    before = state()
    yield
    deadline = time.monotonic() + _PATIENCE
    while (left := _more(before, state())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def _more(
    before: dict[str, frozenset[object]], after: dict[str, frozenset[object]]
) -> dict[str, list[object]]:
    return {
        name: sorted(after[name] - before[name], key=str)
        for name in before
        if after[name] - before[name]
    }
