"""Commands and bundles whose bytes are not what their description generates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from errno import EINVAL
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.bpf.enums import Cmd
from lskel.cli import main
from lskel.cli.generation import Generation
from lskel.cli.sources import open_silently
from lskel.loader.bundle import load
from lskel.loader.model import Bytes, Form, Loader
from lskel.runtime import image
from lskel.runtime.loader import Result, run_loader
from lskel.runtime.loader_fds import LoaderFd
from lskel.runtime.syscall import BpfError
from tests.cli.in_process import run
from tests.loader.forged import by_another_version, forge, longer_blob, resize_in_blob
from tests.loader.test_verify import bundle

SAYS = "the bytes do not match the description"
SHOWING = (
    ["trace"],
    ["inspect"],
    ["disasm"],
    ["disasm", "--loader"],
    ["doctor"],
    ["explain", "-o", "page.html"],
    ["load"],
    ["run", "--duration", "0"],
    ["gen", "-o", "x_lskel.py"],
)
# These make nothing of other bytes without being told to.
REFUSING = {"doctor", "load", "run", "gen"}


@pytest.fixture
def forged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bundle that creates map `table` with 20 elements, and says 10."""
    monkeypatch.chdir(tmp_path)
    content = forge(bundle(), lambda members: resize_in_blob(members, "table", 20))
    Path("x.lskel").write_bytes(content)
    return "x.lskel"


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bundle of another version of lskel, whose bytes make the same calls."""
    monkeypatch.chdir(tmp_path)

    def change(members: dict[str, Any]) -> None:
        by_another_version(members)
        longer_blob(members)

    Path("x.lskel").write_bytes(forge(bundle(), change))
    return "x.lskel"


@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_it_is_said_first(forged: str, command: list[str]) -> None:
    status, text, _ = run(command[0], forged, *command[1:], together=True)
    assert text.splitlines()[0].startswith(f"lskel: warning: {forged}: {SAYS}; ")
    assert status == (1 if command[0] in REFUSING else 0), text
    assert not Path("x_lskel.py").exists()


@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_of_a_true_one_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.lskel").write_bytes(bundle())
    _, text, _ = run(command[0], "x.lskel", *command[1:], together=True)
    assert "warning" not in text
    assert SAYS not in text


def test_both_sides_of_a_comparison(forged: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("true.lskel").write_bytes(bundle())
    assert main(["diff", "true.lskel", forged]) == 1
    shown = capsys.readouterr()
    assert shown.err.count(SAYS) == 1
    assert "max_entries: 10 and 20" in shown.out


class TestShowsTheBytes:
    def test_inspect(self, forged: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["inspect", forged]) == 0
        text = capsys.readouterr().out
        assert "\nMaps\n" not in text
        _, calls = text.split("Calls of one run in the simulator\n")
        assert "max_entries=20" in next(line for line in calls.splitlines() if "table" in line)

    def test_inspect_as_json(self, forged: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["inspect", forged, "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["loader"]["compared"] == "different"
        assert (shown["maps"], shown["programs"]) == ([], [])
        sizes = {
            call["attr"]["map_name"]: call["attr"]["max_entries"]
            for call in shown["calls"]
            if call["cmd"] == "BPF_MAP_CREATE"
        }
        assert sizes == {"table": 20, "other": 10}

    def test_disasm(self, forged: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["disasm", forged, "--program", "second", "--json"]) == 0
        (shown,) = json.loads(capsys.readouterr().out)["programs"]
        assert [row["text"] for row in shown["rows"]] == ["w0 = 2", "exit"]
        assert main(["disasm", forged, "--program", "none"]) == 1
        assert "no program 'none' (available: prog, second)" in capsys.readouterr().err

    def test_disasm_of_the_loader(self, forged: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["disasm", forged, "--loader", "--json"]) == 0
        (shown,) = json.loads(capsys.readouterr().out)["programs"]
        assert not [row for row in shown["rows"] if row["label"] or row["note"]]
        raw = b"".join(bytes.fromhex(row["raw"]) for row in shown["rows"])
        assert raw == load(Path(forged).read_bytes()).insns

    def test_explain(self, forged: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", forged, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["problem"].startswith(SAYS)
        assert (report["ops"], report["maps"], report["programs"]) == ([], [], [])
        fields = [f for call in report["simulation"]["others"] for f in call["fields"]]
        assert [f["text"] for f in fields if f["name"] == "max_entries"] == ["20", "10"]
        (region,) = report["blob"]["regions"]
        assert (region["kind"], region["name"]) == ("data", "data")

    def test_explain_compares(self, forged: str, capsys: pytest.CaptureFixture[str]) -> None:
        Path("true.lskel").write_bytes(bundle())
        assert main(["explain", "true.lskel", "--against", forged, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["against"]["problem"].startswith(f"B: {SAYS}")
        changes = [f for call in report["against"]["calls"] for f in call["fields"]]
        assert {"name": "max_entries", "a": "10", "b": "20"} in changes

    def test_nothing_of_the_description_is_measured(
        self, forged: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["explain", forged, "--measure"]) == 1
        assert "--replay direct would make the calls of the description" in capsys.readouterr().err


class TestLoads:
    @pytest.mark.parametrize("command", ["load", "run"])
    def test_other_bytes_are_refused(
        self, forged: str, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([command, forged]) == 1
        assert f"lskel: test: {SAYS} (--trust-bytes runs them anyway)" in capsys.readouterr().err

    @pytest.mark.parametrize("trust", [[], ["--trust-bytes"]])
    def test_never_call_by_call(
        self, forged: str, trust: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["load", forged, "--replay", "direct", *trust]) == 1
        assert "--replay direct would make the calls of the description" in capsys.readouterr().err

    def test_in_the_simulator(self, forged: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["load", forged, "--replay", "simulator"]) == 1
        assert "--trust-bytes runs them anyway" in capsys.readouterr().err
        assert main(["load", forged, "--replay", "simulator", "--trust-bytes"]) == 0
        assert "is one run, not a proof" in capsys.readouterr().err

    @pytest.mark.kernel
    def test_trusted(self, forged: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["load", forged, "--trust-bytes", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["loader"]["insns"] == len(load(Path(forged).read_bytes()).insns) // 8
        assert main(["doctor", forged, "--trust-bytes"]) == 0
        assert main(["run", forged, "--trust-bytes", "--duration", "0"]) == 0

    @pytest.mark.kernel
    def test_of_another_version(self, older: str, capsys: pytest.CaptureFixture[str]) -> None:
        for replay in ("kernel", "direct", "simulator"):
            assert main(["load", older, "--replay", replay]) == 0
            warning = capsys.readouterr().err
            assert warning.startswith(
                f"lskel: warning: {older}: written by another version of lskel"
            )
        assert main(["inspect", older, "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["loader"]["compared"] == "another version, same calls"
        assert [made["name"] for made in shown["maps"]] == ["table", "other"]

    @pytest.mark.kernel
    def test_a_form_that_the_kernel_does_not_take(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """What is reported is what ran."""
        path = tmp_path / "x.lskel"
        path.write_bytes(bundle())
        unrolled = lskel.generate(load(bundle()).trace, Form.UNROLLED)
        monkeypatch.setattr(image, "run_loader", _without_loops)
        assert main(["load", str(path), "--json"]) == 0
        shown = capsys.readouterr()
        report = json.loads(shown.out)
        assert report["form"] == "unrolled"
        assert report["loader"]["insns"] == len(unrolled.insns) // 8
        assert "this kernel does not support the table form; the loader was unrolled" in shown.err


def _without_loops(
    insns: bytes,
    blob: bytes,
    context: bytearray,
    btf: bytes,
    func_info: bytes,
    wanted: list[LoaderFd],
) -> Result:
    if btf:  # only the table form has callbacks
        raise BpfError(Cmd.PROG_LOAD, EINVAL)
    return run_loader(insns, blob, context, btf, func_info, wanted)


class TestGen:
    @pytest.mark.kernel
    def test_trusted(self, forged: str) -> None:
        """A skeleton carries the bytes: its map has room for more than the description says."""
        assert main(["gen", forged, "-o", "x_lskel.py", "--trust-bytes"]) == 0
        lines = (
            "from x_lskel import Test",
            "with Test() as skel:",
            "    skel.load()",
            "    for key in range(20): skel.maps.table[key] = key",
            "    print(len(skel.maps.table))",
        )
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert done.stdout == "20\n", done.stderr

    def test_another_form_is_not_made(
        self, forged: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["gen", forged, "-o", "x.h", "--trust-bytes"]) == 1
        assert "cannot convert the table form to plain" in capsys.readouterr().err


def test_completion_says_nothing(forged: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing may be printed among what a shell completes."""
    opened = open_silently(forged, Generation())
    assert isinstance(opened, Loader)
    assert opened.compared is Bytes.DIFFERENT
    assert capsys.readouterr() == ("", "")
