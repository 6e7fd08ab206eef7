"""Events with types from debug information, and shorter ones, as they come from this kernel."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.cli import main
from tests.build.clang import compile_bpf
from tests.cli.in_process import lskel as command
from tests.runtime.programs import run_program

pytestmark = pytest.mark.kernel

SOURCE = """
enum what { OPENED = 1, CLOSED = 2 };
struct opened { __u64 number; int pid; enum what what; char name[20]; };
struct sample { __u32 first; short pairs[3]; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } heads SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __type(key, int); __type(value, int); }
	perf SEC(".maps");
unsigned length;
SEC("raw_tp") int send(void *ctx)
{
	struct opened *opened = bpf_ringbuf_reserve(&ring, sizeof(*opened), 0);
	struct sample sample = { .first = 9, .pairs = { 1, -2, 3 } };
	struct opened head = { .number = 5, .pid = 6, .what = CLOSED, .name = "a long name" };
	if (!opened)
		return 0;
	opened->number = 1ULL << 40;
	opened->pid = bpf_get_current_pid_tgid() >> 32;
	opened->what = OPENED;
	__builtin_memcpy(opened->name, "by a program\\0......", 20);
	bpf_ringbuf_submit(opened, 0);
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &sample, sizeof(sample));
	if (length <= sizeof(head))
		bpf_ringbuf_output(&heads, &head, length, 0);
	return 0;
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "ev.bpf.o"
    made.write_bytes(compile_bpf(SOURCE))
    return made


@pytest.fixture
def _on_one_cpu() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def check(bpf: Any) -> None:
    """What the program sends, by the members of its structs."""
    with bpf:
        bpf.load()
        perf = bpf.maps.perf.reader()
        assert not perf.ready()
        run_program(bpf.progs.send, bytes(16))
        (opened,) = bpf.maps.ring.consume()
        (sample,) = bpf.maps.perf.consume()
    assert type(opened).__name__ == "opened"
    assert opened.asdict() == {
        "number": 1 << 40,
        "pid": os.getpid(),
        "what": 1,
        "name": b"by a program",
    }
    assert "what=what.OPENED" in repr(opened)
    assert sample.asdict() == {"first": 9, "pairs": [1, -2, 3]}


@pytest.mark.usefixtures("_on_one_cpu")
@pytest.mark.parametrize("direct", [False, True], ids=["kernel", "direct"])
def test_objects(path: Path, direct: bool) -> None:
    check(lskel.load(path, direct=direct))


@pytest.mark.usefixtures("_on_one_cpu")
def test_bundles(path: Path, tmp_path: Path) -> None:
    """The file alone: it has the types."""
    bundle = tmp_path / "ev.lskel"
    assert main(["gen", str(path), "-o", str(bundle)]) == 0
    path.unlink()
    check(lskel.load(bundle))


@pytest.mark.usefixtures("_on_one_cpu")
@pytest.mark.parametrize("through_a_bundle", [False, True], ids=["object", "bundle"])
def test_modules(path: Path, tmp_path: Path, through_a_bundle: bool) -> None:
    source = path
    if through_a_bundle:
        source = tmp_path / "ev.lskel"
        assert main(["gen", str(path), "-o", str(source)]) == 0
    module = tmp_path / "made_events.py"
    assert main(["gen", str(source), "-o", str(module)]) == 0
    spec = spec_from_file_location("made_events", module)
    assert spec is not None and spec.loader is not None
    made = module_from_spec(spec)
    sys.modules["made_events"] = made
    try:
        spec.loader.exec_module(made)
        check(made.Ev())
        assert made.opened.__module__ == "made_events"
    finally:
        del sys.modules["made_events"]


def test_gen_says_what_is_missing(path: Path, tmp_path: Path) -> None:
    for language, is_said in (("lskel", True), ("py", True), ("h", False)):
        target = tmp_path / f"ev.{language}"
        _, err = command("gen", path, "-o", target)
        said = f"lskel: warning: {path}: map 'heads': events are bytes: the size of an event is not"
        assert (said in err) == is_said
        assert ("(name the struct: --event-type heads=EVENT, or" in err) == is_said
        assert "'ring'" not in err and "'perf'" not in err
    _, err = command("gen", path, "-o", tmp_path / "ev.py", "--event-type", "heads=opened")
    assert err == ""
    _, err = command("gen", path, "-o", tmp_path / "x.h", "--event-type", "heads=opened", status=1)
    assert "--event-type does not apply to c" in err


def test_shorter_events(path: Path) -> None:
    with lskel.load(path, event_types={"heads": "opened"}) as bpf:
        bpf.load()
        expected = {
            8: {"number": 5},
            11: {"number": 5},
            16: {"number": 5, "pid": 6, "what": 2, "name": b""},
            22: {"number": 5, "pid": 6, "what": 2, "name": b"a long"},
            36: {"number": 5, "pid": 6, "what": 2, "name": b"a long name"},
            40: {"number": 5, "pid": 6, "what": 2, "name": b"a long name"},
        }
        for length, members in expected.items():
            bpf.bss.length = length
            run_program(bpf.progs.send, bytes(16))
            (event,) = bpf.maps.heads.consume()
            assert event.asdict() == members
            assert isinstance(event, bpf.maps.heads.event_type)
        # The others are as before.
        assert len(list(bpf.maps.ring.consume())) == len(expected)


def test_run_prints_them(path: Path) -> None:
    source = compile_bpf(SOURCE.replace('SEC("raw_tp")', 'SEC("raw_tp/sys_enter")'))
    path.write_bytes(source)
    out, _ = command(
        *("run", path, "--json", "--duration", "0.3", "--entries", "0"),
        *("--event", "heads=opened", "--set", "bss.length=18"),
    )
    events = [line["event"] for line in map(json.loads, out.splitlines()) if "event" in line]
    (head, *_) = (event["value"] for event in events if event["map"] == "heads")
    assert head == {"number": 5, "pid": 6, "what": "CLOSED", "name": "a "}
    (opened, *_) = (event["value"] for event in events if event["map"] == "ring")
    assert (opened["what"], opened["name"]) == ("OPENED", "by a program")
