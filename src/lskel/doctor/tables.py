"""A report as tables: rows with the same finding are merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.doctor.diagnosis import PartKind
from lskel.doctor.finding import Answer, Finding, ReportLine
from lskel.doctor.object import ObjectReport
from lskel.doctor.report import MachineReport

MARKS = {Answer.YES: "ok", Answer.NO: "no", Answer.UNKNOWN: "?", None: ""}


class TableRow(NamedTuple):
    """A row; `answer` decides its mark, None for facts."""

    answer: Answer | None
    title: str
    said: str
    remedy: str


class Table(NamedTuple):
    """A part of the report."""

    title: str
    rows: tuple[TableRow, ...]


# The sections with one line per type.
_OF_KINDS = ("maps",)


def tables(report: MachineReport) -> Iterator[Table]:
    """The whole report."""
    for section in report.sections:
        if section.id in _OF_KINDS:
            named = [("map types", line.title, line.finding) for line in section.lines]
            yield Table(section.title, tuple(merged_rows(named)))
        else:
            yield Table(section.title, tuple(_rows(section.lines)))
    kinds = [(kind.group, kind.name, kind.finding) for kind in report.attach]
    yield Table("Attach kinds", tuple(merged_rows(kinds)))


def _rows(lines: Iterable[ReportLine]) -> Iterator[TableRow]:
    """One row per line; probes not tested for the same reason are merged in a row at the end."""
    left: list[tuple[str, str, Finding]] = []
    for _, title, finding in lines:
        if finding.lacks:
            said = f"needs '{finding.lacks}'"
            left.append(("not tested", title, finding._replace(said=said)))
        else:
            yield TableRow(finding.answer, title, finding.said, finding.remedy)
    yield from merged_rows(left)


def object_tables(report: ObjectReport) -> Iterator[Table]:
    """The report of an object; `said` has the kernel's error on one line."""
    if report.needs:
        rows = (TableRow(f.answer, title, f.said, f.remedy) for _, title, f in report.needs)
        yield Table("Needs", tuple(rows))
    for title, kinds in _PARTS.items():
        items = [item for item in report.items if item.what in kinds]
        if items:
            named = [(item.what.value, item.name, item.finding) for item in items]
            yield Table(title, tuple(merged_rows(named)))


_PARTS = {
    "Problems": (PartKind.LOADER, PartKind.KCONFIG, PartKind.BTF, PartKind.EXTERN),
    "Maps": (PartKind.MAP,),
    "Programs": (PartKind.PROGRAM,),
}


def merged_rows(named: Iterable[tuple[str, str, Finding]]) -> Iterator[TableRow]:
    """One row for the names of a group with the same finding."""
    together: dict[tuple[str, Finding], list[str]] = {}
    for group, name, finding in named:
        together.setdefault((group, finding), []).append(name)
    for (group, finding), names in together.items():
        said = ": ".join(filter(None, (", ".join(names), finding.said)))
        remedy = "" if finding.lacks else finding.remedy  # the remedy is that of what it needs
        yield TableRow(finding.answer, group, said, remedy)
