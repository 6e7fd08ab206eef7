"""For programs with one mistake each, the explanation names the cause and the source line."""

from __future__ import annotations

import os

import pytest

from lskel.verifier.causes import CAUSES
from tests.verifier.broken import Broken, broken
from tests.verifier.expected import check
from tests.verifier.refusals import refusal

RELEASE = os.uname().release


@pytest.mark.kernel
@pytest.mark.parametrize("program", broken(), ids=lambda program: str(program.name))
def test_cause_and_line(program: Broken) -> None:
    if not program.is_refused_by(RELEASE):
        pytest.skip(f"for kernels since {program.since}")
    assert check(program, refusal(program.loader()), RELEASE) == []


def test_the_usual_kinds_are_there() -> None:
    causes = {program.cause for program in broken()}
    assert len(broken()) >= 50 and len(causes) >= 25
    assert causes <= {cause.id for cause in CAUSES}
