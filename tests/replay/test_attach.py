"""Attaching, events and contents of a loaded object."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest

import lskel
from lskel.errors import LskelError, NotFound, UsageError
from lskel.live.attach import attach_all
from lskel.live.contents import contents
from lskel.live.events import Buffers, Events
from lskel.replay import kernel
from lskel.replay.loaded import Loaded
from lskel.replay.options import Options
from lskel.runtime.elements import lookup
from lskel.runtime.objects import map_info
from tests.attach.cases.userspace import PYTHON
from tests.attach.exercise import bundle
from tests.attach.scenes import datagram
from tests.build.clang import compile_bpf, example
from tests.runtime.namespaces import cgroup, in_child, network_namespace

pytestmark = pytest.mark.kernel

SOURCE = """
struct sample { unsigned pid; char comm[16]; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } samples SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } raw SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_HASH); __uint(max_entries, 8);
         __type(key, unsigned); __type(value, struct sample); } seen SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(max_entries, 8); __type(value, int); }
    queue SEC(".maps");
const volatile unsigned wanted;
SEC("raw_tp/sys_enter") int on_syscall(void *ctx)
{
    struct sample s = { .pid = bpf_get_current_pid_tgid() >> 32 };
    unsigned long tag = 0x1122334455667788;
    if (s.pid != wanted)
        return 0;
    bpf_get_current_comm(s.comm, sizeof(s.comm));
    bpf_ringbuf_output(&samples, &s, sizeof(s), 0);
    bpf_ringbuf_output(&raw, &tag, 5, 0);
    bpf_map_update_elem(&seen, &s.pid, &s, 0);
    return 0;
}
SEC("?tc") int asleep(struct __sk_buff *skb) { return 0; }
SEC("tc") int classify(struct __sk_buff *skb) { return 0; }
SEC("xdp") int pass(struct xdp_md *ctx) { return XDP_PASS; }
SEC("socket") int filter(struct __sk_buff *skb) { return 0; }
"""


def test_attach_events_contents() -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(SOURCE), name="att"))
    wanted = os.getpid().to_bytes(4, "little")
    options = Options(initial={"att.rodata": wanted})
    with (
        kernel.run(loader, options) as loaded,
        Buffers(loaded) as buffers,
        Events(buffers) as events,
    ):
        with attach_all(loaded) as links:
            assert [(a.program, a.target) for a in links.attached] == [
                ("on_syscall", "raw_tp/sys_enter")
            ]
            assert [(s.program, s.reason.split(":")[0]) for s in links.skipped] == [
                ("asleep", "not loaded"),
                ("classify", "needs an interface"),
                ("pass", "needs an interface"),
                ("filter", "programs of type socket_filter do not attach by themselves"),
            ]
            os.getppid()
            found = list(events.until(time.monotonic() + 0.2))
        values = [event.value for event in found if event.map == "samples"]
        assert values and all(
            isinstance(v, dict) and v["pid"] == os.getpid() and v["comm"] for v in values
        )
        raws = [event for event in found if event.map == "raw"]
        assert raws and raws[0].value is None and raws[0].raw == bytes.fromhex("8877665544")
        time.sleep(0)
        list(events.available())
        os.getppid()
        assert list(events.available()) == []  # detached
        shown = {item.map: item for item in contents(loaded, 10)}
        assert "queue" not in shown
        (entry,) = shown["seen"].entries
        assert entry.key == os.getpid() and isinstance(entry.value, list)
        assert any(isinstance(v, dict) and v["pid"] == os.getpid() for v in entry.value)


def test_wrong_wishes() -> None:
    with kernel.run(lskel.generate(lskel.open_object(example("hello")))) as loaded:
        with pytest.raises(NotFound, match="no program 'nope'"):
            attach_all(loaded, {"nope": "lo"})
        with pytest.raises(NotFound, match="program 'hello': the kernel has no raw tracepoint lo"):
            attach_all(loaded, {"hello": "lo"})
        with pytest.raises(NotFound, match="no ring or perf buffer 'hello'"):
            Buffers(loaded, {"hello": "event"})


def test_all_or_nothing() -> None:
    source = (
        'SEC("raw_tp/sys_enter") int fine(void *c) { return 0; }'
        'SEC("raw_tp/no_such_thing") int bad(void *c) { return 0; }'
    )
    loader = lskel.generate(lskel.open_object(compile_bpf(source)))
    with (
        kernel.run(loader) as loaded,
        pytest.raises(LskelError, match=r"program 'bad': .*no raw tracepoint no_such_thing"),
    ):
        attach_all(loaded)


PLACES = """
int hits;
#define COUNTS(section, name, type, result) \
    SEC(section) int name(type *ctx) { __sync_fetch_and_add(&hits, 1); return result; }
COUNTS("?xdp", on_xdp, struct xdp_md, XDP_PASS)
COUNTS("?tcx/ingress", on_tc, struct __sk_buff, -1)
COUNTS("?cgroup_skb/egress", on_cgroup, struct __sk_buff, 1)
COUNTS("?sk_lookup", on_lookup, struct bpf_sk_lookup, SK_PASS)
COUNTS("?raw_tp", on_raw_tracepoint, void, 0)
COUNTS("?uprobe", on_uprobe, void, 0)
COUNTS("?socket", on_socket, struct __sk_buff, 0)
"""


def getsid() -> None:
    os.getsid(0)


def hits(loaded: Loaded) -> int:
    (data,) = (item.fd for name, item in loaded.maps.items() if name.endswith(".bss"))
    value = lookup(data.fileno(), bytes(4), map_info(data.fileno()).value_size)
    assert value is not None
    return int.from_bytes(value, sys.byteorder)


@pytest.mark.parametrize(
    ("program", "place", "event"),
    [
        ("on_xdp", "lo", datagram),
        ("on_tc", "lo", datagram),
        ("on_cgroup", "CGROUP", datagram),
        ("on_lookup", "/proc/thread-self/ns/net", datagram),
        ("on_raw_tracepoint", "sys_enter", getsid),
        ("on_uprobe", "libc.so.6:getsid", getsid),
    ],
)
def test_places(program: str, place: str, event: Callable[[], object]) -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(PLACES), name="places"))
    options = Options(autoload={program: True})
    with network_namespace(), cgroup() as group, kernel.run(loader, options) as loaded:
        place = place.replace("CGROUP", str(group))
        with attach_all(loaded, {program: place}) as links:
            (item,) = links.attached
            assert (item.program, item.target.split(" on ")[1]) == (program, place)
            in_child(group, event)
            assert hits(loaded) > 0
        before = hits(loaded)
        in_child(group, event)
        assert hits(loaded) == before


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is for x86-64")
def test_usdt_fills_the_maps_of_its_object(tmp_path: Path) -> None:
    loader = lskel.Loader.load(bundle("userspace_usdt", tmp_path))
    with kernel.run(loader, Options(autoload={"on_usdt": True})) as loaded:
        with attach_all(loaded, {"on_usdt": f"{PYTHON}:python:gc__start"}) as links:
            assert [item.program for item in links.attached] == ["on_usdt"]
            _collect()
            assert hits(loaded) > 0
        before = hits(loaded)
        _collect()
        assert hits(loaded) == before


def _collect() -> None:
    run([PYTHON, "-I", "-c", "import gc; gc.collect(1)"], check=True)


def test_kinds_that_no_name_is_enough_for() -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(PLACES), name="places"))
    with (
        kernel.run(loader, Options(autoload={"on_socket": True})) as loaded,
        pytest.raises(UsageError, match="type socket_filter attaches to nothing that has a name"),
    ):
        attach_all(loaded, {"on_socket": "lo"})
