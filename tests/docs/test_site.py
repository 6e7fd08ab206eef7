"""The site: it builds without a warning, needs no network, and its references leave nothing out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from inspect import ismodule
from pathlib import Path
from typing import Any

import click
import griffe
import pytest

import lskel
from lskel.cli import COMMANDS, cli
from tests.conftest import Run, lacking
from tests.docs.pages import ROOT

API = (ROOT / "docs" / "api.md").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", directory],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return directory


class _Page(HTMLParser):
    """What a page loads, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(str(given["id"]))
        where = given.get("href") if tag == "link" else given.get("src")
        if where:
            self.loads.append(where)


def page(site: Path, name: str) -> _Page:
    return _Page((site / name).read_text())


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    paths = sorted(site.rglob("*.html"))
    assert len(paths) > 20
    for path in paths:
        for place in _Page(path.read_text()).loads:
            assert not re.match(r"(https?:)?//", place), f"{path.name}: {place}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text()), path


def test_one_page_leads_to_all(site: Path) -> None:
    """Every page is reached from the first, by links of the file system alone."""
    seen: set[Path] = set()
    todo = [site / "index.html"]
    while todo:
        path = todo.pop()
        if path in seen or path.suffix != ".html":
            continue
        assert path.exists(), path
        seen.add(path)
        links = re.findall(r'<a[^>]* href="([^"#:]+)[^":]*"', path.read_text())
        todo += [(path.parent / link).resolve() for link in links]
    assert seen == set(site.rglob("*.html")) - {site / "404.html"}


def test_commands(site: Path) -> None:
    text = (site / "cli.html").read_text()
    anchors = page(site, "cli.html").anchors
    for name in COMMANDS:
        assert f"lskel-{name}" in anchors
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert option in text, f"{name} {option}"


def home(name: str) -> str:
    """Where a name of lskel is defined."""
    thing: Any = getattr(lskel, name)
    if ismodule(thing):
        return thing.__name__
    if not hasattr(thing, "__module__"):
        return f"lskel.{name}"
    return f"{thing.__module__}.{thing.__qualname__}"


@pytest.mark.parametrize("name", lskel.__all__)
def test_python_names(name: str, site: Path) -> None:
    """Each is on the page."""
    anchors = page(site, "api.html").anchors
    assert any(anchor.startswith((home(name), f"lskel.{name}")) for anchor in anchors)


def test_classes_of_maps(site: Path) -> None:
    """Those that the page on collections names are explained on that of the API."""
    table = (ROOT / "docs" / "collection.md").read_text().split("## Maps")[1].split("##")[0]
    named = {
        name
        for row in re.findall(r"^\|[^|]*\|([^|]*)\|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert len(named) > 20
    anchors = page(site, "api.html").anchors
    explained = {anchor.rpartition(".")[2] for anchor in anchors if ".runtime.maps." in anchor}
    assert named <= explained, named - explained


def undocumented(thing: griffe.Object | griffe.Alias) -> Iterator[str]:
    """The names of classes, functions and properties that have no docstring."""
    if not thing.is_attribute and not thing.has_docstring:
        yield thing.path
    if thing.is_module or thing.is_class:
        for name, member in thing.members.items():
            if not (name.startswith("_") or member.is_alias or member.is_module):
                yield from undocumented(member)


@pytest.fixture(scope="module")
def package() -> griffe.Object | griffe.Alias:
    """lskel, as its source says it is."""
    return griffe.load("lskel", search_paths=[ROOT / "src"])


@pytest.mark.parametrize("target", re.findall(r"^::: (\S+)$", API, re.MULTILINE))
def test_docstrings(target: str, package: griffe.Object) -> None:
    """All that the page of the API shows says what it is."""
    thing = package[target.removeprefix("lskel.")]
    assert not list(undocumented(thing.final_target if thing.is_alias else thing))


def test_search_without_a_server(site: Path, run: Run) -> None:
    """A browser finds what is searched for, though the site is files only."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        lacking("chromium is not installed")
    dom = run(
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"),
        *("--dump-dom", f"{(site / 'index.html').as_uri()}?q=bpf_loop"),
    )
    found = re.findall(r'<a href="(file:[^"?]*)[^"]*" class="md-search-result__link"', dom)
    assert (site / "loader.html").as_uri() in found
    index = json.loads((site / "search" / "search_index.json").read_text())
    assert {entry["location"].partition("#")[0] for entry in index["docs"]} >= {"cli.html"}
