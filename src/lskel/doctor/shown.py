"""A report as people see it: rows, of which those that say the same are one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.doctor.finding import Answer, Finding
from lskel.doctor.report import Report

MARKS = {Answer.YES: "ok", Answer.NO: "no", Answer.UNKNOWN: "?", None: ""}


class Row(NamedTuple):
    """A line: `answer` is its mark's, None for facts."""

    answer: Answer | None
    title: str
    said: str
    remedy: str


class Table(NamedTuple):
    """A part of the report."""

    title: str
    rows: tuple[Row, ...]


# These have a line for each of many of one kind.
_OF_KINDS = ("maps",)


def tables(report: Report) -> Iterator[Table]:
    """The whole report."""
    for section in report.sections:
        if section.id in _OF_KINDS:
            named = [("types of maps", line.title, line.finding) for line in section.lines]
            yield Table(section.title, tuple(gathered(named)))
        else:
            rows = (Row(f.answer, title, f.said, f.remedy) for _, title, f in section.lines)
            yield Table(section.title, tuple(rows))
    kinds = [(kind.group, kind.name, kind.finding) for kind in report.attach]
    yield Table("Attach kinds", tuple(gathered(kinds)))


def gathered(named: Iterable[tuple[str, str, Finding]]) -> Iterator[Row]:
    """One row for those of a group that have the same answer and remedy, with their names."""
    together: dict[tuple[str, Answer | None, str], list[tuple[str, str]]] = {}
    for group, name, finding in named:
        key = (group, finding.answer, finding.remedy)
        together.setdefault(key, []).append((name, finding.said))
    for (group, answer, remedy), members in together.items():
        names = ", ".join(name for name, _ in members)
        said = members[0][1]
        yield Row(answer, group, f"{names}: {said}" if said else names, remedy)
