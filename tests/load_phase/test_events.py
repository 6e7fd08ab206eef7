"""Which types of events are taken from debug information, and which are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import lskel
from lskel.btf.types import StructType, TypeId
from lskel.elf.object import Elf
from lskel.errors import BadInput, NotFound, UsageError
from lskel.load_phase import headers
from lskel.load_phase.event_search import Untyped, untyped_buffers
from lskel.load_phase.events import remedy, types_of
from lskel.load_phase.sends import sends
from lskel.object.model import Object
from tests.build.clang import compile_bpf

MAPS = """
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __type(key, int); __type(value, int); }
	perf SEC(".maps");
struct opened { __u64 stamp; int pid; char name[20]; };
struct closed { int pid, status; };
struct same { long size; };
"""
# Each is the body of one program.
ON_STACK = """
	struct closed closed = { .pid = 3 };
	struct same *other = ctx;
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &closed, sizeof(closed));
	return other == (void *)3;
"""
RESERVED = """
	struct opened *opened = bpf_ringbuf_reserve(&ring, sizeof(*opened), 0);
	if (!opened)
		return 0;
	opened->pid = 7;
	bpf_ringbuf_submit(opened, 0);
	return 0;
"""
# As many tools do: for kernels with and without ring buffers.
INLINED = """
static __always_inline void *reserve_buf(__u64 size) { return bpf_ringbuf_reserve(&ring, size, 0); }
static __always_inline void fill(struct opened *opened) { opened->pid = 7; }
SEC("raw_tp/sys_enter") int send(void *ctx)
{
	struct opened *opened = reserve_buf(sizeof(*opened));
	if (!opened)
		return 0;
	fill(opened);
	bpf_ringbuf_submit(opened, 0);
	return 0;
}
"""
BRANCHES = """
	struct opened opened = { .pid = 3 };
	struct closed closed = { .pid = 3 };
	if (bpf_get_prandom_u32() & 1)
		bpf_ringbuf_output(&ring, &opened, sizeof(opened), 0);
	else
		bpf_ringbuf_output(&ring, &closed, sizeof(closed), 0);
	return 0;
"""
TWO_SIZES = """
	struct opened opened = { .pid = 3 };
	struct closed closed = { .pid = 3 };
	bpf_ringbuf_output(&ring, &opened, sizeof(opened), 0);
	bpf_ringbuf_output(&ring, &closed, sizeof(closed), 0);
	return 0;
"""
TWO_STRUCTS = """
	struct same same = { .size = bpf_ktime_get_ns() };
	struct closed closed = { .pid = bpf_ktime_get_ns() };
	bpf_ringbuf_output(&ring, &same, sizeof(same), 0);
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &closed, sizeof(closed));
	return 0;
"""
HEAD = """
	struct opened opened = { .pid = 3 };
	bpf_ringbuf_output(&ring, &opened, 12, 0);
	return 0;
"""
A_MAP_OF_THE_CALLER = """
static __attribute__((noinline)) int emit(void *map, long value)
{
	return bpf_ringbuf_output(map, &value, sizeof(value), 0);
}
SEC("raw_tp/sys_enter") int send(void *ctx)
{
	struct opened *opened = bpf_ringbuf_reserve(&ring, sizeof(*opened), 0);
	if (opened)
		bpf_ringbuf_submit(opened, 0);
	return emit(&ring, 3) + emit(&perf, 4);
}
"""


def program(body: str) -> str:
    return (
        f'SEC("raw_tp/sys_enter") int send(void *ctx)\n{{{body}}}\n' if "SEC" not in body else body
    )


def opened(body: str, *options: str, big_endian: bool = False) -> Object:
    return lskel.open_object(compile_bpf(MAPS + program(body), *options, big_endian=big_endian))


def named(source: Object | lskel.Loader) -> dict[str, str]:
    trace = source.trace if isinstance(source, lskel.Loader) else source.trace()
    btf = types_of(trace)
    assert btf is not None
    return {trace.maps[slot].name: btf[btf.resolve(TypeId(of))].name for slot, of in trace.events}


def why(obj: Object) -> dict[str, str]:
    return {untyped.map: untyped.why for untyped in untyped_buffers(obj.trace(), obj)}


def test_naming_the_struct_helps_as_the_warning_says() -> None:
    obj = opened(TWO_SIZES)
    (untyped,) = (found for found in untyped_buffers(obj.trace(), obj) if found.map == "ring")
    assert untyped.remedy.startswith("name the struct: --event-type ring=EVENT, or EVENT@FILE.h")
    assert named(obj.with_event_types({"ring": "opened"}))["ring"] == "opened"


@pytest.mark.parametrize("options", [(), ("-gdwarf-4",), ("-O1",)], ids=["5", "4", "O1"])
@pytest.mark.parametrize("big_endian", [False, True], ids=["bpfel", "bpfeb"])
def test_found(options: tuple[str, ...], big_endian: bool) -> None:
    for body, expected in (
        (ON_STACK, {"perf": "closed"}),
        (RESERVED, {"ring": "opened"}),
        (INLINED, {"ring": "opened"}),
    ):
        obj = opened(body, *options, big_endian=big_endian)
        assert obj.btf is not None and all(
            obj.btf.find(name, StructType) is None for name in expected.values()
        )
        assert named(obj) == expected
        assert why(obj) == {}


def test_the_object_is_loaded_as_before() -> None:
    """Types of events are for user space: the kernel gets the compiler's BTF."""
    obj = opened(RESERVED)
    trace = obj.trace()
    assert obj.btf is not None and trace.btf == obj.btf.raw
    assert len(trace.types) > len(obj.btf.raw)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (BRANCHES, "the size of an event is not a constant"),
        (TWO_SIZES, "events of 8 or 32 bytes may be closed or opened"),
        (HEAD, "no variable near the calls has a struct of 12 bytes"),
        (A_MAP_OF_THE_CALLER, "events of 8 or 32 bytes may be opened"),
    ],
    ids=["branches", "sizes", "head", "argument"],
)
def test_not_certain(body: str, reason: str) -> None:
    obj = opened(body)
    assert named(obj) == {}
    assert why(obj)["ring"] == reason


def test_structs_of_one_size() -> None:
    obj = opened(TWO_STRUCTS)
    assert named(obj) == {}
    assert why(obj) == dict.fromkeys(("ring", "perf"), "events of 8 bytes may be closed or same")
    # The usual name decides.
    source = (MAPS + program(TWO_STRUCTS)).replace("same", "ring_event").replace("closed", "event")
    assert named(lskel.open_object(compile_bpf(source))) == {"perf": "event", "ring": "event"}


def test_without_debug_information() -> None:
    obj = lskel.open_object(compile_bpf(MAPS + program(RESERVED)))
    assert obj.elf is not None
    bare = replace(obj, elf=None)
    assert named(bare) == {}
    assert why(bare) == {"ring": "the object has no debug information"}


def test_damaged_debug_information_is_no_error() -> None:
    data = bytearray(compile_bpf(MAPS + program(RESERVED)))
    section = Elf(bytes(data)).section(".debug_abbrev")
    assert section is not None
    data[section.offset : section.offset + section.size] = b"\xff" * section.size
    obj = lskel.open_object(bytes(data))
    assert named(obj) == {}
    assert why(obj)["ring"].startswith("section .debug_info: ")


def calls(body: str) -> set[tuple[str, int | None, bool, bool]]:
    obj = opened(body)
    return {(obj.maps[s.map].name, s.size, s.reserves, s.from_stack) for s in sends(obj)}


def test_calls() -> None:
    assert calls(ON_STACK) == {("perf", 8, False, True)}
    assert calls(RESERVED) == {("ring", 32, True, False)}
    # Nothing is known of the map of a function's argument: it may be each.
    assert calls(A_MAP_OF_THE_CALLER) == {
        ("ring", 32, True, False),
        ("ring", 8, False, True),
        ("perf", 8, False, True),
    }


def test_named() -> None:
    obj = opened(TWO_SIZES)
    for text in ("closed", "struct closed"):
        assert named(obj.with_event_types({"ring": text})) == {"ring": "closed"}
    with pytest.raises(NotFound, match=r"BTF has no type 'nope' for events of map 'ring' \(add to"):
        obj.with_event_types({"ring": "nope"}).trace()
    with pytest.raises(NotFound, match="no ring or perf buffer 'nope'"):
        obj.with_event_types({"nope": "closed"}).trace()


def test_named_in_a_bundle() -> None:
    """Without debug information: what is in BTF, or was found."""
    loader = lskel.generate(opened(RESERVED))
    assert named(loader.with_event_types({"perf": "opened"})) == {
        "ring": "opened",
        "perf": "opened",
    }
    with pytest.raises(NotFound, match="BTF has no type 'closed' for events of map 'perf'"):
        loader.with_event_types({"perf": "closed"})


def test_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = tmp_path / "a tool's.h"
    header.write_text(
        "typedef struct { __u64 stamp; bool ok; } note_t;\nstruct twice { note_t note[2]; };"
    )
    obj = opened(TWO_SIZES).with_event_types({"ring": f"struct twice@{header}"})
    assert named(obj) == {"ring": "twice"}
    loader = lskel.generate(obj).with_event_types({"perf": f"note_t@{header}"})
    trace, btf = loader.trace, types_of(loader.trace)
    assert btf is not None
    assert [btf.size_of(TypeId(of)) for _, of in trace.events] == [32, 16]
    with pytest.raises(NotFound, match=r"tool's\.h has no type 'opened'"):
        loader.with_event_types({"ring": f"opened@{header}"})
    header.write_text("struct twice { no_such_type x; };")
    with pytest.raises(
        BadInput, match=r"error: unknown type name 'no_such_type' \(the header must"
    ):
        loader.with_event_types({"ring": f"twice@{header}"})
    with pytest.raises(UsageError, match=r"none\.h: no such header"):
        loader.with_event_types({"ring": f"twice@{tmp_path}/none.h"})
    monkeypatch.setenv("CLANG", "no-such-clang")
    with pytest.raises(
        UsageError, match=r"cannot run no-such-clang: No such file .* \(install clang, or set"
    ):
        headers.compile_header(str(header))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CLANG")
    with pytest.raises(UsageError, match="a header needs clang"):
        headers.compile_header(str(header))


def test_names_are_not_code() -> None:
    """The command line that is proposed may be copied."""
    assert remedy("events", "event").endswith("--event-type events=event@FILE.h")
    assert remedy("a;reboot", "event").endswith("--event-type 'a;reboot=event@FILE.h'")
    assert "--event-type 'a;reboot=EVENT', or" in Untyped("a;reboot", "").remedy
