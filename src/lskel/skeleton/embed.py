"""The part of the runtime that a skeleton embeds: the unchanged source of its modules."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Traversable

_PACKAGE = "lskel"
# A directory, or inside a zipapp.
_ROOT = files(_PACKAGE)


def closure(modules: Iterable[str]) -> dict[str, str]:
    """The source of modules and of all lskel modules that they import, by name without "lskel.".

    Packages come before their modules.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = text(name)
        parent = name.rpartition(".")[0]
        waiting += [*imports(name), *([parent] if parent else [])]
    return dict(sorted(found.items()))


@cache
def text(name: str) -> str:
    """A module's source; for a package that of `__init__`."""
    return _path(name).read_text(encoding="utf-8")


def is_package(name: str) -> bool:
    """Whether a module is a package."""
    return _path(name).name == "__init__.py"


def _path(name: str) -> Traversable:
    *packages, last = name.split(".")
    place = _ROOT
    for package in packages:
        place = place / package
    return place / last / "__init__.py" if (place / last).is_dir() else place / f"{last}.py"


@cache
def imports(name: str) -> tuple[str, ...]:
    """The lskel modules that a module imports, except under TYPE_CHECKING."""
    return tuple(dict.fromkeys(_imports(ast.parse(text(name)))))


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _imports(other)
        elif isinstance(child, ast.ImportFrom) and child.module:
            package, _, module = child.module.partition(".")
            if package == _PACKAGE:
                whole = [".".join(filter(None, (module, alias.name))) for alias in child.names]
                yield from (one if _path(one).is_file() else module for one in whole)
        else:
            yield from _imports(child)
