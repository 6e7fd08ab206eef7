"""For programs with one mistake each, the explanation names the cause and the source line."""

from __future__ import annotations

import os

import pytest

from lskel.verifier.causes import CAUSES
from lskel.verifier.explain import explain
from lskel.verifier.render import render
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


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("name", "parts"),
    {
        "null_check_map": (
            "- R0: from bpf_map_lookup_elem",
            "= R0: a pointer to a value of map 'counts' (8 bytes), or NULL; from bpf_map_lookup",
            "if (!seen)",
        ),
        "static_function": (", function add, program count", "- R1: from bpf_map_lookup_elem"),
        "packet_stale": (
            "- bpf_skb_pull_data made it invalid",
            "= R7: was a pointer into the packet",
        ),
        "ringbuf_twice": ("- bpf_ringbuf_submit made it invalid",),
        "ringbuf_not_submitted": ("- the verifier came to here",),
        "call_under_lock": ("- bpf_spin_lock is called",),
        "negative_index": ("; the address of 'table'", "loaded"),
        "stack_of_two": ("outer uses 304 bytes of stack", "combined stack size of 2 calls is"),
        "too_many_branches": ("walked most: too_many_branches.c:",),
        "context_as_buffer": ("= R2: argument 2, the program's context",),
    }.items(),
)
def test_what_else_is_told(name: str, parts: tuple[str, ...]) -> None:
    """Where registers got what they hold, and what happened on the way."""
    program = next(program for program in broken() if program.name == name)
    loader = program.loader()
    text = "\n".join(render(explain(refusal(loader).log, source=loader)))
    assert [part for part in parts if part not in text] == [], text


def test_the_usual_kinds_are_there() -> None:
    causes = {program.cause for program in broken()}
    assert len(broken()) >= 50 and len(causes) >= 25
    assert causes <= {cause.id for cause in CAUSES}
