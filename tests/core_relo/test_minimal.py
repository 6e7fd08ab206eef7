"""Minimal BTF gives the same values as the whole, and is no larger than bpftool's."""

from __future__ import annotations

from pathlib import Path

import pytest

from lskel.btf.btf import Btf
from lskel.core_relo.candidates import KernelTypes
from lskel.core_relo.minimal import MinimalBtf
from lskel.core_relo.records import CoreKind
from lskel.core_relo.relocate import CoreOutcome, CoreResult
from lskel.errors import BadObject, NotSupported
from lskel.kernels.files import read_kernel
from lskel.load_phase.core import relocate_trace
from lskel.load_phase.plan import plan
from lskel.object.open import open_object
from lskel.trace import Trace
from tests import bpftool, corpus

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("corpus_tools")]


def answers(outcomes: dict[int, tuple[CoreOutcome, ...]]) -> list[tuple[object, ...]]:
    """What was asked and answered; that no type has a field says the same as that there is none."""
    return [
        (
            outcome.relocation,
            {CoreResult.NO_TYPE: CoreResult.NO_MATCH}.get(
                outcome.answer.result, outcome.answer.result
            ),
            outcome.answer.after,
        )
        for slot in sorted(outcomes)
        for outcome in outcomes[slot]
        if outcome.relocation.question.kind is not CoreKind.TARGET_TYPE_ID
    ]


def without_types(found: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Values without the type ids of their fields, which differ."""
    return [
        (*rest, value and (value.number, value.size, value.is_exact))  # type: ignore[attr-defined]
        for *rest, value in found
    ]


def minimal(trace: Trace, kernel: KernelTypes) -> bytes:
    btf = MinimalBtf(trace.order)
    for outcomes in relocate_trace(trace, kernel).outcomes.values():
        for outcome in outcomes:
            btf.add(outcome.relocation.question.kind, outcome.answer.targets)
    return btf.raw()


def check(path: Path, target: Path, scratch: Path) -> int:
    """The number of relocations compared."""
    try:
        trace = plan(open_object(path))
    except (NotSupported, BadObject):
        return 0
    kernel = read_kernel(target)
    whole = answers(relocate_trace(trace, kernel).outcomes)
    if not whole:
        return 0
    raw = minimal(trace, kernel)
    part = answers(relocate_trace(trace, KernelTypes(Btf(raw))).outcomes)
    assert without_types(part) == without_types(whole), f"{path.name} against {target.name}"
    if bpftool.command():
        bpftool.run("gen", "min_core_btf", target, scratch, path)
        # Where several types of a name have the field, bpftool takes one of them. Then a field that
        # only another has is not found any more.
        if "dup" not in target.stem:
            assert len(raw) <= scratch.stat().st_size, path.name
        theirs = answers(relocate_trace(trace, read_kernel(scratch)).outcomes)
        assert without_types(theirs) == without_types(whole), f"{path.name}: bpftool's"
    return len(whole)


def test_selftests(tmp_path: Path) -> None:
    paths = corpus.objects()[::12]
    assert sum(check(path, corpus.KERNEL_BTF, tmp_path / "btf") for path in paths) > 50


def test_the_kernels_own_tests(tmp_path: Path) -> None:
    objects = [path for path in corpus.objects() if path.stem.startswith("test_core_reloc_")]
    compared = 0
    for target in corpus.objects():
        if target.stem.startswith("btf__core_reloc_") and "err_" not in target.stem:
            what = target.stem.split("__")[1].removeprefix("core_reloc_")
            compared += sum(
                check(path, target, tmp_path / "btf") for path in objects if what in path.stem
            )
    assert compared > 500
