"""docs/loader.md and docs/bundle.md: what is generated is up to date, tables leave nothing out."""

from __future__ import annotations

import re

import pytest

from lskel.loader.blob import RegionKind
from lskel.loader.description import describe
from lskel.loader.generate import generate
from lskel.loader.model import Form
from lskel.loader.records import Code, Condition
from lskel.trace import Op
from tests.build.clang import EXAMPLES
from tests.describe.documents import Part, parts
from tests.describe.samples import loadable

DOCS = EXAMPLES.parent / "docs"
LOADER, BUNDLE = ((DOCS / name).read_text() for name in ("loader.md", "bundle.md"))


@pytest.mark.parametrize("part", list(parts()), ids=lambda part: part.name)
def test_generated_parts(part: Part) -> None:
    assert part.found == part.expected, "run `python -m tests.describe.documents`"


def test_every_part_is_there() -> None:
    assert len({part.name for part in parts()}) == len(Form) + 3


def test_codes_of_records() -> None:
    rows = re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", LOADER, re.MULTILINE)
    assert [(int(number), name) for number, name in rows] == [(c.value, c.name) for c in Code]
    conditions = re.findall(r"(\d) (\w+(?: \w+)*)[,;]", LOADER.split("The condition is")[1][:200])
    assert [int(number) for number, _ in conditions] == [c.value for c in Condition]


def test_fields_of_the_description() -> None:
    table = BUNDLE.split("## The description")[1].split("An entry of `maps`")[0]
    fields = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    optional = ["events", "types"]
    assert set(optional) < set(fields)
    assert [field for field in fields if field not in optional] == [
        *("format", "version", "generator"),
        *describe(generate(loadable())),
    ]


def test_kinds_of_regions() -> None:
    table = BUNDLE.split("### Regions")[1].split("###")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [kind.value for kind in RegionKind]


def test_operations() -> None:
    table = BUNDLE.split("### Operations")[1].split("###")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*)\|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == [op.__name__ for op in Op.__args__]
    for (_, text), op in zip(rows, Op.__args__, strict=True):
        assert set(op.__dataclass_fields__) <= set(re.findall(r"`(\w+)`", text))
