"""The command: what it writes where, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lskel.explain.build import ReportExtras, explain
from lskel.explain.page import page, to_json
from lskel.replay.options import Options
from tests.build.clang import compile_bpf, example
from tests.cli.in_process import lskel
from tests.cli.terminals import LSKEL
from tests.conftest import Run
from tests.explain.samples import UNTYPED, given


def test_page_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    expected = page(explain(given(example("hello"))))
    out, err = lskel("explain", example("hello"), "-o", tmp_path / "h.html")
    assert (out, err) == ("", "")
    assert (tmp_path / "h.html").read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["h.html"]
    assert lskel("explain", example("hello"), "-o", "-")[0].encode() == expected


def test_page_has_the_name_of_the_object_where_nobody_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lskel("explain", example("hello"))
    assert [path.name for path in tmp_path.iterdir()] == ["hello.html"]
    lskel("explain", "-", stdin=example("hello").read_bytes())
    assert (tmp_path / "stdin.html").is_file()


def test_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out, _ = lskel("explain", example("hello"), "--json")
    assert json.loads(out) == json.loads(to_json(explain(given(example("hello")))))
    assert list(tmp_path.iterdir()) == []
    lskel("explain", example("hello"), "--json", "-o", tmp_path / "h.json")
    assert (tmp_path / "h.json").read_text() == out


def test_options_of_generation_and_of_runs() -> None:
    out, _ = lskel(
        *("explain", example("syscount"), "--json", "--form", "unrolled"),
        *("--max-entries", "syscalls=77", "--no-autoload", "count_syscall"),
    )
    report = json.loads(out)
    assert report["meta"]["form"] == "unrolled"
    fields = {f["name"]: f["text"] for f in report["ops"][1]["calls"][0]["fields"]}
    assert fields["max_entries"] == "77"
    loads = [op for op in report["ops"] if op["kind"] == "ProgLoad"]
    assert [op["calls"] for op in loads] == [[]]


def test_bundle_is_shown_as_it_would_run(tmp_path: Path) -> None:
    lskel("gen", example("hello"), "-o", tmp_path / "h.lskel")
    out, _ = lskel("explain", tmp_path / "h.lskel", "--json", "--no-autoload", "hello")
    report = json.loads(out)
    assert report["meta"]["source"] == "bundle"
    assert [op["calls"] for op in report["ops"] if op["kind"] == "ProgLoad"] == [[]]


def test_against(tmp_path: Path, run: Run) -> None:
    header = tmp_path / "hello.lskel.h"
    header.write_text(run("bpftool", "gen", "skeleton", "-L", example("hello"), "name", "hello"))
    lskel("gen", example("hello"), "-o", tmp_path / "h.lskel")
    for other, statuses in ((header, {"same"}), (tmp_path / "h.lskel", {"same"})):
        out, _ = lskel("explain", example("hello"), "--against", other, "--json")
        against = json.loads(out)["against"]
        assert against["meta"]["file"] == other.name
        assert {call["status"] for call in against["calls"]} == statuses
    # What says how loaders are generated is for the object of the two.
    out, _ = lskel(
        *("explain", tmp_path / "h.lskel", "--against", example("hello"), "--json"),
        *("--no-autoload", "hello"),
    )
    only = [call["title"] for call in json.loads(out)["against"]["calls"] if call["b"] is None]
    assert only == ["BPF_PROG_LOAD hello"]


def test_what_cannot_be_generated_is_a_page_all_the_same(tmp_path: Path) -> None:
    obj = tmp_path / "untyped.bpf.o"
    obj.write_bytes(compile_bpf(UNTYPED))
    out, _ = lskel("explain", obj, "--json")
    report = json.loads(out)
    assert report["problem"].startswith("program 'parse': section name 'parser' has no")
    assert report["blob"] is None and len(report["listings"]) == 2
    lskel("explain", obj, "-o", tmp_path / "page.html")
    assert b"Cannot be loaded: program &#x27;parse&#x27;" in (tmp_path / "page.html").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/bin/true"], "/bin/true: expected a relocatable object"),
        (["nope.o"], "nope.o: No such file"),
        ([example("hello"), "-o", "no/such/place.html"], "no/such/place.html: cannot write"),
        ([example("hello"), "-o", example("hello")], "would overwrite"),
        (
            [example("hello"), "--pin-root", "x"],
            "--pin-root, --trust-pins and --token-path need --measure",
        ),
        ([example("hello"), "--against", "nope.o"], "nope.o: No such file"),
        ([example("hello"), "--set", "bss.nope=1"], "nope"),
    ],
    ids=["elf", "missing", "unwritable", "itself", "pins", "other", "variable"],
)
def test_refusals(
    arguments: list[str | Path], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = example("hello").read_bytes()
    _, err = lskel("explain", *arguments, status=1)
    assert message in err and err.startswith("lskel: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert example("hello").read_bytes() == before


def test_the_other_is_not_written_over(tmp_path: Path) -> None:
    other = tmp_path / "other.o"
    other.write_bytes(example("syscount").read_bytes())
    _, err = lskel("explain", example("hello"), "--against", other, "-o", other, status=1)
    assert "would overwrite" in err
    assert other.read_bytes() == example("syscount").read_bytes()


def test_a_page_that_was_not_named_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, err = lskel("explain", example("hello"))
    assert err == "written to hello.html\n"


def test_header_alone_is_refused(tmp_path: Path, run: Run) -> None:
    header = tmp_path / "hello.lskel.h"
    header.write_text(run("bpftool", "gen", "skeleton", "-L", example("hello"), "name", "hello"))
    _, err = lskel("explain", header, status=1)
    assert "does not contain the operations" in err and "--against" in err


@pytest.mark.kernel
def test_measure() -> None:
    out, _ = lskel("explain", example("hello"), "--measure", "--json")
    times = json.loads(out)["measurement"]["times"]
    assert [time["op"] for time in times] == list(range(len(times))) and times


@pytest.mark.kernel
def test_measure_without_permission(tmp_path: Path) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        pytest.skip("dropping privileges needs root and setpriv")
    done = subprocess.run(
        [
            *(setpriv, "--bounding-set=-all", "--inh-caps=-all", *LSKEL, "explain"),
            *(str(example("hello")), "--measure"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "EPERM" in done.stderr and "CAP_BPF" in done.stderr
    assert done.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_options_reach_the_simulator() -> None:
    found = explain(given(example("syscount")), ReportExtras(Options(max_entries={"syscalls": 5})))
    texts = [f.text for op in found.ops for call in op.calls for f in call.fields]
    assert "5" in texts
