"""lskel generates a loader for every object that bpftool -L generates one for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import lskel
from tests import corpus
from tests.selftests.reference import generated_by_bpftool, needs_more

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("corpus_tools")]


def outcome(path: Path) -> str:
    """Empty where lskel generates a loader, otherwise the error."""
    try:
        lskel.generate(lskel.open_object(path))
    except lskel.LskelError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


def test_all_of_bpftools() -> None:
    outcomes = {path: outcome(path) for path in corpus.objects()}
    by_bpftool = generated_by_bpftool()
    worse = {
        path.name: why
        for path, why in outcomes.items()
        if why and path in by_bpftool and not needs_more(path)
    }
    left_out = sorted(
        f"{path.stem} ({needs_more(path)})"
        for path, why in outcomes.items()
        if why and path in by_bpftool and needs_more(path)
    )
    counts = Counter(
        (
            "lskel" if not why else "not lskel",
            "bpftool" if path in by_bpftool else "not bpftool",
        )
        for path, why in outcomes.items()
    )
    print(f"{len(outcomes)} objects:", *(f"{' and '.join(k)}: {n};" for k, n in counts.items()))
    print(f"left out for now, {len(left_out)}:", *left_out)
    assert len(outcomes) >= 480
    assert not worse


def test_errors_name_the_file() -> None:
    for path in corpus.objects():
        try:
            lskel.generate(lskel.open_object(path))
        except lskel.LskelError as error:
            text = str(error)
            assert "\n" not in text and len(text) < 500, text
