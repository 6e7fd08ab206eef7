"""Data flow one way: a room imports from its own station and from those left of it only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "lskel"

# Left to right; a module may import from its own row and from the rows above.
STATIONS = (
    (
        "_version",
        "errors",
        "budget",
        "cursor",
        "named",
        "input",
        "interrupt",
        "output",
        "styled_lines",
    ),
    ("bpf", "btf", "elf"),
    ("object",),
    ("trace", "load"),
    ("syscalls", "loader"),
    ("describe",),
    ("verifier",),
    ("replay", "skeleton"),
    ("live", "doctor", "explain"),
    ("cli", "__main__"),
)
# The runtime stands beside the stations: it knows bpf(2) and nothing of objects or traces.
RUNTIME_MAY = {"_version", "errors", "budget", "cursor", "named", "bpf", "btf", "runtime"}
# What an Object gives its user for convenience leads right, inside functions only.
LAZY = {("object/model.py", "load"), ("object/model.py", "trace")}


def imports(path: Path) -> list[tuple[str, bool]]:
    """The rooms of lskel that a module imports, and whether it does so when it is imported."""
    found = []
    tree = ast.parse(path.read_text())
    deferred = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "lskel" and len(parts) > 1:
                found.append((parts[1], id(node) not in deferred))
    return found


MODULES = sorted(
    path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem != "__init__"
)


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def row(name: str) -> int:
    return next(number for number, names in enumerate(STATIONS) if name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_left(path: Path) -> None:
    where = str(path.relative_to(ROOT))
    for name, _ in imports(path):
        if room(path) == "runtime":
            assert name in RUNTIME_MAY, f"{where} imports {name}"
        elif name == "runtime":
            assert row(room(path)) >= row("replay"), f"{where} imports the runtime"
        elif (where, name) not in LAZY:
            assert row(name) <= row(room(path)), f"{where} imports {name}"


@pytest.mark.parametrize("name", ["bpf", "btf", "object", "load", "loader"])
def test_left_of_the_kernel_nothing_touches_it(name: str) -> None:
    for path in (ROOT / name).rglob("*.py"):
        assert "ctypes" not in path.read_text(), path
