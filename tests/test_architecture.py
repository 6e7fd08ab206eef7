"""Data flow one way: a room imports from its own station and from those left of it only."""

from __future__ import annotations

import ast
import re
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
        "light_typing",
        "input",
        "interrupt",
        "output",
        "tasks",
        "styled_lines",
    ),
    ("bpf", "btf", "elf", "dwarf"),
    ("catalog", "core_relo"),
    ("kernels",),
    ("object",),
    ("trace", "load_phase"),
    ("syscalls", "loader"),
    ("describe",),
    ("verifier",),
    ("replay", "skeleton"),
    ("doctor", "explain"),
    ("cli", "__main__"),
)
# The runtime stands beside the stations: it knows bpf(2) and nothing of objects or traces.
RUNTIME_MAY = {
    *("_version", "errors", "budget", "cursor", "light_typing", "tasks"),
    *("bpf", "btf", "elf", "catalog", "runtime"),
}
# What an Object gives its user for convenience leads right, inside functions only.
LAZY = {("object/model.py", "load_phase"), ("object/model.py", "trace")}


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


@pytest.mark.parametrize("name", ["bpf", "btf", "object", "load_phase", "loader"])
def test_left_of_the_kernel_nothing_touches_it(name: str) -> None:
    for path in (ROOT / name).rglob("*.py"):
        assert "ctypes" not in path.read_text(), path


def test_flags_are_generated() -> None:
    # Such as `_F_MMAPABLE = 1 << 10`, which stood in one file after another.
    by_hand = re.compile(r"^\s*_*(?:BPF_)?F_[A-Z]\w* *=|= 1 << \d+ +# BPF_F_", re.M)
    found = {
        str(path.relative_to(ROOT)): by_hand.findall(path.read_text())
        for path in MODULES
        if path.name != "flags.py"
    }
    assert {where: names for where, names in found.items() if names} == {
        "bpf/context.py": ["F_KERNEL ="]  # of libbpf's skel_internal.h, not of uapi
    }


TYPES = ("MapType", "ProgType", "AttachType")


def tables_by_type(path: Path) -> list[int]:
    """The lines of literals with two or more members of the enums of types, as keys or elements."""
    tree = ast.parse(path.read_text())
    aliases = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target, value in _pairs(node)
        if isinstance(value, ast.Name) and value.id in TYPES
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Set | ast.Tuple | ast.List):
            keys = list(node.elts)
        else:
            continue
        members = [
            key
            for key in keys
            if isinstance(key, ast.Attribute)
            and isinstance(key.value, ast.Name)
            and key.value.id in {*TYPES, *aliases}
        ]
        if len(members) > 1:
            found.append(node.lineno)
    return found


def _pairs(node: ast.Assign) -> list[tuple[ast.Name, ast.expr]]:
    target = node.targets[0]
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    return [
        (name, value)
        for name, value in zip(targets, values, strict=False)
        if isinstance(name, ast.Name)
    ]


# Tables that are not facts about types, and why they stand where they do.
_SKELETONS = "skeletons carry it along, and not the catalogue of attach kinds"
OWN_TABLES = {
    "object/struct_ops.py": (1, "a section of struct_ops, or one that says nothing"),
    "replay/simulator/syscall/prog_load.py": (4, "what the kernel checks when it loads programs"),
    "runtime/attach/sockmap.py": (1, _SKELETONS),
    "runtime/attach/tc.py": (1, _SKELETONS),
}


def test_tables_by_type_are_in_the_catalogue() -> None:
    found = {str(path.relative_to(ROOT)): tables_by_type(path) for path in MODULES}
    outside = {
        where: len(lines)
        for where, lines in found.items()
        if lines and not where.startswith("catalog/")
    }
    assert outside == {where: count for where, (count, _) in OWN_TABLES.items()}


# Circles of modules, all of which are broken by imports inside functions; by the room of the last.
CIRCLES = {
    "load_phase": "`Object.trace()` and `with_...()` are there for convenience, and lead right",
    "loader": "`Loader.load()` and `save()` as well; a bundle is compared with what it generates",
    "cli": "completion reads objects as commands do, and the options name what they complete",
}


def graph() -> dict[str, set[str]]:
    """What each module imports, at any time but for type checkers."""
    names = {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in ROOT.rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text())
        unread = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for statement in node.body
            for inner in ast.walk(statement)
        }
        found[name] = {
            whole if whole in names else node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and id(node) not in unread
            for whole in (f"{node.module}.{alias.name}" for alias in node.names)
            if node.module.startswith("lskel")
        }
    return found


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules each of which leads to all others of its set."""
    reached = {name: _reachable(name, edges) for name in edges}
    found = {
        frozenset(other for other in reached[name] if name in reached.get(other, ()))
        for name in edges
        if name in reached[name]
    }
    return [set(names) for names in found]


def _reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    pending = [start]
    while pending:
        for name in edges.get(pending.pop(), ()):
            if name not in found:
                found.add(name)
                pending.append(name)
    return found


def test_circles_have_a_reason() -> None:
    rooms = [
        {name.split(".")[1] for name in names if name.split(".")[1] != "object"}
        for names in circles(graph())
    ]
    assert sorted(map(sorted, rooms)) == sorted([name] for name in CIRCLES)


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
