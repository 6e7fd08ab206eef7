"""Attaching all of an object, to what is said; events and contents."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest

import lskel
from lskel.cli.contents import contents
from lskel.errors import LskelError, NotFound, UnknownName, UsageError, WrongType
from lskel.replay.attach import Attached, attach_all
from lskel.replay.options import Options
from lskel.runtime.events import Events
from tests.attach.cases.userspace import PYTHON
from tests.attach.exercise import bundle
from tests.attach.scenes import datagram
from tests.build.clang import compile_bpf, example
from tests.loads import load_by_loader
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
    with lskel.load(loader, variables={"rodata.wanted": os.getpid()}) as bpf:
        maps = bpf.maps
        with Events((maps.samples, maps.raw)) as events:
            attached, skipped = attach_all(bpf)
            assert attached == (Attached("on_syscall", "raw_tp/sys_enter"),)
            assert [(item.name, item.reason.split(":")[0]) for item in skipped] == [
                ("asleep", "not loaded"),
                ("classify", "needs an interface"),
                ("pass", "needs an interface"),
                ("filter", "programs of type socket_filter do not auto-attach"),
            ]
            os.getppid()
            found = list(events.events(0.2))
            bpf.detach()
            list(events.consume())
            os.getppid()
            assert list(events.consume()) == []
        values = [event for made, event in found if made is maps.samples]
        assert values and all(v.pid == os.getpid() and v.comm for v in values)
        raws = [event for made, event in found if made is maps.raw]
        assert raws and raws[0] == bytes.fromhex("8877665544")
        shown = {item.map: item for item in contents(bpf, 10)}
        assert "queue" not in shown
        ((key, value),) = shown["seen"].entries
        assert key == os.getpid() and isinstance(value, list)
        assert any(isinstance(v, dict) and v["pid"] == os.getpid() for v in value)
        # On each CPU that it ran on.
        assert {v.pid for v in maps.seen[key] if v.pid} == {key}


def test_wrong_wishes() -> None:
    with lskel.load(example("hello")) as bpf:
        with pytest.raises(NotFound, match="no program 'nope'"):
            attach_all(bpf, {"nope": "lo"})
        with pytest.raises(NotFound, match="program 'hello': the kernel has no raw tracepoint lo"):
            attach_all(bpf, {"hello": "lo"})
        assert not len(bpf.links)
    with pytest.raises(NotFound, match="no ring or perf buffer 'hello'"):
        lskel.load(example("hello"), event_types={"hello": "event"})


def test_all_or_nothing() -> None:
    source = (
        'SEC("raw_tp/sys_enter") int fine(void *c) { return 0; }'
        'SEC("raw_tp/no_such_thing") int bad(void *c) { return 0; }'
    )
    with lskel.load(compile_bpf(source)) as bpf:
        with pytest.raises(LskelError, match=r"program 'bad': .*no raw tracepoint no_such_thing"):
            attach_all(bpf)
        assert not len(bpf.links) and bpf.loaded


def test_closed_links_are_gone() -> None:
    """However they were closed: they are neither counted nor kept."""
    with lskel.load(example("hello")) as bpf:
        links = [bpf.progs.hello.attach() for _ in range(3)]
        assert list(bpf.links) == links and bpf.links.hello is links[2]
        links[2].close()
        assert list(bpf.links) == links[:2] and bpf.links.hello is links[1]
        with links[0]:
            pass
        assert list(bpf.links) == [links[1]] and bpf.links.has("hello")
        links[1].close()
        assert not len(bpf.links) and not bpf.links.has("hello")
        with pytest.raises(UnknownName, match="'hello' is not attached"):
            _ = bpf.links.hello
        for _ in range(1000):
            bpf.progs.hello.attach().close()
        assert not len(bpf.links)
        bpf.attach()
        assert len(bpf.links) == 1


def test_what_was_attached_stays_when_others_fail() -> None:
    source = (
        'SEC("raw_tp/sys_enter") int fine(void *c) { return 0; }'
        'SEC("?raw_tp/no_such_thing") int bad(void *c) { return 0; }'
    )
    with lskel.load(compile_bpf(source), autoload={"bad": True}) as bpf:
        first, second = bpf.progs.fine.attach(), bpf.progs.fine.attach()
        first.close()
        with pytest.raises(LskelError, match="no_such_thing"):
            bpf.attach()
        assert list(bpf.links) == [second]


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


@pytest.mark.parametrize(
    ("program", "place", "event"),
    [
        ("on_xdp", "lo", datagram),
        ("on_tc", "lo", datagram),
        ("on_cgroup", "CGROUP", datagram),
        ("on_lookup", "/proc/thread-self/ns/net", datagram),
        ("on_raw_tracepoint", "sys_enter", getsid),
        ("on_uprobe", "libc.so.6:getsid", getsid),
        ("on_uprobe", "uretprobe/libc.so.6:getsid", getsid),
    ],
)
def test_places(program: str, place: str, event: Callable[[], object]) -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(PLACES), name="places"))
    options = Options(autoload={program: True})
    with network_namespace(), cgroup() as group, load_by_loader(loader, options) as bpf:
        place = place.replace("CGROUP", str(group))
        (item,), _ = attach_all(bpf, {program: place})
        assert (item.name, item.target.split(" on ")[1]) == (
            program,
            place.removeprefix("uretprobe/"),
        )
        in_child(group, event)
        assert bpf.bss.hits > 0
        bpf.detach()
        before = bpf.bss.hits
        in_child(group, event)
        assert bpf.bss.hits == before


@pytest.mark.parametrize("place", ["uretprob/libc.so.6:getsid", "xdp/lo"])
def test_no_kind_of_probe(place: str) -> None:
    source = 'SEC("kprobe/do_nanosleep") int probe(void *context) { return 0; }'
    with lskel.load(lskel.open_object(compile_bpf(source))) as bpf:
        with pytest.raises(
            UsageError, match=f"'{place}' is not a kernel function .*kprobe, uprobe, usdt"
        ):
            attach_all(bpf, {"probe": place})
        with pytest.raises(WrongType, match="program 'probe': expected a section name, got int"):
            bpf.progs.probe.attach_as(3)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is for x86-64")
def test_usdt_fills_the_maps_of_its_object(tmp_path: Path) -> None:
    loader = lskel.Loader.load(bundle("userspace_usdt", tmp_path))
    with load_by_loader(loader, Options(autoload={"on_usdt": True})) as bpf:
        attached, _ = attach_all(bpf, {"on_usdt": f"{PYTHON}:python:gc__start"})
        assert [item.name for item in attached] == ["on_usdt"]
        _collect()
        assert bpf.bss.hits > 0
        bpf.detach()
        before = bpf.bss.hits
        _collect()
        assert bpf.bss.hits == before


def _collect() -> None:
    run([PYTHON, "-I", "-c", "import gc; gc.collect(1)"], check=True)


def test_kinds_that_no_name_is_enough_for() -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(PLACES), name="places"))
    with (
        load_by_loader(loader, Options(autoload={"on_socket": True})) as bpf,
        pytest.raises(UsageError, match="type socket_filter have no named attach target"),
    ):
        attach_all(bpf, {"on_socket": "lo"})
