"""Attaching and closing very often: what is left of it in this process and in the kernel."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lskel.runtime.objects import ObjectKind, ids
from tests.skeleton.modules import Door, compiled, doors

pytestmark = pytest.mark.kernel

SOURCE = """
__u64 runs;
SEC("raw_tp/sys_enter") int call(void *ctx) { runs++; return 0; }
SEC("xdp") int packet(struct xdp_md *ctx) { return XDP_PASS; }
SEC("uprobe/libc.so.6:getppid") int probe(void *ctx) { return 0; }
SEC("perf_event") int tick(void *ctx) { return 0; }
"""
# Where the kernel waits for RCU, as it does when it detaches most kinds, fewer.
ROUNDS = {"raw": 1000, "xdp": 100, "probe": 50, "tick": 1000, "all": 10}
WAYS: dict[str, Callable[[Any], None]] = {
    "raw": lambda bpf: bpf.progs.call.attach().close(),
    "xdp": lambda bpf: bpf.progs.packet.attach("lo", "generic").close(),
    "probe": lambda bpf: bpf.progs.probe.attach().close(),
    # One link for each CPU.
    "tick": lambda bpf: bpf.progs.tick.attach(1, 0, period=1 << 40).close(),
    "all": lambda bpf: (bpf.attach(), bpf.detach())[0],
}
# What Python itself may keep: less than a byte for each round and link.
_KEPT = 4096


def fds() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def links_of(bpf: Any) -> list[int]:
    """The links of its programs that the kernel has."""
    from lskel.runtime.attach.link import BpfLink
    from lskel.runtime.syscall import BpfError

    own = {program.info().id for program in bpf.progs}
    found = []
    for number in ids(ObjectKind.LINK):
        try:
            with BpfLink.open(number) as link:
                if link.info().prog_id in own:
                    found.append(number)
        except BpfError:  # another process has closed it meanwhile
            continue
    return found


@doors
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left(door: Door, way: str) -> None:
    with door(compiled(SOURCE)) as bpf:
        for _ in range(3):
            WAYS[way](bpf)
        gc.collect()
        tracemalloc.start()
        try:
            before = fds(), tracemalloc.get_traced_memory()[0]
            for _ in range(ROUNDS[way]):
                WAYS[way](bpf)
            gc.collect()
            after = fds(), tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert after[0] == before[0]
        assert after[1] - before[1] < _KEPT
        assert len(bpf.links) == 0 and len(bpf.links._links) == 0
        assert links_of(bpf) == []
