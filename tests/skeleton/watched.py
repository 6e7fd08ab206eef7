"""Generated modules imported and used in a process that sees what they make the interpreter do."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

_SOURCE = Path(__file__).parents[2] / "src"
# What is said of an event besides its name.
_WHAT: dict[str, Callable[..., object]] = {
    "compile": lambda _source, filename: filename,
    "exec": lambda code: code.co_filename,
    "import": lambda module, *_: module,
    "open": lambda path, *_: path,
}
_ALL_SAID = ("os.", "subprocess.", "socket.", "shutil.")

# An audit event: its name, and what it was about.
Event = tuple[str, str]


class Item(NamedTuple):
    """A module's text, and the names of its maps and programs that it should have."""

    text: str
    names: list[str]


def events(items: list[Item]) -> list[list[Event]]:
    """The audit events of each module, in one process; AssertionError where one cannot be used."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(items),
        env={**os.environ, "PYTHONPATH": str(_SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [[(event, what) for event, what in found] for found in json.loads(done.stdout)]


_recorded: list[Event] | None = None


def _seen(event: str, args: tuple[Any, ...]) -> None:
    if _recorded is not None:
        what = (
            _WHAT[event](*args) if event in _WHAT else args if event.startswith(_ALL_SAID) else ""
        )
        _recorded.append((event, repr(what)))


class _Link:
    closed = False

    def close(self) -> None:
        """As links have it."""


def _use(module: ModuleType, code: Any, cls: str, names: list[str]) -> None:
    exec(code, vars(module))
    with getattr(module, cls)() as skel:
        assert [thing.name for thing in (*skel.maps, *skel.progs)] == names, names
        for name, value in vars(type(skel)).items():
            if isinstance(value, property):
                variables = getattr(skel, name)
                repr(variables)
                variables.asdict()
        for attr, owner in skel.links._owners.items():
            skel.links.add(owner, _Link())
            assert getattr(skel.links, attr).closed is False
        repr([skel, *skel.maps, *skel.progs])


def _events_of(text: str, names: list[str]) -> list[Event]:
    global _recorded
    module = ModuleType("generated")
    module.__file__ = "generated.py"
    module.__spec__ = ModuleSpec("generated", None)
    sys.modules["generated"] = module
    tree = ast.parse(text)
    (cls,) = (
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and [ast.unparse(b) for b in node.bases] == ["Collection"]
    )
    # From bytes, so that an encoding that they name is taken.
    code = compile(text.encode(), "generated.py", "exec")
    found: list[Event] = []
    _recorded = found
    try:
        _use(module, code, cls, names)
    finally:
        _recorded = None
    return found


if __name__ == "__main__":
    sys.addaudithook(_seen)
    json.dump([_events_of(*item) for item in json.load(sys.stdin)], sys.stdout)
