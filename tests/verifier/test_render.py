"""Explanations as text: marks stand under what they are of, and hostile logs stay harmless."""

from __future__ import annotations

import pytest

from lskel.verifier.entries import SourceText
from lskel.verifier.explain import explain
from lskel.verifier.explanation import Explanation, Spot
from lskel.verifier.render import WIDTH, render

LONG = "R2 type=ctx expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted"


def explained(text: str, column: int, message: str) -> Explanation:
    """What is said of a message in a line of C."""
    spot = Spot(0, "exit", SourceText(text, "a.c", 7, column))
    return explain([message])._replace(spot=spot, message=message)


@pytest.mark.parametrize("message", ["short", LONG[:60], LONG, LONG * 3])
@pytest.mark.parametrize("before", [0, 4, 40, 70, 90, 150])
@pytest.mark.parametrize("text", ["{}call(x);", "\t{}call(x);", "{}/* é\u4e2d */ call(x);"])
def test_mark_stays_in_its_column(text: str, before: int, message: str) -> None:
    """Whatever the message's length, which is said whole, beside the mark or below it."""
    line = text.format("x" * before)
    column = len(line[: line.index("call")].encode()) + 1
    lines = list(render(explained(line, column, message)))
    at = next(number for number, one in enumerate(lines) if one.startswith("7 | "))
    marks = next(one for one in lines[at + 1 :] if "^" in one)
    assert lines[at][marks.index("^") :].startswith("call(x);")
    end = lines.index("  |", at)
    said = " ".join(one.removeprefix("  |") for one in lines[at + 1 : end]).replace("^", " ")
    assert said.split() == message.split()
    assert all(len(one) <= WIDTH + 4 or one.strip(" |") == "^" for one in lines[at + 1 : end])


def test_long_messages_are_cut() -> None:
    message = "R0 " + "is " * 20_000
    lines = list(render(explain(["0: (95) exit", message])))
    assert any(line.endswith("...") for line in lines) and len(lines) < 20
