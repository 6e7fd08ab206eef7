"""Attaching, events and contents of a loaded object."""

from __future__ import annotations

import os
import time

import pytest

import lskel
from lskel.errors import LskelError, NotFound, UsageError
from lskel.live.attach import attach_all
from lskel.live.contents import contents
from lskel.live.events import Events
from lskel.replay import kernel
from lskel.replay.options import Options
from tests.build.clang import compile_bpf, example

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
"""


def test_attach_events_contents() -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(SOURCE), name="att"))
    wanted = os.getpid().to_bytes(4, "little")
    options = Options(initial={"att.rodata": wanted})
    with kernel.run(loader, options) as loaded, Events(loaded) as events:
        with attach_all(loaded) as links:
            assert [(a.program, a.target) for a in links.attached] == [
                ("on_syscall", "raw_tp/sys_enter")
            ]
            assert [(s.program, s.reason.split(":")[0]) for s in links.skipped] == [
                ("asleep", "not loaded"),
                ("classify", "programs of type sched_cls do not attach by themselves"),
                ("pass", "needs an interface"),
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
        with pytest.raises(UsageError, match="raw_tracepoint is not attached to an interface"):
            attach_all(loaded, {"hello": "lo"})
        with pytest.raises(NotFound, match="no ring buffer 'hello'"):
            Events(loaded, {"hello": "event"})


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
