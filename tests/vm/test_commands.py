"""Streams of programs, struct_ops of programs, the kernel's text about maps, and BPF tokens."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from tests import bpftool
from tests.build.clang import EXAMPLES, compile_bpf, example
from tests.vm import commands
from tests.vm.job import Job
from tests.vm.kernels import SERIES
from tests.vm.machine import Machine
from tests.vm.test_features import save

# The kfunc had another name at first, and took the program's data as an argument.
STREAMS = """
extern int bpf_stream_vprintk_impl(int, const char *, const void *, __u32, void *) __ksym __weak;
extern int bpf_stream_vprintk(int, const char *, const void *, __u32) __ksym __weak;
static const char out[] = "run %d of %s\\n", err[] = "one\\n%s";
int runs;
static int talk_to(int stream, const char *format, const void *args, __u32 size)
{
    if (bpf_stream_vprintk_impl)
        return bpf_stream_vprintk_impl(stream, format, args, size, 0);
    return bpf_stream_vprintk ? bpf_stream_vprintk(stream, format, args, size) : -1;
}
SEC("syscall") int talk(void *ctx)
{
    unsigned long long args[] = { ++runs, (unsigned long)"gr\\xc3\\xb6\\xc3\\x9f" "e" };
    unsigned long long two[] = { (unsigned long)"two" };
    talk_to(2, err, two, sizeof(two));
    return talk_to(1, out, args, sizeof(args));
}
SEC("raw_tp/sys_enter") int seldom(void *ctx)
{
    unsigned long long args[] = { runs, (unsigned long)"\\x1b[31m" };
    if (runs++ == 0)
        talk_to(1, out, args, sizeof(args));
    return 0;
}
"""
ASSOCIATED = """
struct tcp_congestion_ops {
    char name[16];
    unsigned (*undo_cwnd)(void *);
    unsigned (*ssthresh)(void *);
    void (*cong_avoid)(void *, unsigned, unsigned);
};
int n;
SEC("struct_ops") int so_avoid(void *c) { n++; return 0; }
SEC("struct_ops") unsigned so_ssthresh(void *c) { return 2; }
SEC("struct_ops") unsigned so_undo(void *c) { return 10; }
#define CC(NAME) { .name = NAME, .cong_avoid = (void *)so_avoid, \\
    .ssthresh = so_ssthresh, .undo_cwnd = so_undo }
SEC(".struct_ops") struct tcp_congestion_ops one = CC("one"), two = CC("two");
SEC("syscall") int p(void *ctx) { return 0; }
SEC("syscall") int q(void *ctx) { return 0; }
"""
MAP = """
struct {{ __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32);
         __type(value, __u64); {more} }} m SEC(".maps");
SEC("socket") int p(void *ctx) {{ __u32 key = 0; return !!bpf_map_lookup_elem(&m, &key); }}
"""
# Members of a map's definition that no kernel takes, and what 7.3 says (map_create_alloc in
# kernel/bpf/syscall.c).
REFUSED = {
    "node": ("__uint(map_flags, 4); __uint(numa_node, 4000);", "Invalid numa_node."),
    "extra": ("__uint(map_extra, 5);", "Invalid map_extra."),
    "flags": ("__uint(map_flags, 0x40000000);", ""),  # the type's own check, which says nothing
}
LEAST = (
    "cmds=map_create:prog_load:btf_load",
    "maps=array",
    "progs=syscall:raw_tracepoint",
    "attachs=cgroup_inet_ingress",
)
NO_SYSCALL = (*LEAST[:2], "progs=raw_tracepoint", LEAST[3])


def has(machine: Machine, series: str) -> bool:
    """Whether the machine's kernel is of this series or newer."""
    own = ".".join(machine.release.split(".")[:2])
    return SERIES.index(own) >= SERIES.index(series)


def plan(directory: Path) -> Iterator[Job]:
    talking = directory / "talking.bpf.o"
    talking.write_bytes(compile_bpf(STREAMS, "-Wno-unused"))
    bundle = save(lskel.generate(lskel.open_object(talking)), directory, "talking")
    yield Job("streams", commands.streams, {"bundle": bundle, "bpftool": bpftool.command()}, 120)
    words = ["run", bundle, "--duration", "1"]
    yield Job("streams of lskel run", commands.run_shows, {"words": words}, 60)
    yield Job("streams as JSON", commands.run_shows, {"words": [*words, "--json"]}, 60)
    associated = lskel.open_object(compile_bpf(ASSOCIATED), "assoc")
    bundle = save(lskel.generate(associated), directory, "assoc")
    yield Job("associations", commands.associations, {"bundle": bundle}, 60)
    objects = []
    for name, (more, _) in REFUSED.items():
        path = directory / name
        path.write_bytes(compile_bpf(MAP.format(more=more)))
        objects.append(str(path))
    yield Job("refused maps", commands.refused_maps, {"objects": objects}, 60)
    script, load = str(EXAMPLES / "delegate.py"), ["load", str(example("hello"))]
    for name, options, words_of in (
        ("token", LEAST, []),
        ("token without SYSCALL programs", NO_SYSCALL, []),
        ("token and direct calls", NO_SYSCALL, ["--replay", "direct"]),
        ("no token", LEAST, ["--token-path", ""]),
    ):
        given = [word for option in options for word in ("-o", f"delegate_{option}")]
        arguments = {"script": script, "words": [*load, *words_of], "options": given}
        yield Job(name, commands.in_namespace, arguments, 60)


on_machines = pytest.mark.vm(jobs=plan)


@on_machines
def test_streams(machine: Machine) -> None:
    found = machine.value("streams")
    if not has(machine, "6.18"):
        assert found == {"errno": errno.EINVAL, "hint": "streams of programs need Linux 6.17"}
        return
    assert found == {
        "stdout": "run 1 of größe\n",
        "stderr": ["one\n", "two"],
        "again": "",
        "bpftool": "run 2 of größe\nrun 3 of größe\n",
        "after it": "",
    }


@on_machines
def test_streams_of_lskel_run(machine: Machine) -> None:
    """What programs print is not for the terminal to obey."""
    text, lines = machine.value("streams of lskel run"), machine.value("streams as JSON")
    printed = "seldom stdout: run 0 of \\x1b[31m\n"
    assert (printed in text) is has(machine, "6.18")
    assert "\x1b" not in text
    assert ('"printed": {"program": "seldom", "stream": "stdout"' in lines) is has(machine, "6.18")


@on_machines
def test_associations(machine: Machine) -> None:
    found = machine.value("associations")
    if has(machine, "7.3"):
        assert found["errnos"] == [0, 0, errno.EBUSY, errno.EINVAL, errno.EINVAL]
    else:
        assert found["errnos"] == [errno.EINVAL] * 5
    assert found["kept"] is has(machine, "7.3")
    assert found["other gone"] and found["gone"]


@on_machines
@pytest.mark.parametrize("how", ["table", "unrolled", "direct"])
@pytest.mark.parametrize("name", REFUSED)
def test_text_about_maps(machine: Machine, name: str, how: str) -> None:
    *log, why = machine.value("refused maps")[f"{name} {how}"]
    text = REFUSED[name][1] if has(machine, "7.3") else ""
    assert log == ([text] if text else [])
    assert why == "EINVAL: Invalid argument" + (f": {text}" if text else "")


@on_machines
def test_tokens(machine: Machine) -> None:
    status, out, err = machine.value("token")
    if not has(machine, "6.12"):
        assert "fsconfig" in err  # the options are unknown
        return
    assert (status, "program  hello" in out) == (0, True), err
    status, _, err = machine.value("token without SYSCALL programs")
    assert status == 1 and "lacks delegate_progs=syscall, which loader programs need" in err
    status, _, err = machine.value("token and direct calls")
    assert status == 0, err
    status, _, err = machine.value("no token")
    assert status == 1 and "only with a BPF token (Linux 6.9)" in err
