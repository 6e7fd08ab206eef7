"""The manual pages: up to date, and without a warning of man, groff or mandoc."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lskel.cli import COMMANDS, main
from tests.conftest import lacking

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "share" / "man" / "man1").glob("*.1"))
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT"]


def said(*command: str | Path) -> str:
    """What a command says of the pages: its output, and its errors."""
    if shutil.which(str(command[0])) is None:
        lacking(f"{command[0]} is not installed")
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    return done.stdout + done.stderr


def test_up_to_date() -> None:
    script = ROOT / "scripts" / "gen_man.py"
    assert said(sys.executable, script, "--check") == ""


def test_there_is_one_for_each_command() -> None:
    assert {page.stem for page in PAGES} == {"lskel", *(f"lskel-{name}" for name in COMMANDS)}


def test_mandoc() -> None:
    # bpftool's pages, to which ours refer, need not be installed.
    found = said("mandoc", "-T", "lint", "-W", "style", *PAGES)
    assert [row for row in found.splitlines() if "referenced manual not found" not in row] == []


def test_man_and_groff() -> None:
    for page in PAGES:
        assert said("groff", "-man", "-ww", "-z", "-rCHECKSTYLE=3", page) == ""
        shown = said("man", "--warnings", "-l", "-Tutf8", "-E", "UTF-8", page)
        assert "warning" not in shown and f"{page.stem.upper()}(1)" in shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_sections(page: Path) -> None:
    text = page.read_text()
    found = re.findall(r"^\.SH (.*)$", text, re.MULTILINE)
    assert [name for name in found if name in SECTIONS] == SECTIONS
    assert found[-1] == "SEE ALSO"
    assert ("EXAMPLES" in found) == (page.stem != "lskel")


def test_options_are_those_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        text = (ROOT / "share" / "man" / "man1" / f"lskel-{name}.1").read_text()
        shown = set(re.findall(r"\\fB(\\-\\-[^\\]*(?:\\-[^\\]+)*)\\fR", text))
        main([name, "--help"])
        out = capsys.readouterr().out
        listed = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", out, re.MULTILINE))
        assert listed <= {option.replace("\\", "") for option in shown}, name
