"""Rows of the catalogue: what a new map type and a new attach kind take, tried on a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lskel
from tests.build.clang import compile_bpf

SRC = Path(lskel.__file__).parent
# A map type that no kernel has, like a hash, takes two files; a section name that libbpf does not
# know takes one.
EDITS = {
    "bpf/enums.py": [("    ARENA = 33\n", "    ARENA = 33\n    COUNTED_HASH = 77\n")],
    "catalog/map_types.py": [
        (
            "    _RING._replace(\n        type=MapType.USER_RINGBUF,",
            "    _HASH._replace(type=MapType.COUNTED_HASH, since=(9, 1)),\n"
            "    _RING._replace(\n        type=MapType.USER_RINGBUF,",
        )
    ],
    "catalog/attach_kinds.py": [
        (
            '    *_sleepable_too(_also(_RAW_TP, "raw_tp"), _SLEEPABLE_TRACEPOINTS),',
            '    *_sleepable_too(_also(_RAW_TP, "raw_tp"), _SLEEPABLE_TRACEPOINTS),\n'
            '    *_also(_RAW_TP, "rawest"),',
        )
    ],
}
SOURCE = """
struct { __uint(type, 77); __uint(max_entries, 8); __type(key, int); __type(value, long); } counts
    SEC(".maps");
SEC("rawest/sys_enter") int count(void *ctx)
{ int key = 1; return bpf_map_lookup_elem(&counts, &key) != 0; }
"""
USE = """
import sys, lskel
from lskel.cli import main
assert "lskel-copy" in lskel.__file__
bpf = lskel.load(sys.argv[1], kernel=lskel.SimulatedMachine())
print(type(bpf.maps.counts).__name__, type(bpf.progs.count).__name__)
bpf.maps.counts[5] = 7
print(dict(bpf.maps.counts))
main(["inspect", sys.argv[1]])
main(["load", sys.argv[1], "--replay", "simulator"])
main(["gen", sys.argv[1], "-o", sys.argv[2]])
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """lskel with the edits."""
    root = tmp_path / "lskel-copy" / "lskel"
    shutil.copytree(SRC, root, ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in EDITS.items():
        path = root / name
        text = path.read_text()
        for old, new in edits:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text)
    return root.parent


def test_all_follows_from_the_rows(copy: Path, tmp_path: Path) -> None:
    source, module = tmp_path / "new.bpf.o", tmp_path / "new.py"
    source.write_bytes(compile_bpf(SOURCE))
    done = subprocess.run(
        [sys.executable, "-c", USE, str(source), str(module)],
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("HashMap RawTracepointProgram\n{5: 7}\n")
    assert "counted_hash" in done.stdout and "rawest/sys_enter" in done.stdout
    assert "counts: HashMap[int, int]" in module.read_text()
    assert "count: RawTracepointProgram" in module.read_text()


def test_without_the_rows_they_are_unknown(tmp_path: Path) -> None:
    obj = lskel.open_object(compile_bpf(SOURCE))
    assert obj.program("count").spec.kind == ""
    assert obj.maps[0].type == 77
