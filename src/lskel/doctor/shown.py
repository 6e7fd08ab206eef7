"""A report as people see it: rows, of which those that say the same are one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.doctor.diagnosis import What
from lskel.doctor.finding import Answer, Finding, Line
from lskel.doctor.object import ObjectReport
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
            yield Table(section.title, tuple(_rows(section.lines)))
    kinds = [(kind.group, kind.name, kind.finding) for kind in report.attach]
    yield Table("Attach kinds", tuple(gathered(kinds)))


def _rows(lines: Iterable[Line]) -> Iterator[Row]:
    """A row a line; but those that were not asked for the same reason are one, the last."""
    left: list[tuple[str, str, Finding]] = []
    for _, title, finding in lines:
        if finding.lacks:
            said = f"it needs '{finding.lacks}'"
            left.append(("not asked", title, finding._replace(said=said)))
        else:
            yield Row(finding.answer, title, finding.said, finding.remedy)
    yield from gathered(left)


def object_tables(report: ObjectReport) -> Iterator[Table]:
    """That of an object; what the kernel said of a program is in `said`, in one line."""
    if report.needs:
        rows = (Row(f.answer, title, f.said, f.remedy) for _, title, f in report.needs)
        yield Table("Needs", tuple(rows))
    for title, kinds in _PARTS.items():
        items = [item for item in report.items if item.what in kinds]
        if items:
            named = [(item.what.value, item.name, item.finding) for item in items]
            yield Table(title, tuple(gathered(named)))


_PARTS = {
    "In the way": (What.LOADER, What.KCONFIG, What.BTF, What.EXTERN),
    "Maps": (What.MAP,),
    "Programs": (What.PROGRAM,),
}


def gathered(named: Iterable[tuple[str, str, Finding]]) -> Iterator[Row]:
    """One row for those of a group of which the same was found, with their names."""
    together: dict[tuple[str, Finding], list[str]] = {}
    for group, name, finding in named:
        together.setdefault((group, finding), []).append(name)
    for (group, finding), names in together.items():
        said = ": ".join(filter(None, (", ".join(names), finding.said)))
        remedy = "" if finding.lacks else finding.remedy  # that of what it needs
        yield Row(finding.answer, group, said, remedy)
