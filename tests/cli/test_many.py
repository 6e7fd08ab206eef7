"""`lskel load` and `lskel run` of several objects."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lskel.runtime.info import prog_info
from lskel.runtime.objects import obj_get
from tests.build.clang import compile_bpf, example
from tests.cli.in_process import lskel
from tests.cli.terminals import LSKEL

GOOD = ("hello", "syscount")
REFUSED = 'SEC("socket") int bad(struct __sk_buff *s) { return *(int *)(long)s->len; }'


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """An object that the verifier refuses."""
    path = tmp_path / "refused.bpf.o"
    path.write_bytes(compile_bpf(REFUSED))
    return path


@pytest.fixture
def junk(tmp_path: Path) -> Path:
    """A file that is no object."""
    path = tmp_path / "junk.o"
    path.write_bytes(b"\x7fELF junk")
    return path


@pytest.mark.kernel
@pytest.mark.parametrize("replay", ["kernel", "direct", "simulator"])
def test_load(replay: str, junk: Path) -> None:
    sources = [example("hello"), junk, example("syscount")]
    out, err = lskel("load", *sources, "--replay", replay, "--json", status=1)
    report = json.loads(out)
    assert err.count("\n") == 1 and err.startswith(
        f"lskel: {junk}: the ELF header: 0x0+0x10 is outside the file"
    )
    (failed,) = report["failed"]
    assert failed["object"] == str(junk) and f"lskel: {failed['error']}\n" == err
    for name, loaded in zip(GOOD, report["loaded"], strict=True):
        alone = json.loads(lskel("load", example(name), "--replay", replay, "--json")[0])
        assert without_ids(loaded) == without_ids(alone)
        assert loaded["object"] == str(example(name))


def without_ids(report: dict[str, Any]) -> dict[str, Any]:
    parts = {
        what: [{**item, "id": item["id"] is None} for item in report[what]]
        for what in ("maps", "programs")
    }
    return {**report, **parts}


@pytest.mark.kernel
def test_load_for_people(refused: Path) -> None:
    out, err = lskel("load", example("hello"), refused, example("syscount"), status=1)
    heads = [line for line in out.splitlines() if not line.startswith("  ")]
    assert heads[0].startswith(f"{example('hello')}: 1 maps, 1 programs by a loader of ")
    assert heads[1].startswith(f"{example('syscount')}: 3 maps, 1 programs by a loader of ")
    assert [line.split()[1] for line in out.splitlines() if "  program  " in line] == [
        "hello",
        "count_syscall",
    ]
    failed, *explained, summary = err.splitlines()
    assert "program bad" in "\n".join(explained)
    assert failed.startswith(f"lskel: {refused}: refused: BPF_PROG_LOAD of program 'bad': EACCES")
    assert summary == "2 of 3 objects loaded"
    assert "processed " in lskel("load", example("hello"), refused, "-v", status=1)[1]
    assert lskel("load", example("hello"), example("syscount"))[1] == "2 of 2 objects loaded\n"


@pytest.mark.kernel
def test_pins_of_several(tmp_path: Path, bpffs: Path, refused: Path) -> None:
    namesake = tmp_path / "hello.lskel"
    lskel("gen", example("hello"), "-o", namesake)
    sources = [example("hello"), refused, namesake, example("syscount")]
    out, err = lskel("load", *sources, "--pin", bpffs, status=1)
    assert {str(path.relative_to(bpffs)) for path in bpffs.glob("*/*")} == {
        "hello/hello",
        "hello/hello_bss",
        "syscount/count_syscall",
        "syscount/syscalls",
        "syscount/syscount_bss",
        "syscount/syscount_rodata",
    }
    assert f"{namesake}: another object is pinned in {bpffs}/hello" in err
    assert f"{example('syscount')}: pinned in {bpffs}/syscount" in out
    with obj_get(str(bpffs / "syscount" / "count_syscall")) as fd:
        assert prog_info(fd.fileno()).name == "count_syscall"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("load", ["--target", "a=b"]),
        ("load", ["--max-entries", "a=1"]),
        ("load", ["--set", "bss.a=1"]),
        ("load", ["--name", "x"]),
        ("load", ["--autoload", "x"]),
        ("run", ["--type", "a=xdp"]),
        ("run", ["--event-type", "a=b"]),
        ("run", ["--attach", "a=lo"]),
        ("gen", ["-o", "x/", "--event-type", "a=b"]),
    ],
)
def test_options_for_one_object(command: str, options: list[str]) -> None:
    _, err = lskel(command, example("hello"), example("syscount"), *options, status=1)
    assert err.startswith(f"lskel: {options[-2]}: only for one object (run {command} for each)")


class _Running:
    """`lskel run --json` of objects, until Ctrl-C."""

    def __init__(self, *sources: Path) -> None:
        self.process = subprocess.Popen(
            [*LSKEL, "run", *map(str, sources), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def end(self, number: signal.Signals) -> list[dict[str, Any]]:
        """Send a signal; the lines that follow."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        assert (self.process.returncode, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]


@pytest.mark.kernel
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_together(tmp_path: Path, number: signal.Signals) -> None:
    again = tmp_path / "again.bpf.o"
    shutil.copy(example("execsnoop"), again)
    names = ["hello", "execsnoop", "again"]
    with _Running(example("hello"), example("execsnoop"), again) as running:
        started = [running.line() for _ in names]
        assert [line["object"] for line in started] == names
        assert [line["loaded"]["events"] for line in started] == [[], ["events"], ["events"]]
        assert all(line["loaded"]["attached"] for line in started)
        child = subprocess.Popen(["/bin/true"])
        child.wait()
        seen: set[str] = set()
        while len(seen) < 2:
            line = running.line()
            if line["event"]["value"]["pid"] == child.pid:
                seen.add(line["object"])
        assert seen == {"execsnoop", "again"}
        last = [line for line in running.end(number) if "maps" in line]
    assert [line["object"] for line in last] == names
    assert [line["maps"][0]["map"] for line in last] == ["hello.bss", "execsnoo.bss", "again.bss"]
    assert last[0]["maps"][0]["entries"][0]["value"]["calls"] > 0


@pytest.mark.kernel
def test_run_for_people(tmp_path: Path) -> None:
    namesake = tmp_path / "hello.lskel"
    lskel("gen", example("hello"), "-o", namesake)
    sources = [example("hello"), namesake, example("execsnoop")]
    out, err = lskel("run", *sources, "--duration", "0.2")
    assert err == ""
    # Objects of one name are told apart by their paths.
    for label in (*map(str, sources[:2]), "execsnoop"):
        assert f"\n{label}: loaded 1 programs, " in f"\n{out}"
    assert f"\n{namesake}: attached hello to raw_tp/sys_enter\n" in out
    assert f"\n{namesake}: map hello.bss:\n  0: {{calls=" in out
    assert "\nexecsnoop: events from events; Ctrl-C ends\n" in out


@pytest.mark.kernel
def test_run_all_or_nothing(tmp_path: Path, refused: Path, junk: Path) -> None:
    out, err = lskel("run", example("hello"), refused, junk, example("syscount"), status=1)
    assert out == ""
    failed = [line.split(":")[1].strip() for line in err.splitlines() if line.startswith("lskel:")]
    assert failed == [str(refused), str(junk)]
    # One that loads and cannot be attached, after one that can.
    lost = tmp_path / "lost.bpf.o"
    lost.write_bytes(compile_bpf('SEC("tp/no/where") int lost(void *ctx) { return 0; }'))
    out, err = lskel("run", example("hello"), lost, status=1)
    assert out == "" and err.startswith(f"lskel: {lost}: lost: program 'lost': ")


@pytest.mark.kernel
def test_without_privilege() -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        pytest.skip("dropping privileges needs root and setpriv")
    drop = [setpriv, "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(
        [*drop, *LSKEL, "run", *map(str, map(example, GOOD))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("\n") == 1 and "CAP_BPF" in done.stderr
    for name in GOOD:
        assert f"{name}: " in done.stdout
    loads = [line.partition(":")[0] for line in done.stdout.splitlines() if "PROG_LOAD" in line]
    assert loads == list(GOOD)
