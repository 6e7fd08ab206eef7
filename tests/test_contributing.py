"""CONTRIBUTING.md names files that exist, and all that the models which it names are in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "CONTRIBUTING.md").read_text()
_CODE = re.compile(r"`([^`\n]+)`")


def section(title: str) -> str:
    text = DOCUMENT.partition(f"\n## {title}\n")[2]
    assert text, title
    return text.partition("\n## ")[0]


def named(text: str) -> set[Path]:
    """The files and directories of the repository that a text names."""
    words = {word for word in _CODE.findall(text) if re.match(r"(src|tests|docs|scripts)/", word)}
    return {ROOT / word for word in words if not re.search(r"NAME|[*{<]| ", word)}


def test_what_is_named_exists() -> None:
    places = named(DOCUMENT)
    assert len(places) > 40
    assert [place for place in places if not place.exists()] == []


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("Adding a map type", r"BLOOM_FILTER|BloomFilter"),
        ("Adding an attach kind", r"NetkitProgram|NETKIT_|on_netkit|netkit/"),
        ("Adding an operation", r"LinkCreate"),
    ],
)
def test_where_the_model_is(title: str, model: str) -> None:
    text = section(title)
    assert re.search(model, text)
    places = named(text)
    files = [
        path
        for room in ("src/lskel", "tests", "docs")
        for path in (ROOT / room).rglob("*")
        if path.suffix in (".py", ".md", ".c", ".j2") and path.name != Path(__file__).name
    ]
    having = {path for path in files if re.search(model, path.read_text())}
    assert len(having) > 5
    untold = {path for path in having if not any(path.is_relative_to(place) for place in places)}
    assert untold == set(), title
