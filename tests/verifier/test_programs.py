"""For programs with one mistake each, the explanation names the cause and the source line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import lskel
from lskel.verifier.causes import CAUSES
from lskel.verifier.explain import explain
from lskel.verifier.render import render
from tests.build.clang import compile_bpf
from tests.cli.terminals import LSKEL
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
            "- bpf_skb_pull_data invalidated it",
            "= R7: was a pointer into the packet",
        ),
        "ringbuf_twice": ("- bpf_ringbuf_submit invalidated it",),
        "ringbuf_not_submitted": ("- the verifier got to here",),
        "call_under_lock": ("- bpf_spin_lock is called",),
        "negative_index": ("; the address of 'table'", "loaded"),
        "stack_of_two": ("outer uses 304 bytes of stack", "combined stack size of 2 calls is"),
        "too_many_branches": ("visited most: too_many_branches.c:",),
        "recursion": (", function factorial, program count",),
        "global_function": ("whatever its callers pass", "__arg_nonnull", "if (!argument)"),
        "context_as_buffer": ("= R2: argument 2, the program's context",),
    }.items(),
)
def test_what_else_is_told(name: str, parts: tuple[str, ...]) -> None:
    """Where registers got what they hold, and what happened on the way."""
    program = next(program for program in broken() if program.name == name)
    loader = program.loader()
    text = "\n".join(render(explain(refusal(loader).log, source=loader)))
    assert [part for part in parts if part not in text] == [], text


# Right, but for CAP_PERFMON.
COMPUTED_OFFSET = """
SEC("socket")
int count(struct __sk_buff *skb)
{
	char digits[16] = {};

	digits[skb->len & 15] = 1;
	asm volatile("" ::"r"(&digits[0]) : "memory");
	return digits[skb->mark & 15];
}
"""


@pytest.mark.kernel
def test_without_a_capability(tmp_path: Path) -> None:
    """It is not the program that is blamed."""
    path = tmp_path / "count.bpf.o"
    path.write_bytes(compile_bpf(COMPUTED_OFFSET))
    assert refusal(lskel.generate(lskel.open_object(path))) == ("", ())
    capabilities = "--bounding-set=-all,+bpf,+net_admin,+dac_override"
    command = [*LSKEL, "load", "--replay", "direct", str(path)]
    done = subprocess.run(
        ["setpriv", capabilities, "--inh-caps=-all", *command], capture_output=True, text=True
    )
    assert done.returncode == 1 and "error[privilege]: " in done.stderr, done.stderr
    assert "with CAP_PERFMON in addition to CAP_BPF" in done.stderr


def test_the_usual_kinds_are_there() -> None:
    causes = {program.cause for program in broken()}
    assert len(broken()) >= 50 and len(causes) >= 25
    assert causes <= {cause.id for cause in CAUSES}
