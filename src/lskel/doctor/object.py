"""Whether an object would load here and, if not, every problem."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lskel.doctor.diagnosis import DiagnosisItem, PartKind, diagnose
from lskel.doctor.finding import Answer, ReportLine, fact, refused, yes
from lskel.doctor.needs import needs
from lskel.errors import LskelError, NoPermission, ReplayError, UsageError, at
from lskel.loader.model import Bytes, Form, Loader
from lskel.replay.load import open_loader
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.trust import check_bytes, check_trace, with_comparison
from lskel.runtime.loader import check_byte_order
from lskel.runtime.pins import existing, pinnable
from lskel.trace import Trace


class ObjectReport(NamedTuple):
    """Whether an object would load: `items` are the problems, its maps and its programs.

    `form` is the loader's, None for direct replay. `error` is the error of `lskel load`, None if it
    would load; `needs` are the optional kernel features that the object needs.
    """

    name: str
    form: Form | None
    error: LskelError | None
    items: tuple[DiagnosisItem, ...]
    needs: tuple[ReportLine, ...]

    @property
    def loads(self) -> bool:
        """Whether the object would load here."""
        return self.error is None

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.name} would load here"
        in_the_way = dict.fromkeys(
            f"{item.what.value} '{item.name}'" if item.name else item.what.value
            for item in self.items
            if item.finding.answer is Answer.NO
        )
        return f"{self.name} would not load here: {', '.join(in_the_way) or self.error}"


def examine_object(
    loader: Loader, options: Options = DEFAULTS, *, direct: bool = False
) -> ObjectReport:
    """Load an object like `lskel load` and release it; if that fails, find every problem.

    By the loader program or, if `direct`, by direct system calls. Nothing is pinned, registered or
    left. Loaders that attach (--links) attach until released. UsageError for options that do not
    fit the object. Finding the problems takes as long as loading.
    """
    trace = loader.trace
    form = None if direct else loader.form
    try:
        check_byte_order(trace.name, trace.order)
        if direct:
            check_trace(loader)
        else:
            with at(trace.name):
                check_bytes(loader, options)
    except LskelError as error:
        return ObjectReport(trace.name, form, error, (_loader_item(error),), ())
    needed = needs(trace, options.pin_root, direct=direct)
    try:
        _check_pins(trace, options)
        open_loader(loader, options, direct=direct).rehearse()
    except LskelError as error:
        # The trace does not describe bytes that it does not generate.
        is_told = with_comparison(loader).compared is not Bytes.DIFFERENT
        items = tuple(diagnose(trace, options, error)) if is_told else ()
        if not any(item.finding.answer is Answer.NO for item in items):
            items = (_loader_item(error), *items)
        return ObjectReport(trace.name, form, error, items, needed)
    loads = [options.autoload.get(p.name, p.autoload) for p in trace.programs]
    return ObjectReport(trace.name, form, None, tuple(_all_well(trace, loads)), needed)


def _check_pins(trace: Trace, options: Options) -> None:
    """Check that maps with LIBBPF_PIN_BY_NAME can be pinned; pinning is not tried."""
    there, _ = existing(str(options.pin_root))
    is_pinned = any(made.is_pinned for made in trace.maps)
    if is_pinned and not pinnable(there):
        raise UsageError(
            f"{trace.name}: {options.pin_root}: cannot pin: {there} is not writable",
            hint="choose another directory with --pin-root",
        )


def _all_well(trace: Trace, loads: list[bool]) -> Iterator[DiagnosisItem]:
    for made in trace.maps:
        yield DiagnosisItem(PartKind.MAP, made.name, yes())
    for program, is_loaded in zip(trace.programs, loads, strict=True):
        yield DiagnosisItem(
            PartKind.PROGRAM, program.name, yes() if is_loaded else fact("autoload disabled")
        )


def _loader_item(error: LskelError) -> DiagnosisItem:
    """The problem if no operation failed on its own, or none could be tried."""
    finding = refused(error)
    if not isinstance(error, ReplayError):
        return DiagnosisItem(PartKind.LOADER, "", finding)
    is_the_loader = error.op is None and not isinstance(error, NoPermission)
    if is_the_loader and finding.answer is Answer.UNKNOWN:
        finding = finding._replace(remedy=f"{finding.remedy}; or try --replay direct")
    return DiagnosisItem(PartKind.LOADER, "", finding, error.op, error)
