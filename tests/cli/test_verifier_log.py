"""lskel verifier-log, and what lskel load and run say of a refused program."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lskel.cli.failures import Failures, LogFile
from lskel.cli.terminal import show_error
from lskel.errors import ReplayError
from lskel.trace import BtfLoad
from lskel.verifier.logs import find_logs
from tests.build.clang import example
from tests.cli.in_process import lskel
from tests.cli.terminals import LSKEL
from tests.verifier.broken import broken
from tests.verifier.test_logs import LOGS

BROKEN = next(program for program in broken() if program.name == "null_check_map")
LOG = LOGS / "linux-6.18.txt"


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    path = tmp_path / "count.bpf.o"
    path.write_bytes(BROKEN.compiled())
    return path


def test_text() -> None:
    out, err = lskel("verifier-log", LOG)
    first, place, *_, last = out.splitlines()
    assert first == "error[null-check]: a pointer that may be NULL is used without a check"
    assert place == "  --> null_check_map.c:19, program count"
    assert last.strip() == "return 0;" and not err
    out, _ = lskel("verifier-log", LOG, "-v")
    assert LOG.read_text() in out


def test_nothing_moves_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Objects put source lines into logs; a file gets them as they are."""
    title = "\x1b]0;pwn\x07"
    log = tmp_path / "log"
    log.write_text(LOG.read_text().replace("*seen += 1;", f"*seen += 1;{title}"))
    out, _ = lskel("verifier-log", log, "-v")
    assert "\x1b" not in out and "\x07" not in out and r";\x1b]0;pwn\x07 /* F" in out
    lines = tuple(log.read_text().splitlines())
    error = ReplayError("refused", errno=13, op=BROKEN.loader().trace.programs[0].op, log=lines)
    copy = tmp_path / "copy"
    failures = Failures(True, LogFile(str(copy)))
    error.details = tuple(failures.details(BROKEN.loader(), error))
    show_error(error)
    told = capsys.readouterr().err
    assert title in copy.read_text()
    assert r"\x1b]0;pwn\x07" in told and "\x1b" not in told and "\x07" not in told


def test_of_an_object(refused: Path, tmp_path: Path) -> None:
    """With the object, or its bundle, the column is known, and what the log does not name."""
    bundle = tmp_path / "count.lskel"
    lskel("gen", refused, "-o", bundle)
    log = tmp_path / "log"
    log.write_text(LOG.read_text().replace(" @ null_check_map.c:", " @ elsewhere:"))
    outs = {
        lskel("verifier-log", log, "--object", source, "--program", "count")[0]
        for source in (refused, bundle)
    }
    (out,) = outs
    assert "  --> null_check_map.c:19:8, program count\n" in out
    assert "elsewhere" not in out


def test_of_another_object() -> None:
    """Its lines are not those of the log, so it is left aside."""
    out, _ = lskel("verifier-log", LOG, "--object", example("hello"))
    assert "  --> null_check_map.c:19, program count\n" in out


def test_json() -> None:
    out, _ = lskel("verifier-log", LOGS / "several.txt", "--json")
    first, second = json.loads(out)["programs"]
    assert (first["program"], first["cause"]["id"]) == ("first", "infinite-loop")
    assert first["spot"]["source"]["file"] == "two.bpf.c"
    assert first["spot"]["source"]["line"] == 10
    assert (second["program"], second["spot"]) == ("second", None)
    out, _ = lskel("verifier-log", LOGS / "several.txt", "--json", "--program", "second")
    assert json.loads(out)["programs"] == [second]


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xff\xfe no log \0")
    _, err = lskel("verifier-log", path, status=1)
    assert err.startswith(f"lskel: {path}: no verifier log found (")
    _, err = lskel("verifier-log", tmp_path / "missing", status=1)
    assert "No such file" in err
    _, err = lskel("verifier-log", LOG, "--program", "other", status=1)
    assert "no log of program 'other' (available: count)" in err
    done = subprocess.run([*LSKEL, "verifier-log", "-"], input=LOG.read_bytes(), check=True)
    assert done.returncode == 0


@pytest.mark.kernel
@pytest.mark.parametrize("command", [("load",), ("load", "--replay", "direct"), ("run",)])
def test_loading(command: tuple[str, ...], refused: Path, tmp_path: Path) -> None:
    """The error, then what it means; the log where it is asked for."""
    name, *options = command
    log = tmp_path / "log"
    out, err = lskel(name, refused, *options, "--log-file", log, status=1)
    error, explanation = err.split("\n", 1)
    assert out == "" and error.startswith("lskel: count: BPF_PROG_LOAD of program 'count': EACCES")
    assert explanation == lskel("verifier-log", log, "--object", refused)[0]
    assert "processed " in log.read_text()
    _, err = lskel(name, refused, *options, "--json", "-v", status=1)
    assert err.startswith(f"{error}\nerror[null-check]") and "processed " in err
    _, err = lskel(name, refused, *options, "--log-file", tmp_path / "no" / "log", status=1)
    assert "No such file" in err


def test_broken_btf() -> None:
    """What the object would add is missing then; the log is explained all the same."""
    loader = BROKEN.loader()
    ops = tuple(
        replace(op, data=b"\x9f\xeb no BTF") if isinstance(op, BtfLoad) else op
        for op in loader.trace.ops
    )
    damaged = replace(loader, trace=replace(loader.trace, ops=ops))
    (log,) = find_logs(LOG.read_text())
    for given, place in ((loader, ":19:8, "), (damaged, ":19, ")):
        with pytest.raises(ReplayError) as caught, Failures(False, None).explained(given):
            raise ReplayError("refused", errno=13, op=given.trace.programs[0].op, log=log.lines)
        assert f"null_check_map.c{place}program count" in caught.value.details[1]


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours(no_color: str) -> None:
    """On a terminal, unless NO_COLOR is set."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm"}
    with subprocess.Popen([*LSKEL, "verifier-log", str(LOG)], stdout=theirs, env=environment) as it:
        os.close(theirs)
        it.wait()
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "error[null-check]" in text
    assert ("\x1b[" in text) == (not no_color)
