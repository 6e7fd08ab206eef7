"""A BPF object with buffers of every kind, and its maps as classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import lskel
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.objects import Fd
from lskel.runtime.values import Struct, layout, text, u32, u64
from lskel.skeleton.dynamic import DynamicCollection
from tests.build.clang import compile_bpf
from tests.runtime.programs import run_program

SOURCE = """
struct event { __u64 number; __u32 cpu; char name[8]; };
struct order { __u32 what, how; __u64 number; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } other SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __type(key, int); __type(value, int); }
    perf SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_USER_RINGBUF); __uint(max_entries, 4096); } user SEC(".maps");

static void fill(struct event *event, __u64 number)
{
    event->number = number;
    event->cpu = bpf_get_smp_processor_id();
    __builtin_memcpy(event->name, "abcdefg", 8);
}
SEC("raw_tp") int to_ring(__u64 *ctx)
{
    struct event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);
    if (!event)
        return 1;
    fill(event, ctx[0]);
    bpf_ringbuf_submit(event, 0);
    return 0;
}
SEC("raw_tp") int discard(__u64 *ctx)
{
    struct event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);
    if (!event)
        return 1;
    bpf_ringbuf_discard(event, 0);
    return 0;
}
SEC("raw_tp") int short_to_ring(__u64 *ctx)
{
    __u32 number = ctx[0];
    return bpf_ringbuf_output(&ring, &number, sizeof(number), 0);
}
SEC("raw_tp") int to_other(__u64 *ctx)
{
    __u64 number = ctx[0];
    return bpf_ringbuf_output(&other, &number, sizeof(number), 0);
}
SEC("raw_tp") int to_perf(__u64 *ctx)
{
    struct event event = {};
    fill(&event, ctx[0]);
    return bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &event, sizeof(event));
}
static long take(struct bpf_dynptr *dynptr, void *context)
{
    struct order order;
    if (!bpf_dynptr_read(&order, sizeof(order), dynptr, 0, 0))
        bpf_ringbuf_output(&ring, &order, sizeof(order), 0);
    return 0;
}
SEC("tc") int drain(struct __sk_buff *skb)
{
    return bpf_user_ringbuf_drain(&user, take, 0, 0);
}
"""


@layout(24, ("number", u64, 0), ("cpu", u32, 8), ("name", text(8), 12))
class Event(Struct):
    number: int
    cpu: int
    name: bytes


@layout(16, ("what", u32, 0), ("how", u32, 4), ("number", u64, 8))
class Order(Struct):
    what: int
    how: int
    number: int


M = TypeVar("M", bound=Map)


class Buffers:
    """The object, loaded."""

    def __init__(self, bpf: DynamicCollection, cleanup: ExitStack) -> None:
        self._bpf = bpf
        self._cleanup = cleanup

    def map(self, name: str, cls: type[M], event: type | None = None) -> M:
        """One of its maps, closed with the others."""
        loaded = self._bpf.maps[name]
        info = loaded.info()
        sizes = (info.key_size, info.value_size, info.max_entries)
        made = cls(MapDefinition(name, info.type, *sizes), event)  # type: ignore[call-arg]
        made.bind(Fd(os.dup(loaded.fileno())))
        self._cleanup.callback(made.close)
        return made

    def run(self, program: str, *numbers: int, cpu: int | None = None) -> list[int]:
        """Run a raw_tp program with each number; what it returned."""
        prog = self._bpf.progs[program]
        return [run_program(prog, n.to_bytes(8, "little"), cpu=cpu) for n in numbers]

    def drain(self) -> int:
        """Have a program drain the user ring buffer into `ring`; how many records it took."""
        return run_program(self._bpf.progs["drain"], packet=bytes(64))


@contextmanager
def buffers() -> Iterator[Buffers]:
    """The object, loaded anew."""
    with lskel.load(compile_bpf(SOURCE), name="buffers") as bpf, ExitStack() as cleanup:
        yield Buffers(bpf, cleanup)
