"""What each compiler makes of the suite is generated, loads, and does what it should."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lskel
from lskel.loader.model import Form
from tests.compilers.cases import check, sources
from tests.compilers.compilers import COMPILERS, Compiler
from tests.conftest import lacking
from tests.debian import CACHE

# The oldest and the newest ones, and those that have been fetched; LSKEL_ALL=1 fetches the others.
SAMPLE = {COMPILERS[0].name, *(compiler.name for compiler in COMPILERS if compiler.is_newest)}

CASES = [
    pytest.param(compiler, source, id=f"{compiler.name}-{source.name}")
    for compiler in COMPILERS
    for source in sources(compiler.language)
]


@pytest.mark.kernel
@pytest.mark.parametrize(("compiler", "source"), CASES)
def test_suite(compiler: Compiler, source: Path, tmp_path: Path) -> None:
    if not (
        compiler.name in SAMPLE or os.environ.get("LSKEL_ALL") or (CACHE / compiler.name).exists()
    ):
        pytest.skip(f"{compiler.name}: LSKEL_ALL=1 fetches it")
    if why := compiler.missing:
        (pytest.skip if compiler.is_gone and not compiler.is_newest else lacking)(why)
    path = tmp_path / source.with_suffix(".o").name
    assert compiler.compile(source, path) == ""
    obj = lskel.open_object(path)
    for form in Form:
        with lskel.load(lskel.generate(obj, form)) as bpf:
            check(source, bpf)
