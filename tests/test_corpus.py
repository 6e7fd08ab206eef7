"""The corpus itself: its size, and how the reference generator's headers are read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lskel.loader.header import parse_header
from tests import corpus
from tests.corpus import Corpus


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/hello.bpf.o", "hello"), ("test_sockmap_update_elem.o", "test_sockmap_up")],
)
def test_object_name(path: str, name: str) -> None:
    assert corpus.object_name(Path(path)) == name


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
@pytest.mark.parametrize(("of", "least"), [(corpus.V6_1, 490), (corpus.V6_12, 790)], ids=str)
def test_most_selftests_compile(of: Corpus, least: int) -> None:
    # A few look at structures that other kernels than their own spell differently.
    products = corpus.compilations(of)
    assert sum(product.ok for product in products) >= least
    failed = {product.source.name: product.reason for product in products if not product.ok}
    assert len(failed) < 20, failed
    assert all(failed.values())
    assert not [name for name in failed if "linked" in name]


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
@pytest.mark.parametrize(("of", "least"), [(corpus.V6_1, 420), (corpus.V6_12, 680)], ids=str)
def test_light_skeletons_parse(of: Corpus, least: int) -> None:
    headers = [product.path for product in corpus.light_skeletons(of) if product.ok]
    assert len(headers) > least
    for header in headers:
        text = header.read_text()
        sizes = [int(size) for size in re.findall(r"opts\.(?:data|insns)_sz = (\d+);", text)]
        skeleton = parse_header(text)
        blob, insns = skeleton.blob, skeleton.insns
        assert not sizes or [len(blob), len(insns)] == sizes, header
        assert len(insns) % 8 == 0, header


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
def test_parsing_agrees_with_a_c_compiler(tmp_path: Path) -> None:
    header = next(product.path for product in corpus.light_skeletons() if product.ok)
    text = header.read_text()
    literals = re.findall(r'opts(?:\.\w+ = \(void \*\)|_\w+\[\][^"=]*= )("[^"]*")', text)
    source = tmp_path / "literals.c"
    source.write_text(f"char data[] = {literals[0]};\nchar insns[] = {literals[1]};\n")
    subprocess.run(["gcc", "-c", "literals.c"], cwd=tmp_path, check=True)
    subprocess.run(
        ["objcopy", "-O", "binary", "-j", ".data", "literals.o", "literals"],
        cwd=tmp_path,
        check=True,
    )
    content = (tmp_path / "literals").read_bytes()
    skeleton = parse_header(text)
    blob, insns = skeleton.blob, skeleton.insns
    assert content.startswith(blob + b"\0")
    assert content.rstrip(b"\0").endswith(insns.rstrip(b"\0"))
