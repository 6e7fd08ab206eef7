"""The page: one file that asks for nothing, and whatever names are in it stay text."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lskel import budget
from lskel.describe.jsonable import jsonable
from lskel.explain.blob import START
from lskel.explain.build import explain
from lskel.explain.page import page, to_json
from lskel.explain.report import Report
from lskel.object.model import Object
from lskel.object.open import open_object
from tests.build.clang import example
from tests.build.elf import one_program
from tests.explain.check import MAX_PAGE, check, content
from tests.explain.samples import given, of_object, sample

HOSTILE = "</script></title><img src=x onerror=alert(1)>{{report}}{{title}}\"'&<!--"


class Page(HTMLParser):
    """The elements of a page, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag if dict(attrs).get("id") != "report" else "report"

    def handle_endtag(self, tag: str) -> None:
        self._open = "" if tag != "p" else self._open

    def handle_data(self, data: str) -> None:
        self.texts[self._open] = self.texts.get(self._open, "") + data

    def report(self) -> object:
        """What the page is about."""
        return json.loads(gzip.decompress(base64.b64decode(self.texts["report"])))


def parsed(report: Report) -> Page:
    return Page(page(report).decode())


def test_holds_the_report() -> None:
    report, _ = sample("execsnoop")
    found = parsed(report)
    assert found.report() == json.loads(json.dumps(jsonable(report)))
    assert found.texts["title"] == "execsnoop.bpf.o - lskel explain"
    assert ("html", {"lang": "en"}) in found.elements


def test_asks_for_nothing() -> None:
    report, _ = sample("execsnoop")
    found = parsed(report)
    policies = [
        attrs["content"]
        for tag, attrs in found.elements
        if tag == "meta" and attrs.get("http-equiv", "") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    words = (rule.split() for rule in (policies[0] or "").split(";") if rule.strip())
    rules = {word: allowed for word, *allowed in words}
    assert rules["default-src"] == ["'none'"]
    sources = {source for allowed in rules.values() for source in allowed}
    assert not [s for s in sources if "http" in s or s in ("*", "'self'", "'unsafe-eval'")]
    for tag, attrs in found.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert not attrs.get(name) or str(attrs[name]).startswith(("#", "data:")), (tag, attrs)


def test_without_scripts_there_is_a_summary() -> None:
    report, loader = sample("execsnoop")
    text = parsed(report).texts["p"]
    assert "execsnoop: object, little-endian, 2 maps, 1 programs" in text
    assert f"{len(loader.blob)} bytes of data, {len(loader.trace.ops)} operations" in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    data = bytes(one_program("raw_tp/" + HOSTILE, name=HOSTILE, licence=HOSTILE.encode() + b"\0"))
    found = of_object(open_object(data, HOSTILE), HOSTILE)
    assert found.loader is not None
    report = explain(found)
    check(report, found.loader)
    shown = parsed(report)
    plain_report, _ = sample("hello")
    tags = [tag for tag, _ in shown.elements]
    assert tags == [tag for tag, _ in parsed(plain_report).elements]
    assert shown.texts["title"] == f"{HOSTILE} - lskel explain"
    assert shown.report() == json.loads(to_json(report))
    assert HOSTILE in json.dumps(jsonable(report), ensure_ascii=False).replace('\\"', '"')


def test_names_that_are_no_utf_8() -> None:
    data = bytes(one_program(name="prog", licence=b"G\xff\xfePL\0"))
    found = of_object(open_object(data, "x"), os.fsdecode(b"bad\xff\x1b[0m.o"))
    report = explain(found)
    shown = parsed(report)
    assert shown.texts["title"].startswith("bad")
    assert "\x1b" not in shown.texts["title"]
    assert shown.report() == json.loads(to_json(report))


def test_same_bytes_whatever_the_hash_seed() -> None:
    command = [sys.executable, "-m", "lskel", "explain", str(example("iptop")), "-o", "-"]
    pages = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(pages) == 1


# -- large data -------------------------------------------------------------------------------


def test_zeros_are_kept_as_one_byte() -> None:
    found = given("char buffer[16 << 20] = {1};" + _USE)
    report = explain(found)
    assert found.loader is not None and len(found.loader.blob) > 16 << 20
    check(report, found.loader)
    assert len(page(report)) < 300_000


def test_what_does_not_fit_is_left_out_and_said_so() -> None:
    size = 6 << 20
    noise = random.Random(1).randbytes(size)
    obj = given(f"char buffer[{size}] = {{1}};" + _USE).source
    assert isinstance(obj, Object)
    changed = obj.with_map("sample.data", initial=noise)
    found = of_object(changed, "noise.bpf.o")
    assert found.loader is not None
    report = explain(found)
    check(report, found.loader)
    assert report.blob is not None
    left_out = [piece for piece in report.blob.content if not piece.raw]
    assert [piece.size for piece in left_out] == [size - START]
    kept = sum(len(piece.raw) for piece in report.blob.content)
    assert START < kept < budget.PAGE_BYTES
    before = next(p for p in report.blob.content if p.offset + p.size == left_out[0].offset)
    assert content(before) == noise[:START]
    assert len(page(report)) < MAX_PAGE


_USE = """
SEC("raw_tp/sys_enter") int use(void *ctx) { return buffer[bpf_get_prandom_u32() & 15]; }
"""


@pytest.mark.parametrize("name", ["title", "summary", "report"])
def test_frame_has_each_placeholder_once(name: str) -> None:
    from importlib.resources import files

    frame = files("lskel.explain").joinpath("assets").joinpath("page.html").read_text("utf-8")
    assert frame.count(f"{{{{{name}}}}}") == 1
    assert len(re.findall(r"\{\{\w+\}\}", frame)) == 3
