"""The command line as a user meets it: outputs, exit statuses, errors, Ctrl-C, no privilege."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

import lskel as lskel_package
from lskel import generate, open_object
from lskel.cli import COMMANDS
from tests.build.btf import BtfBuilder
from tests.build.clang import EXAMPLES, compile_bpf, example
from tests.cli.in_process import lskel
from tests.cli.terminals import LSKEL


def test_help() -> None:
    out, _ = lskel("--help")
    assert all(name in out for name in COMMANDS)
    for name in COMMANDS:
        out, _ = lskel(name, "--help")
        assert "Example:" in out, name
        assert ("--json" in out) == (name != "completion"), name
    first, second = lskel("--version")[0].splitlines()
    assert first == f"lskel, version {lskel_package.__version__}"
    assert f"Python {platform.python_version()} on {platform.system()} " in second
    assert f"click {metadata.version('click')}, jinja2 " in second
    assert "No such command" in lskel("frobnicate", status=2)[1]


def test_gen_one(tmp_path: Path) -> None:
    out, _ = lskel("gen", example("hello"), "-o", tmp_path / "h.lskel")
    assert out == "" and (tmp_path / "h.lskel").read_bytes()[:2] == b"PK"
    out, _ = lskel("gen", example("hello"), "-o", tmp_path / "h2.lskel", "--json")
    assert json.loads(out)["loader"]["insns"] > 50
    assert (tmp_path / "h.lskel").read_bytes() == (tmp_path / "h2.lskel").read_bytes()


def test_gen_through_pipes(tmp_path: Path) -> None:
    data = example("hello").read_bytes()
    done = subprocess.run(
        [*LSKEL, "gen", "-", "-o", "-", "--name", "hello"],
        input=data,
        capture_output=True,
        check=True,
    )
    lskel("gen", example("hello"), "-o", tmp_path / "h.lskel")
    assert done.stdout == (tmp_path / "h.lskel").read_bytes()


def test_gen_many(tmp_path: Path) -> None:
    bad = tmp_path / "bad.o"
    bad.write_bytes(b"\x7fELF junk")
    sources = [*sorted(EXAMPLES.glob("*.bpf.o")), bad]
    out, err = lskel("gen", *sources, "-o", f"{tmp_path}/out/", "--json", status=1)
    report = json.loads(out)
    assert len(report["generated"]) == len(sources) - 1
    assert [item["object"] for item in report["failed"]] == [str(bad)]
    assert f"lskel: {bad}: the ELF header: 0x0+0x10 is outside the file" in err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        s.name.removesuffix(".bpf.o") + ".lskel" for s in sources[:-1]
    }


def test_gen_by_several_processes(tmp_path: Path) -> None:
    sources = []
    for number in range(40):
        sources.append(tmp_path / f"o{number}.bpf.o")
        shutil.copy(example(("hello", "syscount")[number % 2]), sources[-1])
    broken = tmp_path / "o40.o"
    broken.write_bytes(b"nothing")
    out, err = lskel("gen", *sources, broken, "-o", f"{tmp_path}/out/", "--json", status=1)
    report = json.loads(out)
    assert [item["object"] for item in report["generated"]] == [str(path) for path in sources]
    assert [item["object"] for item in report["failed"]] == [str(broken)]
    assert "o40.o: not an ELF file" in err
    for path in sources[:2]:
        lskel("gen", path, "-o", tmp_path / "one.lskel")
        made = tmp_path / "out" / path.name.replace(".bpf.o", ".lskel")
        assert made.read_bytes() == (tmp_path / "one.lskel").read_bytes()


def test_gen_errors(tmp_path: Path) -> None:
    text = tmp_path / "x.c"
    text.write_text("int main;")
    for source, message in (
        (text, f"lskel: {text}: not an ELF file"),
        (tmp_path, f"lskel: {tmp_path}: expected a file, got a directory"),
        (tmp_path / "none.o", f"lskel: {tmp_path / 'none.o'}: No such file or directory"),
        (sys.executable, "expected a relocatable object"),
    ):
        _, err = lskel("gen", source, "-o", tmp_path / "out.lskel", status=1)
        assert message in err and err.count("\n") == 1
    assert not (tmp_path / "out.lskel").exists()
    same = tmp_path / "same.o"
    same.write_bytes(example("hello").read_bytes())
    assert "would overwrite" in lskel("gen", same, "-o", same, status=1)[1]
    lskel("gen", same, "-o", tmp_path / "h.lskel")
    _, err = lskel("gen", tmp_path / "h.lskel", "-o", tmp_path / "h2.lskel", status=1)
    assert "already a bundle" in err
    _, err = lskel("gen", example("hello"), "-o", tmp_path / "a" / "b.lskel", status=1)
    assert "cannot write: No such file or directory" in err
    _, err = lskel("gen", example("hello"), example("syscount"), "-o", tmp_path / "x", status=1)
    assert "use -o DIR/" in err


def test_damaged_objects_leave_no_file(tmp_path: Path) -> None:
    whole = example("syscount").read_bytes()
    for size in range(0, len(whole), 397):
        path = tmp_path / "cut.o"
        path.write_bytes(whole[:size])
        lskel_error = lskel("gen", path, "-o", tmp_path / "cut.lskel", status=1)[1]
        assert lskel_error.startswith(f"lskel: {path}: ")
        if size > 3000:
            break
    assert [p.name for p in tmp_path.iterdir()] == ["cut.o"]


@pytest.mark.kernel
@pytest.mark.parametrize("replay", ["kernel", "direct"])
def test_load(tmp_path: Path, replay: str) -> None:
    lskel("gen", example("syscount"), "-o", tmp_path / "s.lskel")
    for source in (example("syscount"), tmp_path / "s.lskel"):
        report = json.loads(lskel("load", source, "--json", "--replay", replay)[0])
        assert report["replay"] == replay
        assert [(m["name"], m["type"]) for m in report["maps"]] == [
            ("syscalls", "hash"),
            ("syscount.rodata", "array"),
            ("syscount.bss", "array"),
        ]
        (program,) = report["programs"]
        assert program["name"] == "count_syscall" and len(program["tag"]) == 16
        assert (report["loader"] is not None) == (replay == "kernel")
    assert "count_syscall" in lskel("load", example("syscount"), "--replay", replay)[0]


@pytest.mark.kernel
def test_load_pinned(bpffs: Path) -> None:
    pins = bpffs / "here"
    lskel("load", example("syscount"), "--pin", pins)
    assert {p.name for p in pins.iterdir()} == {
        "syscalls",
        "syscount_rodata",
        "syscount_bss",
        "count_syscall",
    }
    _, err = lskel("load", example("syscount"), "--pin", pins, status=1)
    assert "cannot pin" in err and "remove the old pin" in err
    for path in pins.iterdir():
        path.unlink()
    # All or nothing: what was pinned before the conflict is taken back.
    lskel("load", example("hello"), "--pin", pins)
    (pins / "hello").rename(pins / "syscount_bss")
    lskel("load", example("syscount"), "--pin", pins, status=1)
    assert {p.name for p in pins.iterdir()} == {"hello_bss", "syscount_bss"}


@pytest.mark.kernel
def test_load_pin_elsewhere(tmp_path: Path) -> None:
    _, err = lskel("load", example("hello"), "--pin", tmp_path / "pins", status=1)
    assert "not on a bpffs" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kernel
def test_rejected_program(tmp_path: Path) -> None:
    path = tmp_path / "bad.o"
    path.write_bytes(
        compile_bpf('SEC("socket") int bad(struct __sk_buff *s) { return *(int *)(long)s->len; }')
    )
    _, err = lskel("load", path, status=1)
    assert err.startswith("lskel: bad: BPF_PROG_LOAD of program 'bad': EACCES")
    first, second, *rest = err.splitlines()
    assert "invalid mem access" in first and second.startswith("error[untyped-pointer]")
    assert len(rest) < 20 and "processed " not in err
    _, err = lskel("load", path, "-v", "--log-file", tmp_path / "log", status=1)
    assert "processed " in err and (tmp_path / "log").read_text() in err


@pytest.mark.kernel
def test_run_streams_events_and_ends_on_ctrl_c() -> None:
    with subprocess.Popen(
        [*LSKEL, "run", str(example("execsnoop")), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())["loaded"]
        assert started["attached"] == [
            {"program": "on_exec", "target": "tp_btf/sched_process_exec"}
        ]
        child = subprocess.Popen(["/bin/true"])
        child.wait()
        while True:
            event = json.loads(process.stdout.readline())["event"]
            if event["value"]["pid"] == child.pid:
                break
        assert event["map"] == "events" and event["value"]["comm"] == "true"
        process.send_signal(signal.SIGINT)
        *_, last = process.stdout.readlines()
        assert json.loads(last)["maps"][0]["map"] == "execsnoo.bss"
        assert process.wait() == 0
        assert process.stderr is not None and process.stderr.read() == ""


@pytest.mark.kernel
def test_run_duration_and_maps() -> None:
    start = time.monotonic()
    out, _ = lskel("run", example("syscount"), "--duration", "0.5", "--entries", "3")
    assert time.monotonic() - start >= 0.5
    assert "attached count_syscall to raw_tp/sys_enter" in out
    assert "map syscalls:" in out and "count=" in out and "target_pid=0" in out


@pytest.mark.kernel
def test_run_event_types() -> None:
    _, err = lskel("run", example("execsnoop"), "--event-type", "events=nope", status=1)
    assert "BTF has no type 'nope' for events of map 'events'" in err
    _, err = lskel("run", example("execsnoop"), "--event-type", "nope=event", status=1)
    assert "no ring or perf buffer 'nope'" in err
    _, err = lskel("run", example("execsnoop"), "--event-type", "events", status=1)
    assert "--event-type: expected MAP=TYPE, got 'events'" in err
    _, err = lskel("run", example("xdpcount"), "--attach", "count_packet=nope0", status=1)
    assert "no network interface 'nope0'" in err


@pytest.mark.kernel
def test_without_privilege() -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        pytest.skip("dropping privileges needs root and setpriv")
    drop = [setpriv, "--bounding-set=-all", "--inh-caps=-all"]
    for command, status in (("load", 1), ("run", 0)):
        done = subprocess.run(
            [*drop, *LSKEL, command, str(example("hello"))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status
        assert "EPERM" in done.stderr and "CAP_BPF" in done.stderr
        assert done.stderr.count("\n") == 1
        # What it would do is shown all the same.
        simulated = "BPF_PROG_LOAD(prog_type=RAW_TRACEPOINT" in done.stdout
        assert simulated == (command == "run")


def test_load_in_the_simulator() -> None:
    report = json.loads(lskel("load", example("syscount"), "--replay", "simulator", "--json")[0])
    assert [m["name"] for m in report["maps"]] == ["syscalls", "syscount.rodata", "syscount.bss"]
    assert report["programs"][0]["name"] == "count_syscall"
    assert "in the simulator" in lskel("load", example("hello"), "--replay", "simulator")[0]


def test_trace(tmp_path: Path) -> None:
    lskel("gen", example("hello"), "-o", tmp_path / "h.lskel")
    calls = [
        json.loads(lskel("trace", source, "--json")[0])
        for source in (example("hello"), tmp_path / "h.lskel")
    ]
    assert calls[0] == calls[1]
    assert [call["cmd"] for call in calls[0]] == [
        "BPF_BTF_LOAD",
        "BPF_MAP_CREATE",
        "BPF_MAP_UPDATE_ELEM",
        "BPF_PROG_LOAD",
        "close",
    ]
    assert [call["n"] for call in calls[0]] == list(range(5))
    assert calls[0][3]["attr"]["prog_name"] == "hello" and calls[0][3]["ret"] > 0
    short, long = lskel("trace", example("hello"))[0], lskel("trace", example("hello"), "-v")[0]
    assert len(long.splitlines()) > 20 > len(short.splitlines())
    assert "call bpf_get_current_comm" in long and 'map_name="hello.bss"' in short


def test_trace_of_a_broken_loader(tmp_path: Path) -> None:
    loader = generate(open_object(example("hello")))
    # The first instruction of the code becomes a load through the frame pointer's far side.
    wrong = b"\x79\xa1\x08\x00\x00\x00\x00\x00" + loader.insns[8:]
    replace(loader, insns=wrong).save(tmp_path / "wrong.lskel")
    _, err = lskel("trace", tmp_path / "wrong.lskel", status=1)
    assert "instruction 0" in err and "r1 = *(u64 *)(r10 +8)" in err


def test_diff(tmp_path: Path) -> None:
    out, _ = lskel("diff", example("hello"), example("hello"))
    assert "the same 5 calls" in out
    out, _ = lskel("diff", example("hello"), example("syscount"), status=1)
    assert "only in A: 1 BPF_MAP_CREATE hello.bss" in out
    found = json.loads(lskel("diff", example("hello"), example("syscount"), "--json", status=1)[0])
    assert {"a", "b", "field", "text"} == set(found[0])
    changed = open_object(example("syscount")).with_map("syscalls", max_entries=5)
    generate(changed).save(tmp_path / "five.lskel")
    out, _ = lskel("diff", example("syscount"), tmp_path / "five.lskel", status=1)
    assert out.splitlines() == [
        "A 1, B 1: BPF_MAP_CREATE syscalls: max_entries: 10240 and 5",
    ]


def test_trace_with_faults_and_names(tmp_path: Path) -> None:
    out, err = lskel("trace", example("syscount"), "--fail", "2=ENOMEM", status=1)
    assert out.splitlines()[2].endswith("= -1 ENOMEM (injected)")
    assert "BPF_MAP_CREATE of map 'syscount.rodata': ENOMEM: Cannot allocate memory" in err
    # What was made before is closed.
    assert [line.split()[1].split("(")[0] for line in out.splitlines()[3:]] == ["close", "close"]
    _, err = lskel("trace", example("hello"), "--fail", "x=ENOMEM", status=1)
    assert "expected N=ERRNO, got 'x=ENOMEM'" in err
    names = BtfBuilder()
    names.add_int("int", 4)
    (tmp_path / "small.btf").write_bytes(names.bytes("little"))
    out, err = lskel("trace", example("execsnoop"), "--btf", tmp_path / "small.btf", status=1)
    assert "btf_trace_sched_process_exec" in out and "ENOENT" in err
