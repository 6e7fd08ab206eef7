"""Python skeletons of inputs whose every name is made to do harm: text with names, never code."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import tokenize
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import lskel
from lskel.loader.model import Loader
from lskel.skeleton import python, python_types
from lskel.skeleton.python import generate_python
from lskel.skeleton.python_source import attribute, docstring, identifier, literal, tuple_of
from lskel.skeleton.source import Scope
from tests.skeleton import hostile, watched
from tests.skeleton.modules import skeleton_class

ROOT = Path(lskel.__file__).parents[1]
_EACH = settings(deadline=None, suppress_health_check=list(HealthCheck))


_OF_FILE = hostile.roles(hostile.object_file)
ROLES = list(dict.fromkeys([*hostile.roles(hostile.loader), *_OF_FILE, "object"]))


def tame(role: str) -> str:
    """A name that needs no care."""
    return f"n{ROLES.index(role)}"


def naming(found: Sequence[str]) -> hostile.Naming:
    return hostile.naming(ROLES, found).__getitem__


all_names = st.lists(hostile.names, min_size=1, max_size=12).map(naming)


# -- the pieces ------------------------------------------------------------------------------------


@given(st.one_of(hostile.names, st.binary(), st.integers(), st.booleans(), st.none()))
@_EACH
def test_literals(value: str | bytes | int | None) -> None:
    text = literal(value)
    assert text.isascii() and text.isprintable()
    read = ast.literal_eval(text)
    assert (read, type(read)) == (value, type(value))


@given(st.lists(hostile.names, max_size=3).map(tuple))
@_EACH
def test_tuples(values: tuple[str, ...]) -> None:
    assert ast.literal_eval(literal(values)) == values
    assert ast.literal_eval(tuple_of(map(literal, values))) == values


@given(hostile.names)
@_EACH
def test_identifiers(name: str) -> None:
    for made in (identifier(name, {"x"}), attribute(name, {"x"})):
        assert made.isascii() and len(made) < 600
        (target,) = ast.parse(f"{made} = 1").body[0].targets  # type: ignore[attr-defined]
        assert isinstance(target, ast.Name) and target.id == made != "x"
    # Within a class a name that is private is another.
    body = f"class C:\n    {attribute(name)} = 1\n"
    namespace: dict[str, Any] = {}
    exec(body, namespace)
    assert vars(namespace["C"])[attribute(name)] == 1


@given(hostile.names)
@_EACH
def test_docstrings(name: str) -> None:
    made = docstring(name)
    assert len(made) <= 92 and made.isprintable() and made.isascii()
    assert ast.literal_eval(f'"""{made}"""') == made == docstring(made)
    assert docstring("raw_tp/sys_enter: x") == "raw_tp/sys_enter: x"


def test_scopes_are_linear() -> None:
    scope = Scope(["taken"])
    made = [scope.claim(identifier("a")) for _ in range(100_000)]
    assert made[:3] == ["a", "a_2", "a_3"] and len({*made}) == len(made)
    assert scope.claim(identifier("taken")) == "taken_2"


@pytest.mark.parametrize("embed", [True, False])
def test_the_names_of_a_module_are_known(embed: bool) -> None:
    made = hostile.loader(tame)
    names = defined(ast.parse(generate_python(made, "Tame", embed=embed)), deep=False)
    types = tuple(map(tame, ROLES))
    own = {name for name in names if name.startswith(("Tame", *types))}
    values = python_types.TAKEN | {"__all__"}
    assert {"Tame", "TameMaps", tame("pair")} <= own
    assert names - own - values <= python._taken(made.trace)


# -- the module ------------------------------------------------------------------------------------


def defined(tree: ast.AST, *, deep: bool = True) -> set[str]:
    """Names that a module gives to something: at its outermost level only, or anywhere."""
    found: set[str] = set()
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found.add(name)
                # A class's own names are read through it only.
                body = [node] if isinstance(node, ast.FunctionDef) else node.body
                functions = [part for part in body if isinstance(part, ast.FunctionDef)]
                nodes += [part for f in functions for part in ast.iter_child_nodes(f) if deep]
                continue
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                found.add(name)
            case ast.ImportFrom() | ast.Import():
                found |= {alias.asname or alias.name for alias in node.names}
        nodes += ast.iter_child_nodes(node)
    return found


def read(tree: ast.AST) -> set[str]:
    """Names that a module has from elsewhere."""
    loaded = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return loaded - defined(tree)


def shape(node: Any) -> Any:
    """A syntax tree without its names and constants; what is imported stays."""
    if isinstance(node, ast.ImportFrom):
        return ast.dump(node)
    if isinstance(node, list):
        return [shape(item) for item in node if not is_alias(item)]
    if isinstance(node, ast.Constant):
        return type(node.value).__name__
    if isinstance(node, ast.AST):
        return (type(node).__name__, [shape(value) for _, value in ast.iter_fields(node)])
    return type(node).__name__ if node is not None else None


def is_alias(node: Any) -> bool:
    """Whether a statement gives a class another name, which a member's name may hide."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Name)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.startswith(f"_{node.value.id}")
    )


def check(made: Loader, expected: ast.Module, *, embed: bool) -> None:
    text = generate_python(made, embed=embed)
    assert text.isascii()
    lines = text.split("\n")
    assert lines[0].startswith("# Generated by lskel ") and "coding" not in lines[0]
    assert lines[1] == "# SPDX-License-Identifier: BSD-2-Clause"
    assert tokenize.detect_encoding(io.BytesIO(text.encode()).readline)[0] == "utf-8"
    tree = ast.parse(text)
    assert shape(tree) == shape(expected)
    assert read(tree) == read(expected)


_TAME = {e: ast.parse(generate_python(hostile.loader(tame), embed=e)) for e in (True, False)}


@given(all_names, st.booleans())
@example(naming(hostile.PIECES), False)
@example(naming(hostile.WORDS), False)
@example(naming(["a b", "a_b", "a-b", "a.b"]), True)
@settings(parent=_EACH, max_examples=60)
def test_the_same_definitions_as_with_tame_names(found: hostile.Naming, embed: bool) -> None:
    check(hostile.loader(found), _TAME[embed], embed=embed)


def of_file(found: hostile.Naming) -> Loader:
    """The loader of an object file, whose name comes from the file's."""
    return lskel.generate(lskel.open_object(hostile.object_file(found), found("object")))


OBJECT = ast.parse(generate_python(of_file(tame), embed=False))


@given(all_names)
@example(naming(hostile.PIECES))
@example(naming(hostile.WORDS))
@settings(parent=_EACH, max_examples=60)
def test_the_same_definitions_for_an_object(found: hostile.Naming) -> None:
    check(of_file(found), OBJECT, embed=False)


def item(made: Loader, *, embed: bool) -> watched.Item:
    names = [m.name for m in made.trace.maps] + [p.name for p in made.trace.programs]
    return watched.Item(generate_python(made, embed=embed), names)


@given(st.lists(all_names, min_size=1, max_size=10), st.booleans())
@example([naming(hostile.PIECES), naming(hostile.WORDS)], False)
@example([naming(hostile.PIECES), naming(hostile.WORDS)], True)
@settings(parent=_EACH, max_examples=12, phases=[Phase.explicit, Phase.generate])
def test_imported_and_used_it_does_what_a_tame_one_does(
    found: list[hostile.Naming], embed: bool
) -> None:
    plain = item(hostile.loader(tame), embed=embed)
    # The first one imports the runtime.
    items = [plain, plain, *(item(hostile.loader(one), embed=embed) for one in found)]
    first, expected, *others = watched.events(items)
    assert {event for event, _ in first} >= {"import", "open", "exec"}
    assert expected
    for made in others:
        assert sorted(made) == sorted(expected)


def test_what_runs_is_seen() -> None:
    plain = item(hostile.loader(tame), embed=False)
    bad = [
        "open('/nowhere/x', 'w')",
        "__import__('os').system('')",
        "exec('1')",
        "__import__('subprocess').call(['/nowhere'])",
    ]
    items = [plain, plain]
    items += [
        plain._replace(text=f"{plain.text}\ntry:\n    {line}\nexcept OSError: 0\n") for line in bad
    ]
    _, expected, *others = watched.events(items)
    for made in others:
        assert sorted(made) != sorted(expected)


def test_links_are_found_by_the_name_of_their_program() -> None:
    roles = {"raw": "close", "tp": "class", "kprobe": "a b", "usdt": "a_b", "ops": "add"}
    made = hostile.loader(lambda role: roles.get(role, tame(role)))
    links = skeleton_class(made)().links
    for name, attr in zip(
        roles.values(), ("close_", "class_", "a_b", "a_b_2", "add_"), strict=True
    ):
        link: Any = SimpleNamespace(closed=False)
        links.add(name, link)
        assert getattr(links, attr) is link


def test_the_name_of_a_class() -> None:
    # "ArrayOf" has no class of its own, but one for its maps, which is the runtime's.
    made = hostile.loader(lambda role: "array-of" if role == "object" else tame(role))
    assert "class ArrayOf(Collection)" in generate_python(made, embed=False)
    for given_name in ("Größe", "ﬁ", "a b", "", "None", "A" * 1000, "__x__", "Maps", '"'):
        with pytest.raises(lskel.UsageError, match="is not a valid class name"):
            generate_python(made, given_name)


def test_types_of_events_that_are_no_text() -> None:
    made = hostile.loader(tame)
    for given_types in ({"\udcff": "x"}, {tame("ring"): "\udcff"}, {tame("ring"): "\0"}):
        with pytest.raises(lskel.NotFound):
            generate_python(made, event_types=given_types)


def test_type_checkers_see_the_same(tmp_path: Path) -> None:
    found = {
        "pieces": naming(hostile.PIECES),
        "words": naming(hostile.WORDS),
        "alike": naming(["a b", "a_b", "a-b"]),
        "tame": tame,
    }
    for module, one in found.items():
        text = generate_python(hostile.loader(one), embed=module == "words")
        (tmp_path / f"{module}.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental"]
    files = [f"{module}.py" for module in found]
    done = subprocess.run(
        [*command, *files],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("Success: no issues found in 4 source files"), done.stdout
