"""The whole report: lines by section, ways to attach, and what follows for loaders."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from lskel.doctor import attach, files, kernel, loaders, map_types, permission, types
from lskel.doctor.attach import KindLine
from lskel.doctor.finding import Answer, Finding, Line, Probe, ask, fact, not_asked, unknown
from lskel.doctor.object import ObjectReport
from lskel.errors import NotFound
from lskel.loader.model import Form
from lskel.runtime.machine import this_machine


class Section(NamedTuple):
    """A part of the report."""

    id: str
    title: str
    lines: tuple[Line, ...]


class Verdict(NamedTuple):
    """Whether loader programs run here; `form` is the one that `lskel load` makes of an object.

    `works` of `kinds` ways to attach work.
    """

    form: Form | None
    works: int
    kinds: int

    @property
    def runs(self) -> bool:
        """Whether loader programs run, of one form at least."""
        return self.form is not None

    def __str__(self) -> str:
        attach = f"{self.works} of {self.kinds} attach kinds work"
        if self.form is None:
            return f"no loader program runs here; {attach}"
        return f"loaders run here in the {self.form.value} form; {attach}"


class Report(NamedTuple):
    """What a machine allows."""

    sections: tuple[Section, ...]
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


def examine() -> Report:
    """Ask this machine everything; nothing of it stays.

    NotSupported where it is not known to have bpf(2), NotFound where there is no /proc.
    """
    this_machine()
    if not os.path.exists(_STATUS):  # noqa: PTH110
        raise NotFound(f"there is no {_STATUS}", hint="mount -t proc proc /proc")
    known: dict[str, Line] = {}
    sections = [Section(id_, title, tuple(ask(probes, known))) for id_, title, probes in _SECTIONS]
    may = known["permission.maps"]
    if may.finding.answer is Answer.YES:
        kinds = attach.attach_all()
    else:
        kinds = tuple(attach.nothing_tried(not_asked(may)))
    # The table form is the default, and is unrolled where the kernel refuses it.
    forms = (form for form in Form if known[f"loader.{form.value}"].finding.answer is Answer.YES)
    answers = [kind.finding.answer for kind in kinds]
    verdict = Verdict(next(forms, None), answers.count(Answer.YES), len(answers))
    with_form = (_with_form(section, verdict.form) for section in sections)
    return Report(tuple(with_form), kinds, verdict)


def _with_form(section: Section, form: Form | None) -> Section:
    """The section of loaders also says which form is used."""
    if section.id != "loader":
        return section
    said = {
        Form.TABLE: fact("table; unrolled for small objects with --form auto"),
        Form.UNROLLED: fact("unrolled, for table loaders are unrolled here"),
        None: unknown("none of them runs", "--replay direct does without loader programs"),
    }
    line = Line("loader.form", "form that lskel load uses", said[form])
    return section._replace(lines=(*section.lines, line))


def as_json(report: Report) -> dict[str, Any]:
    """The form of --json."""
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
    """The form of --json for an object; with `verbose` the kernel's logs are in it."""
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
