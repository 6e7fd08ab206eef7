"""Logs are found in what loaders print, and read whatever the kernel's version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lskel.errors import NotFound
from lskel.runtime.failure import summary
from lskel.verifier.explain import explain
from lskel.verifier.explanation import Explanation
from lskel.verifier.locations import Locations
from lskel.verifier.logs import find_logs, logs_of, marked
from lskel.verifier.program import program_of, programs
from lskel.verifier.render import render
from lskel.verifier.walk import walk
from tests.conftest import lacking
from tests.verifier.broken import broken
from tests.verifier.refusals import refusal

PATHS = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
LOGS = Path(__file__).parent / "logs"


def explained(name: str) -> list[Explanation]:
    text = (LOGS / f"{name}.txt").read_text()
    return [explain(log.lines, program=log.program) for log in find_logs(text)]


# The first is what a program of cilium/ebpf 0.9.1 printed on Linux 6.18; those of the kernels are
# cut from real ones; the others have the forms that the loaders' sources give.
@pytest.mark.parametrize(
    ("name", "program", "cause", "insn", "text", "register"),
    [
        (
            *("cilium-ebpf-0.9.1", "count", "null-check", 8, "*seen += 1;"),
            "R0: a pointer to a value of map 'counts' (8 bytes), or NULL; from bpf_map_lookup_elem",
        ),
        (
            *("aya", "", "null-check", 8, None),
            "R0: a pointer to a value of a map (8 bytes), or NULL; from bpf_map_lookup_elem",
        ),
        (
            *("bcc", "count", "null-check", 9, None),
            "R0: a pointer to a value of a map (8 bytes), or NULL; from bpf_map_lookup_elem",
        ),
        (
            *("journal", "count", "null-check", 7, "*seen += 1;"),
            "R0: a pointer to a value of a map (8 bytes), or NULL; from bpf_map_lookup_elem",
        ),
        (
            *("libbpf-0.5", "count", "unbounded-access", 3, "*(value + index) = 1;"),
            "R7: a pointer to a value of a map (32768 bytes), plus a number from 0 to 4294967295; ",
        ),
        (
            *("iproute2", "classifier/egress", "packet-bounds", 1, None),
            "R2: a pointer into the packet (0 bytes checked); loaded",
        ),
        (
            *("linux-5.10", "", "uninitialized-stack", 8),
            *("return bpf_map_lookup_elem(&counts, &key) != 0;", None),
        ),
        ("linux-4.17", "", "untyped-pointer", 6, None, "R8: the number 0; loaded"),
        (
            *("linux-4.4", "", "null-check", 11, None),
            "R7: a pointer to a value of a map (8 bytes), or NULL; from bpf_map_lookup_elem",
        ),
    ],
)
def test_of_other_loaders(
    name: str, program: str, cause: str, insn: int, text: str | None, register: str | None
) -> None:
    (one,) = explained(name)
    assert one.cause and one.spot
    assert (one.program, one.cause.id, one.spot.insn) == (program, cause, insn)
    assert (one.spot.source and one.spot.source.text) == text
    said = [f"{found.name}: {found.meaning}; {found.origin}" for found in one.registers[:1]]
    assert said == ([] if register is None else [register])


def test_several() -> None:
    first, second = explained("several")
    assert (first.program, second.program) == ("first", "second")
    assert first.cause and first.cause.id == "infinite-loop"
    assert first.spot and first.spot.source and first.spot.source[1:3] == ("two.bpf.c", 10)
    assert second.cause and second.cause.id == "license" and second.spot is None
    text = (LOGS / "several.txt").read_text()
    assert [log.program for log in logs_of(text, "second")] == ["second"]
    with pytest.raises(NotFound, match=r"no log of program 'third' \(available: first, second"):
        logs_of(text, "third")


def test_reports_of_linux_7_3() -> None:
    """Only the report tells where a program fails that the verifier did not walk."""
    recursion, twice = explained("linux-7.3")
    assert recursion.cause and recursion.cause.id == "call-depth"
    assert recursion.spot and recursion.spot.insn == 10
    assert recursion.spot.source and recursion.spot.source[1:3] == ("recursion.c", 12)
    assert recursion.messages == ("recursive call from factorial() to factorial()",)
    assert twice.cause and twice.cause.id == "stale-pointer"
    assert twice.messages == ("R1 type=scalar expected=ringbuf_mem",)
    for log, told in zip(
        find_logs((LOGS / "linux-7.3.txt").read_text()), (recursion, twice), strict=True
    ):
        assert summary(log.lines) == told.message


def test_a_report_of_no_known_cause() -> None:
    """What the kernel says explains it, even if nothing came before."""
    lines = ["Verification failed: Policy: Not today", "Reason:", "  This day is", "  a holiday."]
    for before in ([], ["the clock says no"]):
        told = explain([*before, *lines, "processed 1 insns"])
        assert told.cause is None and told.note == "This day is a holiday."
        assert told.message == (before[0] if before else "Policy: Not today")
        assert summary((*before, *lines)) == (before[0] if before else lines[0])


def test_in_one_line() -> None:
    (log,) = find_logs(
        "2024/08/05 14:10:43 loading objects: field Count: program count: load program: permission "
        "denied: 9: (79) r1 = *(u64 *)(r0 +0): R0 invalid mem access 'map_value_or_null' "
        "(17 line(s) omitted)"
    )
    assert log.program == "count"
    assert log.lines == (
        "9: (79) r1 = *(u64 *)(r0 +0)",
        "R0 invalid mem access 'map_value_or_null'",
    )


@pytest.mark.parametrize("text", ["", "hello\n\nworld", "Error: failed to open object file\n"])
def test_no_log(text: str) -> None:
    assert find_logs(text) == ()
    with pytest.raises(NotFound, match="no verifier log"):
        logs_of(text)


def test_of_two_files() -> None:
    """What was set in a header is not among the lines shown; its place is told."""
    text = (LOGS / "linux-6.18.txt").read_text()
    text = text.replace("@ null_check_map.c:17", "@ lookup.h:5")
    (log,) = find_logs(text)
    said = " ".join(" ".join(render(explain(log.lines))).split())
    assert "*seen += 1;" in said and "__u64 *seen" not in said
    assert "from bpf_map_lookup_elem (lookup.h:5)" in said


def test_message_without_an_end_of_line() -> None:
    """The statistics follow in the same line, and end the log."""
    end = "expected prog array map for tail callprocessed 3 insns (limit 1000000)"
    first, second = find_logs(f"0: (85) call bpf_tail_call#12\n{end}\n0: (95) exit\nR0 !read_ok")
    told = explain(first.lines)
    assert told.message == "expected prog array map for tail call"
    assert told.cause and told.cause.id == "map-type"
    assert second.lines == ("0: (95) exit", "R0 !read_ok")
    assert summary(first.lines) == told.message


def test_tail_call_of_linux_6_1() -> None:
    told = explain(["0: (85) call bpf_tail_call#12", "kernel subsystem misconfigured verifier"])
    assert told.cause and told.cause.id == "map-type"


def test_walked_most() -> None:
    """Lines that the log lacks are those of the object."""
    program = next(program for program in broken() if program.name == "null_check_map")
    text = (LOGS / "linux-6.18.txt").read_text()
    (log,) = find_logs(re.sub(r"(?m)^; .*\n", "", text))
    walked = walk(log.entries())
    assert Locations(walked, None).hottest() == ""
    of_object = program_of(programs(program.loader()), "count", [s.insn for s in walked.steps])
    assert "null_check_map.c:17 (" in Locations(walked, of_object).hottest()


def test_no_message() -> None:
    """A program that was accepted, or a log that is cut off; what loaders say is no message."""
    text = "Loading program\n0: R1=ctx() R10=fp0\n0: (b7) r0 = 0   ; R0=0\n1: (95) exit\n"
    ends = {
        "": "unknown: the log is truncated",
        "processed 2 insns (limit 1000000) max_states_per_insn 0\n": "no error: the log has no",
    }
    for end, told in ends.items():
        (log,) = find_logs(text + end)
        one = explain(log.lines)
        assert (one.message, one.cause, one.spot, one.registers) == ("", None, None, ())
        assert next(render(one)).startswith(told)


def test_marks_are_found_again() -> None:
    lines = ("anything", "0: (95) exit", "R0 !read_ok")
    assert find_logs("\n".join(["before", *marked("one", lines), "after"])) == (("one", lines),)
    assert find_logs("\n".join(marked("", lines))) == (("", lines),)


# By libbpf 1.1, and by bpftool, which has one of its own.
LIBBPF = """
import ctypes, sys
libbpf = ctypes.CDLL("libbpf.so.1")
libbpf.bpf_object__open_file.restype = ctypes.c_void_p
opened = ctypes.c_void_p(libbpf.bpf_object__open_file(sys.argv[1].encode(), None))
sys.exit(not opened or libbpf.bpf_object__load(opened) != 0)
"""


def commands(path: Path, pins: Path) -> dict[str, list[str]]:
    return {
        "libbpf": [sys.executable, "-c", LIBBPF, str(path)],
        "bpftool": ["bpftool", "prog", "loadall", str(path), str(pins / path.stem)],
    }


@pytest.mark.kernel
@pytest.mark.parametrize("loader", commands(Path(), Path()))
def test_of_real_loaders(loader: str, tmp_path: Path, bpffs: Path) -> None:
    """They print more around the same log, of which the same is said, and as much as of lskel's."""
    sample = [program for program in broken() if program.cause in ("null-check", "lock", "license")]
    assert len(sample) >= 8
    for program in sample:
        path = tmp_path / f"{program.name}.bpf.o"
        path.write_bytes(program.compiled())
        command = commands(path, bpffs)[loader]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=PATHS)
        except FileNotFoundError:
            lacking(f"{loader} is not installed")
        assert done.returncode, program.name
        (log,) = find_logs(done.stderr)
        own = refusal(program.loader())
        theirs = explain(log.lines, program=log.program, source=program.loader())
        ours = explain(own.log, program=log.program, source=program.loader())
        assert theirs.program in own.error and log.program
        assert theirs._replace(lines=0) == ours._replace(lines=0)
        assert theirs.cause and theirs.cause.id == program.cause
