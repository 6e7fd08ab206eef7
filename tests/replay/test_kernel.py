"""Replay in the kernel and directly: overrides, failures, file descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

import lskel
from lskel.errors import ReplayError, UsageError
from lskel.loader.model import Loader
from lskel.replay.options import Options
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.one_element import lookup, update
from lskel.runtime.syscall import BpfError
from lskel.skeleton.dynamic import DynamicCollection
from lskel.trace import ProgLoad
from tests.build.clang import compile_bpf, example
from tests.loads import Load, both, load_by_loader, load_directly

pytestmark = pytest.mark.kernel

SOURCE = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 10);
         __type(key, int); __type(value, long); } table SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4);
         __uint(value_size, 4); } perf SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2);
               __type(key, int); __type(value, long); };
struct inner in1 SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, int);
         __array(values, struct inner); } outer SEC(".maps") = { .values = { [2] = &in1 } };
const volatile int limit = 42;
int counter = 7;
long zeros[3];
SEC("socket") int prog(struct __sk_buff *skb)
{ int k = limit; counter += zeros[1]; return bpf_map_lookup_elem(&table, &k) != 0; }
"""


def loader_of(source: str, name: str = "test") -> Loader:
    return lskel.generate(lskel.open_object(compile_bpf(source), name=name))


def first(bpf: DynamicCollection, name: str) -> bytes | None:
    info = bpf.maps[name].info()
    return lookup(bpf.maps[name].fileno(), bytes(4), info.value_size)


@both
def test_values(load: Load) -> None:
    with load(loader_of(SOURCE)) as bpf:
        assert first(bpf, "test.rodata") == (42).to_bytes(4, "little")
        assert first(bpf, "test.data") == (7).to_bytes(4, "little")
        assert first(bpf, "test.bss") == bytes(24)
        assert bpf.maps["perf"].info().max_entries == len(possible_cpus())
        outer = bpf.maps["outer"].fileno()
        inner_id = lookup(outer, (2).to_bytes(4, "little"), 4)
        assert inner_id == bpf.maps["in1"].info().id.to_bytes(4, "little")
        with pytest.raises(BpfError, match="EPERM"):  # frozen
            update(bpf.maps["test.rodata"].fileno(), bytes(4), bytes(4))


@both
def test_overrides(load: Load) -> None:
    loader = loader_of(SOURCE)
    options = Options(
        max_entries={"table": 1234},
        initial={"test.rodata": b"abcd", "test.bss": bytes(range(24))},
    )
    with load(loader, options) as bpf:
        assert bpf.maps["table"].info().max_entries == 1234
        assert first(bpf, "test.rodata") == b"abcd"
        assert first(bpf, "test.data") == (7).to_bytes(4, "little")
        assert first(bpf, "test.bss") == bytes(range(24))
    # A loader is not used up: the next run has its own data again.
    with load(loader) as bpf:
        assert bpf.maps["table"].info().max_entries == 10
        assert first(bpf, "test.bss") == bytes(24)


@both
def test_wrong_overrides(load: Load) -> None:
    loader = loader_of(SOURCE)
    for options, message in (
        (Options(max_entries={"nope": 1}), "no map 'nope'"),
        (Options(initial={"nope": b""}), "no map 'nope'"),
        (Options(initial={"table": b""}), "'table' is not global data"),
        (Options(initial={"test.bss": b"x"}), "'test.bss': expected 24 bytes, got 1"),
        (Options(autoload={"nope": False}), "no program 'nope'"),
        (Options(targets={"nope": "f"}), "no program 'nope'"),
        (Options(kconfig={"CONFIG_HZ": "1"}), "uses no kconfig values"),
    ):
        with pytest.raises(UsageError, match=message):
            load(loader, options)


REJECTED = {
    "program": (
        'SEC("socket") int fine(void *c) { return 0; }'
        'SEC("socket") int bad(struct __sk_buff *s) { return *(int *)(long)s->len; }',
        r"BPF_PROG_LOAD of program 'bad': EACCES: .*: R1 invalid mem access 'scalar'",
    ),
    "map": (
        "struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(key_size, 4); __uint(value_size, 4);"
        ' __uint(max_entries, 1); __uint(map_flags, 1 << 30); } empty SEC(".maps");'
        ' SEC("socket") int p(void *c)'
        "{ int k = 0; return bpf_map_lookup_elem(&empty, &k) != 0; }",
        r"BPF_MAP_CREATE of map 'empty': EINVAL: .*rejects the map's type, flags, sizes",
    ),
    "target": (
        'SEC("tp_btf/no_such_tracepoint") int p(void *c) { return 0; }',
        r"looking up typedef 'btf_trace_no_such_tracepoint' in the kernel's BTF "
        r"for program 'p': ENOENT: .*\(neither this kernel nor its loaded modules have it\)",
    ),
    "template": (
        "struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 1);"
        ' __uint(key_size, 4); __uint(value_size, 4); } outer SEC(".maps");'
        'SEC("socket") int p(void *c) { int k = 0; return bpf_map_lookup_elem(&outer, &k) != 0; }',
        r"BPF_MAP_CREATE of map of maps 'outer': E\w+: .*its inner map is not defined",
    ),
}


@both
@pytest.mark.parametrize("case", REJECTED)
def test_rejections_are_explained(load: Load, case: str) -> None:
    source, message = REJECTED[case]
    with pytest.raises(ReplayError, match=message) as caught:
        load(loader_of(source))
    assert caught.value.errno > 0 and caught.value.op is not None
    assert f"{caught.value.label}: {caught.value.why}" == caught.value.what
    if case == "program":
        assert any("invalid mem access" in line for line in caught.value.log)


def test_low_fds_closed() -> None:
    """A process without standard streams loads as well: no fd that is made is 0."""
    script = (
        "import os, sys, lskel\n"
        "bpf = lskel.load(sys.argv[1])\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "with bpf.load():\n"
        "    fds = [made.fileno() for made in (*bpf.maps, *bpf.progs)]\n"
        "    ok = all(fd > 2 for fd in fds) and len(set(fds)) == len(fds) == 4\n"
        "os._exit(0 if ok else 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(example("syscount"))], check=False)
    assert done.returncode == 0


def test_other_byte_order() -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(SOURCE, big_endian=True)))
    for load in (load_by_loader, load_directly):
        with pytest.raises(UsageError, match="for big-endian machines, this one is little-endian"):
            load(loader)


def test_same_ids_as_bpftool_sees() -> None:
    with load_by_loader(loader_of(SOURCE)) as bpf:
        program = bpf.progs["prog"].info()
        listing = subprocess.run(
            ["bpftool", "prog", "show", "id", str(program.id)],
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"name prog  tag {program.tag}" in listing


@both
def test_sizes_that_no_map_can_have(load: Load) -> None:
    for entries in (-1, 0, 1 << 32):
        with pytest.raises(UsageError, match=f"map 'table' cannot have {entries} entries"):
            load(loader_of(SOURCE), Options(max_entries={"table": entries}))


@both
def test_rings_are_rounded_for_this_machine(load: Load) -> None:
    source = (
        "struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); }"
        ' ring SEC(".maps"); SEC("socket") int p(void *c)'
        "{ return bpf_ringbuf_query(&ring, 0); }"
    )
    with load(loader_of(source), Options(max_entries={"ring": 5000})) as bpf:
        assert bpf.maps["ring"].info().max_entries == 8192


@both
def test_log_of_another_operation_is_not_shown(load: Load) -> None:
    """A program that is refused before the verifier runs has no log, whatever BTF's says."""
    loader = loader_of(SOURCE)
    ops = tuple(
        replace(op, flags=1 << 30) if isinstance(op, ProgLoad) else op for op in loader.trace.ops
    )
    with pytest.raises(ReplayError) as caught:
        load(lskel.generate(replace(loader.trace, ops=ops)))
    assert caught.value.log == () and "type_id" not in str(caught.value)


@both
def test_failed_core_relocation_is_named(load: Load) -> None:
    source = """
    struct task_struct { int no_such_field_here; } __attribute__((preserve_access_index));
    SEC("raw_tp/sys_enter") int p(void *ctx)
    {
        struct task_struct *task = (void *)bpf_get_current_task();
        int value;
        bpf_probe_read_kernel(&value, sizeof(value), &task->no_such_field_here);
        return value;
    }
    """
    with pytest.raises(ReplayError, match="a CO-RE relocation failed: this kernel lacks") as caught:
        load(loader_of(source))
    assert caught.value.op is not None
