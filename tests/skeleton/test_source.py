"""What may stand in a generated file: nothing of an input as it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest

import lskel.skeleton
from lskel.skeleton import python
from lskel.skeleton.python_source import literal
from lskel.skeleton.source import Source, join, source, template

ROOM = Path(lskel.skeleton.__file__).parent
MODULES = sorted(ROOM.glob("*.py"))
TEMPLATES = sorted((ROOM / "templates").glob("*.j2"))
# Those that make Source of what they are given.
MAKERS = {"source.py", "python_source.py", "c_source.py"}
# Filters that may stand between quotes, or in a comment.
WITHIN = ("docstring", "comment")


def test_only_source_and_numbers_get_in() -> None:
    made = source("{} = {:#x}", source("a"), 16)
    assert (made, type(made)) == ("a = 0x10", Source)
    assert join(", ", [made, 1]) == "a = 0x10, 1"
    assert source("{}", source("{{0}}{{}}")) == "{0}{}"
    bad: tuple[object, ...] = ("a", None, True, 1.5, [source("a")])
    for value in bad:
        with pytest.raises(TypeError, match="unquoted"):
            source("{}", value)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="unquoted"):
            source("{a}", a=value)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="unquoted"):
            join("", [value])  # type: ignore[list-item]


def test_templates_take_nothing_else() -> None:
    made = template("skeleton.py.j2", python._FILTERS).environment.from_string("{{ value }}")
    assert made.render(value=literal("{{ x }}")) == '"{{ x }}"'
    assert made.render(value=5) == "5"
    for value in ("a", None, ["a"], 1.5):
        with pytest.raises(TypeError, match="unquoted"):
            made.render(value=value)
    with pytest.raises((TypeError, jinja2.UndefinedError)):
        made.render()


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            # Texts have a method `join`, type writers have one called `source`.
            if name in names and (isinstance(called, ast.Name) or name == "Source"):
                yield node


def faults(text: str, *, may_make: bool) -> Iterator[str]:
    """What a module does that could make Source of an input."""
    tree = ast.parse(text)
    for call in calls(tree, "source", "join"):
        first = call.args[0] if call.args else None
        if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
            yield ast.unparse(call)
    if not may_make:
        yield from (ast.unparse(call) for call in calls(tree, "Source"))
        # Under another name it would not be seen.
        for node in ast.walk(tree):
            if isinstance(node, ast.alias) and node.name in ("Source", "source", "join"):
                yield from [f"as {node.asname}"] if node.asname else []
            elif isinstance(node, ast.ClassDef | ast.Assign) and "Source" in map(
                ast.unparse, getattr(node, "bases", None) or [getattr(node, "value", node)]
            ):
                yield ast.unparse(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_texts_are_constants(path: Path) -> None:
    assert [*faults(path.read_text(), may_make=path.name in MAKERS)] == []


def test_faults_are_seen() -> None:
    bad = (
        'source(f"{name}")',
        "source(name)",
        "source()",
        'source(*["a"])',
        'join(name, ["a"])',
        "Source(name)",
        "module.Source(name)",
        "from lskel.skeleton.source import source as f",
        "make = Source",
        "class Other(Source): pass",
    )
    for text in bad:
        assert [*faults(text, may_make=False)], text
    assert not [*faults('source("{}", name); ", ".join(name); writer.source()', may_make=False)]
    assert [*faults("source(name)", may_make=True)]


# Literals and comments, by the language of a template.
_STRINGS = r'"[^"\n]*"|\'[^\'\n]*\''
_QUOTED = {
    ".py": re.compile(rf'"""(?:.|\n)*?"""|\'\'\'(?:.|\n)*?\'\'\'|{_STRINGS}|#[^\n]*'),
    ".h": re.compile(rf"/\*(?:.|\n)*?\*/|//[^\n]*|{_STRINGS}"),
}
_OUTPUT = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)


def quoted_outputs(text: str, language: str) -> Iterator[str]:
    """Outputs between quotes, or in comments, that are made for somewhere else."""
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}", "", text, flags=re.DOTALL)
    # Outputs may have quotes themselves.
    outputs: list[str] = []

    def number(found: re.Match[str]) -> str:
        outputs.append(found[1].strip())
        return f"<<{len(outputs) - 1}>>"

    for part in _QUOTED[language].findall(_OUTPUT.sub(number, text)):
        for index in re.findall(r"<<(\d+)>>", part):
            output = outputs[int(index)]
            if output.rpartition("|")[2].strip() not in WITHIN:
                yield output


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_do_not_quote(path: Path) -> None:
    assert [*quoted_outputs(path.read_text(), Path(path.stem).suffix)] == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (".py", 'x = "{{ a }}"'),
        (".py", "# {{ a }}"),
        (".py", '"""a\n{{ a | literal }}\n"""'),
        (".py", "'{{- a -}}'"),
        (".h", 'x = "{{ a }}";'),
        (".h", "x = '{{ a }}';"),
        (".h", "/* it's\n{{ a | literal }} */"),
        (".h", '#error "{{ a }}"'),
        (".h", "// {{ a }}"),
    ],
)
def test_quoted_outputs_are_seen(language: str, text: str) -> None:
    assert len([*quoted_outputs(text, language)]) == 1


def test_other_outputs_may_be() -> None:
    assert not [*quoted_outputs('{{ a }} = {{ "b" | literal }}  # {{ a | comment }} "it"', ".py")]
    assert not [*quoted_outputs("#if {{ a }} /* it's {{ a | comment }} */ {{ b }} 'c'", ".h")]
