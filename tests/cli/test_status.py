"""Each exit status, of a real process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lskel.cli.status import Status
from tests.build.clang import compile_bpf, example
from tests.cli.terminals import LSKEL
from tests.conftest import lacking

REFUSED = 'SEC("socket") int bad(struct __sk_buff *s) { return *(int *)(long)s->len; }'
BASH = shutil.which("bash") or "bash"


def status(*args: str | Path) -> int:
    done = subprocess.run([*LSKEL, *map(str, args)], capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    return done.returncode


def in_bash(script: str) -> int:
    """The status of a script in which `lskel` is the command."""
    done = subprocess.run(
        [BASH, "-c", f'lskel() {{ {" ".join(LSKEL)} "$@"; }}\n{script}'],
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    return done.returncode


def test_success() -> None:
    assert status("inspect", example("hello")) == 0
    assert status("--help") == status("gen", "--help") == status("--version") == 0


def test_failure(tmp_path: Path) -> None:
    missing = tmp_path / "missing.o"
    commands = (["inspect"], ["disasm"], ["trace"], ["load"], ["run"])
    assert {status(*command, missing) for command in commands} == {1}
    assert status("gen", missing, "-o", tmp_path / "x.lskel") == 1
    assert status("gen", missing, example("hello"), "-o", f"{tmp_path}/") == 1


@pytest.mark.parametrize(("command", "suffix"), [("gen", "lskel"), ("explain", "html")])
def test_output_out_of_reach(tmp_path: Path, command: str, suffix: str) -> None:
    """A directory of another user's, that may not even be looked into."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        lacking("dropping privileges needs root and setpriv")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.chown(closed, 65534, 65534)
    drop = [setpriv, "--bounding-set=-all", "--inh-caps=-all"]
    target = closed / f"x.{suffix}"
    done = subprocess.run(
        [*drop, *LSKEL, command, str(example("hello")), "-o", str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"lskel: {target}: cannot write: Permission denied\n"


@pytest.mark.parametrize("command", ["inspect", "trace", "explain --json", "gen -o -"])
def test_output_closed(command: str) -> None:
    words = f"lskel {command} {example('hello')}"
    assert in_bash(f"{words} >&-") == 1
    assert in_bash(f"{words} >/dev/full") == 1


def test_closed_output_that_is_not_used(tmp_path: Path) -> None:
    assert in_bash(f"lskel gen {example('hello')} -o {tmp_path}/x.lskel >&-") == 0


@pytest.mark.kernel
@pytest.mark.parametrize("command", ["load", "run", "doctor"])
def test_log_is_not_written_over_the_object(tmp_path: Path, command: str) -> None:
    bad = tmp_path / "bad.o"
    bad.write_bytes(compile_bpf(REFUSED))
    before = bad.read_bytes()
    assert status(command, bad, "--log-file", bad) in (1, 2)
    assert bad.read_bytes() == before


@pytest.mark.kernel
def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    """What the load says is still said."""
    bad = tmp_path / "bad.o"
    bad.write_bytes(compile_bpf(REFUSED))
    done = subprocess.run(
        [*LSKEL, "load", str(bad), "--log-file", str(tmp_path / "no" / "log")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "BPF_PROG_LOAD of program 'bad'" in done.stderr
    assert f"{tmp_path}/no/log: cannot write: No such file" in done.stderr


@pytest.mark.kernel
def test_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.o"
    bad.write_bytes(compile_bpf(REFUSED))
    assert status("load", bad) == status("run", bad) == 1
    assert status("load", example("hello"), bad) == 1


def test_usage() -> None:
    assert status() == status("frobnicate") == status("gen") == 2
    assert status("load", example("hello"), "--replay", "nobody") == 2


def test_diff(tmp_path: Path) -> None:
    hello, other = example("hello"), example("syscount")
    assert status("diff", hello, hello) == 0
    assert status("diff", hello, other) == 1
    assert status("diff", hello, tmp_path / "missing.o") == 2
    assert status("diff", hello) == 2
    assert in_bash(f"lskel diff {hello} {other} > /dev/full") == 2


def test_doctor(tmp_path: Path) -> None:
    """No is an answer; that there is none is an error."""
    assert status("doctor", "--pin-root", "/x") == 2
    assert status("doctor", tmp_path / "missing.o") == 2
    assert status("doctor", "--replay", "nobody") == 2
    big = tmp_path / "big.o"
    big.write_bytes(compile_bpf('SEC("socket") int p(void *c) { return 0; }', big_endian=True))
    assert status("doctor", big) == 1


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    for command in ("inspect", "trace", "gen -o -"):
        assert in_bash(f"lskel {command} {example('hello')} > /dev/full") == 1, command


@pytest.mark.parametrize("command", ["trace -v", "gen -o -", "inspect", "--help"])
def test_broken_pipe(command: str) -> None:
    source = "" if command == "--help" else str(example("hello"))
    script = f'lskel {command} {source} | exec true; exit "${{PIPESTATUS[0]}}"'
    assert in_bash(script) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(number: signal.Signals) -> None:
    with subprocess.Popen(
        [*LSKEL, "inspect", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_until_it_reads(process)
        process.send_signal(number)
        process.wait(60)
        assert process.stderr is not None and process.stderr.read() == b""
    if number is signal.SIGINT:
        assert process.returncode == 128 + number
    else:
        assert process.returncode == -number  # which a shell shows as 143


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_before_run_has_loaded(number: signal.Signals) -> None:
    with subprocess.Popen([*LSKEL, "run", "-"], stdin=subprocess.PIPE) as process:
        wait_until_it_reads(process)
        process.send_signal(number)
        assert process.wait(60) == 128 + number


def wait_until_it_reads(process: subprocess.Popen[bytes]) -> None:
    """Until a process waits for its standard input."""
    while "0 0x0 " not in Path(f"/proc/{process.pid}/syscall").read_text():
        assert process.poll() is None
        time.sleep(0.01)


def test_all_are_documented() -> None:
    document = Path(__file__).parents[2] / "docs" / "exit-status.md"
    described = set(map(int, re.findall(r"^\| (\d+) \|", document.read_text(), re.MULTILINE)))
    assert described == set(Status)
    help_text = subprocess.run([*LSKEL, "--help"], capture_output=True, text=True, check=True)
    shown = set(map(int, re.findall(r"^  (\d+) ", help_text.stdout, re.MULTILINE)))
    assert shown == set(Status)
