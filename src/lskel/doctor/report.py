"""The whole report: lines by section, attach kinds, and the verdict for loaders."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from lskel.doctor import attach, files, kernel, loaders, map_types, permission, types
from lskel.doctor.attach import KindLine
from lskel.doctor.finding import Answer, Finding, Probe, ReportLine, ask, fact, not_asked, unknown
from lskel.doctor.object import ObjectReport
from lskel.errors import NotFound
from lskel.loader.model import Form
from lskel.runtime.machine import this_machine


class ReportSection(NamedTuple):
    """A part of the report."""

    id: str
    title: str
    lines: tuple[ReportLine, ...]


class Verdict(NamedTuple):
    """Whether loader programs run here; `form` is the form that `lskel load` uses.

    `works` of `kinds` attach kinds work.
    """

    form: Form | None
    works: int
    kinds: int

    @property
    def runs(self) -> bool:
        """Whether loader programs of at least one form run."""
        return self.form is not None

    def __str__(self) -> str:
        attach = f"{self.works} of {self.kinds} attach kinds work"
        if self.form is None:
            return f"loaders do not run here; {attach}"
        return f"loaders run here in the {self.form.value} form; {attach}"


class MachineReport(NamedTuple):
    """What a machine supports."""

    sections: tuple[ReportSection, ...]
    attach: tuple[KindLine, ...]
    verdict: Verdict


_STATUS = "/proc/self/status"

_SECTIONS: tuple[tuple[str, str, tuple[Probe, ...]], ...] = (
    ("permission", "Permission", permission.PROBES),
    ("kernel", "Kernel", kernel.PROBES),
    ("btf", "BTF", types.PROBES),
    ("loader", "Loader programs", loaders.PROBES),
    ("files", "Files", files.probes()),
    ("maps", "Maps", map_types.PROBES),
)


def examine() -> MachineReport:
    """Test everything on this machine; nothing stays.

    NotSupported if it has no bpf(2) syscall number in lskel, NotFound if /proc is not mounted.
    """
    this_machine()
    if not os.path.exists(_STATUS):  # noqa: PTH110
        raise NotFound(f"{_STATUS} not found", hint="mount -t proc proc /proc")
    known: dict[str, ReportLine] = {}
    sections = [
        ReportSection(id_, title, tuple(ask(probes, known))) for id_, title, probes in _SECTIONS
    ]
    may = known["permission.maps"]
    if may.finding.answer is Answer.YES:
        kinds = attach.attach_all()
    else:
        kinds = tuple(attach.nothing_tried(not_asked(may)))
    # The table form is the default; it is unrolled if the kernel refuses it.
    forms = (form for form in Form if known[f"loader.{form.value}"].finding.answer is Answer.YES)
    answers = [kind.finding.answer for kind in kinds]
    verdict = Verdict(next(forms, None), answers.count(Answer.YES), len(answers))
    with_form = (_with_form(section, verdict.form) for section in sections)
    return MachineReport(tuple(with_form), kinds, verdict)


def _with_form(section: ReportSection, form: Form | None) -> ReportSection:
    """Add the form that is used to the section of loaders."""
    if section.id != "loader":
        return section
    said = {
        Form.TABLE: fact("table; unrolled for small objects with --form auto"),
        Form.UNROLLED: fact("unrolled: table loaders are unrolled here"),
        None: unknown("none runs", "--replay direct works without loader programs"),
    }
    line = ReportLine("loader.form", "form used by lskel load", said[form])
    return section._replace(lines=(*section.lines, line))


def as_json(report: MachineReport) -> dict[str, Any]:
    """The report as --json prints it."""
    return {
        "runs": report.verdict.runs,
        "form": None if report.verdict.form is None else report.verdict.form.value,
        "verdict": str(report.verdict),
        "sections": {
            section.id: [
                {"id": line.id, "title": line.title, **_finding(line.finding)}
                for line in section.lines
            ]
            for section in report.sections
        },
        "attach": [
            {"kind": kind.name, "group": kind.group, **_finding(kind.finding)}
            for kind in report.attach
        ],
    }


def _finding(finding: Finding) -> dict[str, str | None]:
    answer = finding.answer
    return {
        "answer": None if answer is None else answer.value,
        "said": finding.said,
        "remedy": finding.remedy,
    }


def object_as_json(report: ObjectReport, *, verbose: bool) -> dict[str, Any]:
    """The report of an object as --json prints it; with `verbose`, including the kernel's logs."""
    return {
        "object": report.name,
        "form": None if report.form is None else report.form.value,
        "loads": report.loads,
        "verdict": str(report),
        "error": None if report.error is None else str(report.error),
        "needs": [
            {"id": line.id, "title": line.title, **_finding(line.finding)} for line in report.needs
        ],
        "items": [
            {
                "what": item.what.value,
                "name": item.name,
                "op": item.op,
                **_finding(item.finding),
                **({"log": list(item.error.log) if item.error else []} if verbose else {}),
            }
            for item in report.items
        ],
    }
