"""Of the kernel's selftests that this kernel refuses, the causes are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

import lskel
from lskel.verifier.causes import CauseLocation
from lskel.verifier.explain import explain
from lskel.verifier.explanation import Explanation
from tests import corpus
from tests.selftests.test_load import SLOW
from tests.verifier.refusals import refusal
from tests.verifier.reviewed import reviewed

# Messages that the table has no cause for, and why; with the objects that show them.
UNCOVERED: dict[str, str] = {}


def explanations() -> dict[str, Explanation]:
    """What is said of each program of each object that is refused with a log."""
    found = {}
    for path in corpus.objects():
        if path.stem in SLOW:
            continue
        try:
            obj = lskel.open_object(path)
        except lskel.LskelError:
            continue
        for program in obj.programs:
            alone = tuple(replace(p, autoload=p.name == program.name) for p in obj.programs)
            try:
                loader = lskel.generate(replace(obj, programs=alone))
            except lskel.LskelError:
                continue
            if log := refusal(loader).log:
                explained = explain(log, program=program.name, source=loader)
                found[f"{path.stem}:{program.name}"] = explained
    return found


@pytest.mark.corpus
@pytest.mark.kernel
@pytest.mark.usefixtures("corpus_tools")
def test_causes_are_known() -> None:
    found = explanations()
    unknown = {name: said.message for name, said in found.items() if said.cause is None}
    print(f"{len(found)} programs are refused, for {len({s.cause for s in found.values()})} causes")
    assert len(found) >= 80
    assert {name: why for name, why in unknown.items() if name not in UNCOVERED} == {}
    assert unknown.keys() >= UNCOVERED.keys(), "some are known by now"
    looked_at = {name: causes for name in found if (causes := reviewed(found[name].message))}
    told = {name: {said.cause.id} for name, said in found.items() if said.cause}
    assert {name: told.get(name) for name in looked_at} == looked_at
    # Other kernels have other words for some.
    others = {found[name].message for name in found.keys() - looked_at.keys()}
    assert len(looked_at) >= 0.8 * len(found), others
    walked = [
        said for said in found.values() if said.cause and said.cause.place is CauseLocation.INSN
    ]
    lines = [said for said in walked if said.spot and said.spot.source and said.spot.source.line]
    # Some fail before the verifier walks them: a symbol is missing, or the license.
    assert len(lines) >= 0.9 * len(walked) >= 60
