"""What is said of an object that no kernel takes: by each way to load it, and by `lskel trace`."""

from __future__ import annotations

from pathlib import Path

import pytest

import lskel
from lskel.cli import main
from lskel.errors import BadObject, ReplayError
from lskel.replay.simulator.local import SimulatedMachine
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.loads import Load, both

UNSET = """
struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(key_size, 4); } stacks SEC(".maps");
SEC("tc") int count(void *ctx) { return bpf_get_stackid(ctx, &stacks, 0); }
"""
UNSET_SAYS = (
    "BPF_MAP_CREATE of map 'stacks': EINVAL: Invalid argument (max_entries is 0: "
    "--max-entries stacks=N, or maps['stacks'].max_entries = N before load(); value_size is 0: "
    "__type(value, ...) or __uint(value_size, N) in the map's definition)"
)
RING = """
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096);
         __type(key, int); __type(value, long); } ring SEC(".maps");
SEC("tc") int count(void *ctx) { return bpf_ringbuf_query(&ring, 0); }
"""
KFUNC = """
extern void bpf_nope(void) __ksym __weak;
extern void bpf_neither(void) __ksym __weak;
SEC("tc") int other(void *ctx) { if (bpf_neither) bpf_neither(); return 0; }
SEC("tc") int count(void *ctx) { bpf_nope(); return 0; }
"""
CORE = """
struct task_struct { int pid; int no_such; } __attribute__((preserve_access_index));
struct no_such_type { struct { int inner; } outer; } __attribute__((preserve_access_index));
SEC("raw_tp") int count(void **ctx)
{
    struct task_struct *task = ctx[0];
    struct no_such_type *other = ctx[1];
    int value = 0;
    if (__builtin_preserve_field_info(task->no_such, 2))
        bpf_probe_read_kernel(&value, 4, &task->no_such);
    bpf_probe_read_kernel(&value, 4, &other->outer.inner);
    return value;
}
"""


def enum(name: str, label: str, value: str) -> str:
    """A program that takes an enumerator's value from the kernel."""
    return f"""
    #include <bpf/bpf_core_read.h>
    enum {name} {{ {label} = {value} }};
    long out;
    SEC("tc") int count(void *ctx)
    {{
        out = bpf_core_enum_value(enum {name}, {label});
        return 0;
    }}
    """


def object_file(source: str, directory: Path) -> Path:
    path = directory / "x.bpf.o"
    path.write_bytes(compile_bpf(source))
    return path


def refused(load: Load, source: str) -> ReplayError:
    with pytest.raises(ReplayError) as caught:
        load(lskel.generate(lskel.open_object(compile_bpf(source))))
    return caught.value


@pytest.mark.kernel
@both
def test_sizes(load: Load) -> None:
    assert str(refused(load, UNSET)) == f"object: {UNSET_SAYS}"
    hint = "this map type has none of key_size 4 and value_size 8: leave them, and their types, out"
    assert refused(load, RING).hint == hint
    # What is set is not said; what else is wrong is the kernel's to say.
    sized = UNSET.replace("__uint(key_size, 4);", "__uint(key_size, 4); __uint(max_entries, 9);")
    assert "max_entries" not in refused(load, sized).hint
    odd = sized.replace("__uint(max", "__uint(value_size, 7); __uint(max")
    assert refused(load, odd).hint.startswith("this kernel rejects the map's type, flags, sizes")


def test_sizes_in_the_simulator(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = object_file(UNSET, tmp_path)
    for command in (["trace"], ["load", "--replay", "simulator"]):
        assert main([*command, str(path)]) == 1
        assert capsys.readouterr().err.splitlines() == [f"lskel: {path}: {UNSET_SAYS}"]
    assert main(["trace", str(path), "--max-entries", "stacks=9"]) == 1
    assert "(value_size is 0: " in capsys.readouterr().err
    with pytest.raises(ReplayError, match="max_entries is 0"):
        lskel.load(path, kernel=SimulatedMachine()).load()


def test_trace_says_which_call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = object_file('SEC("tc") int count(void *ctx) { return 0; }', tmp_path)
    assert main(["trace", str(path), "--fail", "1=E2BIG"]) == 1
    said = f"lskel: {path}: BPF_PROG_LOAD of program 'count': E2BIG: Argument list too long"
    assert capsys.readouterr().err.startswith(f"{said} (the program is too large or too complex")


@pytest.mark.kernel
@both
def test_missing_kfunc(load: Load) -> None:
    """That of the program that is refused; the other one is tested before it is called."""
    error = refused(load, KFUNC)
    assert error.what.startswith("BPF_PROG_LOAD of program 'count': EINVAL")
    assert error.hint.startswith("it calls weak kfunc 'bpf_nope', which this kernel lacks")


@pytest.mark.kernel
@both
def test_failed_core_relocation(load: Load) -> None:
    """The one that the verifier came to, not the one that is never reached."""
    error = refused(load, CORE)
    assert error.hint == (
        "a CO-RE relocation failed: this kernel lacks struct no_such_type.outer.inner"
    )


@pytest.mark.kernel
def test_failed_core_relocation_is_explained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["load", str(object_file(CORE, tmp_path))]) == 1
    note = "= note: the relocation asks about struct no_such_type.outer.inner (byte_off)"
    assert note in capsys.readouterr().err


def test_maps_of_other_objects() -> None:
    source = """
    extern struct { __uint(type, BPF_MAP_TYPE_ARRAY); } there SEC(".maps");
    SEC("tc") int count(void *ctx) { int key = 0; return bpf_map_lookup_elem(&there, &key) != 0; }
    """
    here = 'struct { __uint(type, BPF_MAP_TYPE_ARRAY); } here SEC(".maps");'
    for text in (source, here + source):
        says = "extern map 'there' is not in this object .link the object that defines it"
        with pytest.raises(BadObject, match=says):
            lskel.open_object(compile_bpf(text))


@pytest.mark.kernel
@both
def test_an_enum_of_another_size(load: Load, tmp_path: Path, reference: Run, bpffs: Path) -> None:
    """libbpf finds it; for the kernel's CO-RE, values of 64 bits make an enum another kind.

    Two enums, because the kernel remembers what it has found, or not, by the name alone.
    """
    small = enum("perf_callchain_context", "PERF_CONTEXT_HV", "1")
    reference("prog", "load", object_file(small, tmp_path), bpffs / "program")
    says = "this kernel lacks enum perf_callchain_context::PERF_CONTEXT_HV"
    assert says in str(refused(load, small))
    large = enum("ib_uverbs_device_cap_flags", "IB_UVERBS_DEVICE_RAW_SCATTER_FCS", "1ULL << 63")
    with load(lskel.generate(lskel.open_object(compile_bpf(large)))) as bpf:
        bpf.progs["count"].run(data=bytes(64))
        assert bpf.bss.out == 1 << 34  # include/uapi/rdma/ib_user_verbs.h
