"""What an Object says, compared with readelf, and with the same source for the other byte order."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import lskel
from lskel.bpf.enums import MapType, ProgType
from lskel.object.model import CallRef, FuncRef, MapKind, Pinning
from tests.build import elf
from tests.build.clang import EXAMPLES, compile_bpf, example

MAPS = """
struct value { int a; long b; };
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 77);
    __type(key, int);
    __type(value, struct value);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} typed SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 3);
    __uint(key_size, 4);
    __uint(value_size, 24);
    __uint(numa_node, 1);
} sized SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2);
               __type(key, int); __type(value, long); };
struct inner in1 SEC(".maps"), in2 SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 4);
    __type(key, int);
    __array(values, struct inner);
} outer SEC(".maps") = { .values = { [1] = &in1, [3] = &in2 } };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 5000); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_BLOOM_FILTER); __uint(max_entries, 9);
         __type(value, int); __uint(map_extra, 5); } bloom SEC(".maps");

const volatile int limit = 42;
int counter = 7;
int zeros[10];
int other SEC(".data.custom") = 1;

static __attribute__((noinline)) int each(void *map, const void *key, void *value, void *ctx)
{ return *(int *)value > limit; }
__attribute__((noinline)) int helper(int x) { counter += x; return other + zeros[x & 7]; }

SEC("tc") int first(struct __sk_buff *skb)
{ bpf_for_each_map_elem(&typed, each, 0, 0); return helper(skb->len); }
SEC("tc") int second(struct __sk_buff *skb) { return helper(2); }
SEC("?raw_tp/sys_enter") int asleep(void *ctx)
{ int k = 1; return bpf_map_lookup_elem(&sized, &k) != 0; }
"""


@pytest.fixture(scope="module")
def obj() -> lskel.Object:
    return lskel.open_object(compile_bpf(MAPS), name="maps_example")


def test_maps(obj: lskel.Object) -> None:
    assert {(m.name, m.kind) for m in obj.maps if m.is_global_data} == {
        ("maps_exa.rodata", MapKind.RODATA),
        ("maps_exa.data", MapKind.DATA),
        ("maps_exa.bss", MapKind.BSS),
        (".data.custom", MapKind.DATA),
    }
    typed = obj.map("typed")
    assert (typed.type, typed.key_size, typed.value_size) == (MapType.HASH, 4, 16)
    assert (typed.max_entries, typed.flags, typed.pinning) == (77, 1, Pinning.BY_NAME)
    assert typed.key_type and typed.value_type
    sized = obj.map("sized")
    assert (sized.key_size, sized.value_size, sized.key_type, sized.numa_node) == (4, 24, 0, 1)
    outer = obj.map("outer")
    assert outer.inner is not None and outer.inner.name == "outer.inner"
    assert [(slot.key, slot.name) for slot in outer.slots] == [(1, "in1"), (3, "in2")]
    assert obj.map("ring").max_entries == 8192
    assert obj.map("bloom").map_extra == 5
    rodata = obj.map("maps_exa.rodata")
    assert rodata.initial == (42).to_bytes(4, "little") and rodata.is_frozen
    assert obj.map("maps_exa.bss").value_size == 40


def test_programs(obj: lskel.Object) -> None:
    assert [(p.name, p.spec.prog_type, p.autoload) for p in obj.programs] == [
        ("first", ProgType.SCHED_CLS, True),
        ("second", ProgType.SCHED_CLS, True),
        ("asleep", ProgType.RAW_TRACEPOINT, False),
    ]
    starts = {f.name: f.start for f in obj.subprograms}
    assert set(starts) == {"each", "helper"}
    refs = obj.program("first").function.relocations
    assert [r.target for r in refs if isinstance(r, CallRef)] == [starts["helper"]]
    assert [r.target for r in refs if isinstance(r, FuncRef)] == [starts["each"]]


def test_both_byte_orders_say_the_same(obj: lskel.Object) -> None:
    big = lskel.open_object(compile_bpf(MAPS, big_endian=True), name="maps_example")
    assert big.order == "big"

    def shape(o: lskel.Object) -> object:
        maps = [(m.name, m.type, m.key_size, m.value_size, m.max_entries, m.slots) for m in o.maps]
        functions = [*(p.function for p in o.programs), *o.subprograms]
        return maps, [(f.name, len(f.code), f.relocations) for f in functions]

    assert shape(big) == shape(obj)
    little, swapped = lskel.generate(obj), lskel.generate(big)
    assert len(little.insns) == len(swapped.insns)
    assert len(little.blob) == len(swapped.blob)
    assert [type(op) for op in little.trace.ops] == [type(op) for op in swapped.trace.ops]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.bpf.o")), ids=lambda p: p.name)
def test_functions_and_sections_as_readelf_lists_them(path: Path) -> None:
    listing = subprocess.run(
        ["readelf", "-sSW", str(path)], capture_output=True, text=True, check=True
    ).stdout
    functions = set(re.findall(r"FUNC\s+\w+\s+\w+\s+\d+ (\w+)", listing))
    sizes = dict(re.findall(r"(\d+) FUNC\s+\w+\s+\w+\s+\d+ (\w+)", listing))
    obj = lskel.open_object(path)
    ours = {p.name: p.function for p in obj.programs} | {f.name: f for f in obj.subprograms}
    assert set(ours) == functions
    assert {str(len(f.code)): name for name, f in ours.items()} == sizes
    sections = re.findall(r"\[ *\d+\] (\S+) +[A-Z][\w+]+ +\d{16} \w+ (\w+)", listing)
    assert [(name, int(size, 16)) for name, size in sections] == list(obj.sections)


def test_names() -> None:
    assert lskel.open_object(example("execsnoop")).name == "execsnoop"
    assert lskel.open_object(example("hello").read_bytes()).name == "object"
    assert lskel.open_object(example("hello"), name="x" * 40).name == "x" * 40


def test_changes_are_copies(obj: lskel.Object) -> None:
    changed = obj.with_map("typed", max_entries=5).with_program("asleep", autoload=True)
    assert changed.map("typed").max_entries == 5 and obj.map("typed").max_entries == 77
    assert changed.trace().programs[2].autoload and not obj.trace().programs[2].autoload
    with pytest.raises(lskel.NotFound, match=r"no map 'nope' \(available: in1, in2"):
        obj.with_map("nope", max_entries=1)
    with pytest.raises(lskel.UsageError, match=r"'maps_exa\.bss': expected 40 bytes, got 41"):
        obj.with_map("maps_exa.bss", initial=bytes(41))
    with pytest.raises(lskel.UsageError, match="'typed' is not global data"):
        obj.with_map("typed", initial=b"")


LEGACY = """
struct bpf_map_def { unsigned type, key_size, value_size, max_entries, map_flags; };
struct bpf_map_def counts SEC("maps") = { BPF_MAP_TYPE_HASH, 4, 8, 100, 1 };
struct bpf_map_def array SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, 4, 2, 0 };
SEC("socket") int prog(void *ctx) { int k = 0; return bpf_map_lookup_elem(&array, &k) != 0; }
"""
IPROUTE = """
struct bpf_elf_map { unsigned type, size_key, size_value, max_elem, flags, id, pinning,
                     inner_id, inner_idx; };
struct bpf_elf_map inner SEC("maps") = { .type = BPF_MAP_TYPE_ARRAY, .size_key = 4,
    .size_value = 4, .id = 42, .inner_idx = 1, .max_elem = 1 };
struct bpf_elf_map outer SEC("maps") = { .type = BPF_MAP_TYPE_ARRAY_OF_MAPS, .size_key = 4,
    .size_value = 4, .inner_id = 42, .max_elem = 3 };
SEC("tc") int prog(void *ctx) { int k = 1; return bpf_map_lookup_elem(&outer, &k) != 0; }
"""


def test_legacy_maps() -> None:
    obj = lskel.open_object(compile_bpf(LEGACY))
    assert [
        (m.name, m.type, m.key_size, m.value_size, m.max_entries, m.flags) for m in obj.maps
    ] == [("counts", 1, 4, 8, 100, 1), ("array", 2, 4, 4, 2, 0)]
    outer = lskel.open_object(compile_bpf(IPROUTE)).map("outer")
    assert outer.inner is not None
    assert [(slot.key, slot.name) for slot in outer.slots] == [(1, "inner")]


WRONG = {
    "unknown field": (
        'struct { __uint(type, 1); __uint(colour, 3); } m SEC(".maps");',
        r"section \.maps: map 'm': field 'colour': unknown field 1 \(known: type",
    ),
    "no type": (
        'struct { __uint(max_entries, 1); } m SEC(".maps");',
        r"section \.maps: map 'm': its type is missing",
    ),
    "static map": (
        'static struct { __uint(type, 1); } m SEC(".maps") __attribute__((used));'
        "void *p(void) { return &m; }",
        r"section \.maps: map 'm': the variable is not global \(is it declared `static`\?\)",
    ),
    "conflicting sizes": (
        'struct { __uint(type, 1); __uint(key_size, 8); __type(key, int); } m SEC(".maps");',
        r"map 'm': field 'key': conflicting key_size: 8 and 4",
    ),
    "void value": (
        'struct { __uint(type, 1); __type(value, void); } m SEC(".maps");',
        r"map 'm': field 'value': BTF: type \[0\]: .* has no size",
    ),
    "pinning": (
        'struct { __uint(type, 1); __uint(pinning, 7); } m SEC(".maps");',
        r"field 'pinning': expected LIBBPF_PIN_NONE or LIBBPF_PIN_BY_NAME, got 7",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_sources(case: str) -> None:
    source, message = WRONG[case]
    with pytest.raises(lskel.LskelError, match=message):
        lskel.open_object(compile_bpf(source))


def test_wrong_files(tmp_path: Path) -> None:
    hello = example("hello").read_bytes()
    for data, message in (
        (b"", "not an ELF file"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"\x7fELF\x01\x01" + bytes(60), "not an ELF64 file"),
        (hello[:40], "the ELF header: .* is outside the file"),
        (hello[:2000], "truncated file"),
        (hello.replace(b"\xf7\x00", b"\x3e\x00", 1), "expected ELF machine BPF"),
    ):
        path = tmp_path / "x.o"
        path.write_bytes(data)
        with pytest.raises(lskel.BadObject, match=message) as caught:
            lskel.open_object(path)
        assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(lskel.UsageError, match="No such file"):
        lskel.open_object(tmp_path / "nothing.o")
    with pytest.raises(lskel.UsageError, match="expected a file, got a directory"):
        lskel.open_object(tmp_path)


def test_a_program_without_btf_is_enough() -> None:
    obj = lskel.open_object(bytes(elf.one_program()))
    assert obj.btf is None and len(obj.programs) == 1
    assert lskel.generate(obj).trace.btf is None


def test_long_section_names_do_not_clash() -> None:
    """The kernel's names of both maps are cut to the same 15 characters."""
    source = """
    int a SEC(".data.long_section_a") = 1;
    int b SEC(".data.long_section_b") = 2;
    SEC("socket") int p(void *ctx) { return a + b; }
    """
    obj = lskel.open_object(compile_bpf(source))
    assert [m.name for m in obj.maps] == [".data.long_section_a", ".data.long_section_b"]
    trace = lskel.generate(obj).trace
    assert len({made.op for made in trace.maps}) == 2


def test_numbers_as_enumerators() -> None:
    """Newer headers write __ulong(map_extra, n) as an enum with one enumerator."""
    source = """
    struct { __uint(type, BPF_MAP_TYPE_BLOOM_FILTER); __uint(max_entries, 1); __type(value, int);
             enum { __unique_value = 3 } map_extra; } bloom SEC(".maps");
    struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __uint(key_size, 4);
             __uint(value_size, 4); enum { __huge = 1ULL << 44 } map_extra; } a SEC(".maps");
    """
    obj = lskel.open_object(compile_bpf(source))
    assert (obj.map("bloom").map_extra, obj.map("a").map_extra) == (3, 1 << 44)


def test_legacy_map_in_map_without_template() -> None:
    source = """
    struct bpf_map_def { unsigned type, key_size, value_size, max_entries, map_flags; };
    struct bpf_map_def first SEC("maps") = { BPF_MAP_TYPE_HASH, 4, 8, 100, 0 };
    struct bpf_map_def outer SEC("maps") = { BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0 };
    """
    assert lskel.open_object(compile_bpf(source)).map("outer").inner is None


def test_overlapping_strings_do_not_fill_memory() -> None:
    """Many symbols, each with another suffix of one long name."""
    long = "a" * 4000
    start = elf.one_program().adding(symbols=[elf.Symbol(long)])
    symbols = [elf.Symbol(long, fields={"st_name": 100 + n}) for n in range(2000)]
    with pytest.raises(lskel.BadObject, match="too many overlapping strings"):
        lskel.open_object(bytes(start.adding(symbols=symbols)))


ALIASES = """
int hits = 40;
__attribute__((noinline)) int add(int x) { return hits += x; }
int plus(int x) __attribute__((alias("add")));
SEC("socket") int first(struct __sk_buff *skb) { return add(1); }
int second(struct __sk_buff *skb) __attribute__((alias("first")));
int third(struct __sk_buff *skb) __attribute__((alias("first")));
SEC("socket") int other(struct __sk_buff *skb) { return add(2) + hits; }
"""


def test_aliases() -> None:
    """Each name is a function of its own, with all that the code has."""
    obj = lskel.open_object(compile_bpf(ALIASES))
    first, second, third, other = obj.programs
    assert [p.name for p in obj.programs] == ["first", "second", "third", "other"]
    assert [f.name for f in obj.subprograms] == ["add", "plus"]
    assert first.function == replace(second.function, name="first")
    assert first.function == replace(third.function, name="first")
    assert first.function.relocations and other.function.start > first.function.start
    loads = [lskel.generate(obj).trace.prog_load(slot) for slot in range(4)]
    assert len({load and load.insns for load in loads}) == 2


def test_functions_that_overlap() -> None:
    """`prog` has two instructions; one name for a part of them is not an alias."""
    start = elf.one_program("xdp")
    shorter = elf.Symbol("shorter", "xdp", 0, 8, type=elf.SymbolType.FUNC)
    for symbol in (shorter, replace(shorter, value=8)):
        with pytest.raises(lskel.BadObject, match="overlap at offset"):
            lskel.open_object(bytes(start.adding(symbols=[symbol])))


@pytest.mark.kernel
def test_aliases_run() -> None:
    with lskel.load(compile_bpf(ALIASES)) as bpf:
        results = [bpf.progs[name].run(bytes(14)).value for name in ("first", "second")]
        assert results == [41, 42]
        assert bpf.progs["other"].run(bytes(14)).value == 44 + 44
