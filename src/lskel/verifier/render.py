"""An explanation as text: about fifteen lines at most, the source first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.errors import printable
from lskel.styled_lines import StyledLine, Tone
from lskel.verifier.entries import SourceText
from lskel.verifier.explanation import Explanation, Register, Spot

WIDTH = 96
_TAB = 4
# Source lines farther apart than this are separated by an ellipsis.
_FAR = 4
# The longest message, instruction or register text that is shown.
_LONGEST = 5 * WIDTH
_NO_CAUSE = "the verifier rejects the program"
_ACCEPTED = "the log has no message: the program was accepted"
_CUT_OFF = "the log is truncated: it has neither a message nor its end"


def render(explanation: Explanation) -> Iterator[str]:
    """The lines of the text."""
    kind, title = _headline(explanation)
    yield StyledLine((kind, Tone.ERROR), (f": {title}", Tone.TITLE))
    spots = [explanation.spot, *explanation.others] if explanation.spot else []
    rows = list(_rows(explanation, spots))
    gutter = max((len(row.number) for row in rows), default=1)
    margin = " " * gutter
    bar = (f"{margin} |", Tone.FRAME)
    if place := _place(explanation):
        yield StyledLine((f"{margin}-->", Tone.FRAME), f" {place}")
    if rows:
        yield StyledLine(bar)
    for row in rows:
        yield StyledLine((f"{row.number:>{gutter}} |", Tone.FRAME), f" {row.text}".rstrip())
        for mark, note in row.notes:
            tone = Tone.MARK if mark == "^" else Tone.FRAME
            for line in _noted(mark, note, row):
                indent = " " * (1 + len(line) - len(line.lstrip()))
                yield StyledLine(bar, indent, (line.lstrip(), tone))
    if rows:
        yield StyledLine(bar)
    for label, text in _facts(explanation, is_said=bool(rows)):
        yield from _fact(label, text, gutter)


def _noted(mark: str, note: str, row: _Row) -> list[str]:
    """A mark under its column, and the note beside it, or below if it does not fit."""
    text = _told(note)
    marked = f"{' ' * row.indent}{mark}"
    if len(marked) + 1 + len(text) <= WIDTH:
        return [f"{marked} {text}".rstrip()]
    least = len(row.text) - len(row.text.lstrip())
    indent = " " * min(row.indent, max(least, WIDTH - len(text)), WIDTH // 2)
    below = textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return [marked, *below]


def _told(text: str) -> str:
    """Text of a log, truncated: logs are not trusted."""
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class _Row(NamedTuple):
    """A source line: its number, its text, the position of marks, and the notes below it."""

    number: str
    text: str
    indent: int
    notes: tuple[tuple[str, str], ...]


def _headline(explanation: Explanation) -> tuple[str, str]:
    if cause := explanation.cause:
        return f"error[{cause.id}]", cause.title
    if explanation.message:
        return "error", _NO_CAUSE
    return ("no error", _ACCEPTED) if explanation.whole else ("unknown", _CUT_OFF)


def _place(explanation: Explanation) -> str:
    source = explanation.spot.source if explanation.spot else None
    where = f"{source.file}:{source.line}" if source and source.line else ""
    if where and source and source.column:
        where += f":{source.column}"
    function = f"function {explanation.function}" if explanation.function else ""
    program = f"program {explanation.program}" if explanation.program else ""
    if explanation.function == explanation.program:
        function = ""
    return printable(", ".join(part for part in (where, function, program) if part))


def _rows(explanation: Explanation, spots: list[Spot]) -> Iterator[_Row]:
    """The lines of the spots, and those around the first, in source order."""
    main = explanation.spot
    if main is None or main.source is None:
        return
    marked: dict[SourceText, list[tuple[str, str]]] = {}
    for spot in spots:
        if spot.source is None or spot.source.file != main.source.file:
            continue
        note = ("^", spot.label or explanation.message) if spot is main else ("-", spot.label)
        notes = marked.setdefault(_key(spot.source), [])
        if note not in notes:
            notes.append(note)
    lines: dict[SourceText, SourceText] = {_key(line): line for line in explanation.context}
    lines |= {_key(spot.source): spot.source for spot in reversed(spots) if spot.source}
    shown = [lines[key] for key in lines if key in marked or lines[key] in explanation.context]
    # Without line numbers from the kernel, the first spot is last: the others come before it.
    shown.sort(key=lambda line: (line.line, _key(line) == _key(main.source or line)))
    dent = _dent(shown)
    before = 0
    for line in shown:
        if before and line.line > before + _FAR:
            yield _Row("", "...", 0, ())
        before = line.line
        text = line.text.expandtabs(_TAB)[dent:].rstrip() if line.column else line.text.strip()
        indent = len(text) - len(text.lstrip())
        if line.column:
            # Compilers count columns in bytes.
            left = line.text.encode()[: line.column - 1].decode(errors="ignore")
            indent = max(indent, len(printable(left.expandtabs(_TAB))) - dent)
        yield _Row(str(line.line or ""), printable(text), indent, tuple(marked.get(_key(line), ())))


def _key(line: SourceText) -> SourceText:
    """The identity of a source line."""
    return line._replace(text=line.text.strip(), column=0)


def _dent(lines: Iterable[SourceText]) -> int:
    """The common indentation of all lines."""
    texts = [line.text.expandtabs(_TAB) for line in lines]
    return min((len(text) - len(text.lstrip()) for text in texts), default=0)


def _facts(explanation: Explanation, *, is_said: bool) -> Iterator[tuple[str, str]]:
    cause, spot = explanation.cause, explanation.spot
    if explanation.message and not (is_said and spot and not spot.label):
        yield "kernel", explanation.message
    if spot and spot.text:
        yield f"insn {spot.insn}", spot.text
    for register in explanation.registers:
        told = [part for part in (register.meaning, register.origin) if part]
        if told:
            yield register.name, "; ".join(told) + _elsewhere(register, explanation)
    if explanation.note:
        yield "note", explanation.note
    if cause:
        yield "why", cause.explanation
        yield "try", explanation.suggestion
        if explanation.example:
            yield "", explanation.example


def _elsewhere(register: Register, explanation: Explanation) -> str:
    """The origin of a register's value, if in another file than the one shown."""
    spot, main = register.spot, explanation.spot
    source, shown = spot and spot.source, main and main.source
    if not register.origin or not source or not source.line or not shown:
        return ""
    return f" ({source.file}:{source.line})" if source.file != shown.file else ""


def _fact(label: str, text: str, gutter: int) -> Iterator[str]:
    head = f"{' ' * gutter} = {label}: " if label else " " * (gutter + 8)
    if not label:
        for line in text.splitlines():
            yield StyledLine(head, (line, Tone.CODE))
        return
    wrapped = textwrap.wrap(
        _told(text),
        WIDTH,
        initial_indent=" " * len(head),
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )
    first, *rest = wrapped or [head]
    margin = " " * (gutter + 1)
    yield StyledLine(margin, ("=", Tone.FRAME), " ", (f"{label}:", Tone.LABEL), f" {first.strip()}")
    yield from rest
