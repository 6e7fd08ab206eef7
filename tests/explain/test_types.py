"""The declarations for TypeScript are those of the report."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "scripts" / "gen_report_types.py"
declarations = runpy.run_path(str(SCRIPT))["declarations"]


def generate(script: Path, *arguments: str) -> int:
    return subprocess.run([sys.executable, script, *arguments], check=False).returncode


def test_declarations_are_up_to_date() -> None:
    assert generate(SCRIPT, "--check") == 0


def test_check_tells_what_is_not(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / SCRIPT.name
    script.parent.mkdir()
    script.write_text(SCRIPT.read_text())
    assert generate(script) == 0
    written = tmp_path / "web" / "src" / "report.d.ts"
    assert written.read_text() == (ROOT / "web" / "src" / "report.d.ts").read_text()
    written.write_text(written.read_text().replace("phrase", "words"))
    assert generate(script, "--check") == 1


class Inner(NamedTuple):
    """Part of it."""

    raw: bytes
    again: tuple[Inner, ...]


class Outer(NamedTuple):
    """All
    of it.
    """

    number: int | None
    names: tuple[str | None, ...]
    pair: tuple[int, int]
    counts: dict[str, int]
    inner: Inner


def test_types() -> None:
    text = declarations(Outer)
    assert text.index("interface Outer") < text.index("interface Inner")
    for line in (
        "  number: number | null;",
        "  names: readonly (string | null)[];",
        "  pair: readonly [number, number];",
        "  counts: Readonly<Record<string, number>>;",
        "  inner: Inner;",
        "  raw: Hex;",
        "  again: readonly Inner[];",
        " * of it.",
    ):
        assert line in text.splitlines()


def test_a_type_that_json_has_not_is_refused() -> None:
    class Odd(NamedTuple):
        field: complex

    with pytest.raises(TypeError, match="no TypeScript for"):
        declarations(Odd)
