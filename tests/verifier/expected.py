"""What an explanation of a broken program must say."""

from __future__ import annotations

from pathlib import Path

from lskel.verifier.causes import CauseLocation
from lskel.verifier.entries import SourceText
from lskel.verifier.explain import explain
from lskel.verifier.explanation import Explanation
from lskel.verifier.render import render
from tests.verifier.broken import Broken, version_of
from tests.verifier.refusals import Refusal

# Before it, logs have the text of source lines only.
_NUMBERS_LINES = (6, 9)
# An explanation is to be read at a glance.
MAX_LINES = 20


def check(program: Broken, refusal: Refusal, release: str) -> list[str]:
    """What is wrong with the explanations of a refusal, with the object and without it."""
    if not refusal.log:
        return [f"{program.name}: no log: {refusal.error or 'it loads'}"]
    loader = program.loader()
    wrong = _check(program, explain(refusal.log, source=loader), numbered=True)
    explained = explain(refusal.log)
    # Without the object nobody knows lines of what the verifier did not walk.
    if explained.cause and explained.cause.place is CauseLocation.INSN and _source(explained):
        numbered = version_of(release) >= _NUMBERS_LINES
        wrong += _check(program, explained, numbered=numbered)
    elif (cause := _cause(explained)) != program.cause:
        wrong.append(f"{program.name}: without the object: cause {cause}")
    return wrong


def _cause(explained: Explanation) -> str | None:
    return explained.cause.id if explained.cause else None


def _source(explained: Explanation) -> SourceText | None:
    return explained.spot.source if explained.spot else None


def _check(program: Broken, explained: Explanation, *, numbered: bool) -> list[str]:
    wrong = []
    if (cause := _cause(explained)) != program.cause:
        wrong.append(f"cause {cause} of: {explained.message}")
    source = _source(explained)
    line = None if source is None else source.line
    if line != (program.line if numbered or program.line is None else 0):
        wrong.append(f"line {line}")
    if program.line and source and source.text.strip() != program.text(program.line):
        wrong.append(f"text {source.text!r}")
    if numbered and program.line and source and Path(source.file).name != f"{program.name}.c":
        wrong.append(f"file {source.file}")
    lines = list(render(explained))
    if len(lines) > MAX_LINES or any(len(line) > 120 for line in lines):
        wrong.append(f"{len(lines)} lines, the longest of {max(map(len, lines))}")
    return [f"{program.name}: {what}" for what in wrong]
