"""Building the report of an object or a loader."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from lskel._version import __version__
from lskel.describe.image import object_image, read_image
from lskel.describe.loader_listing import loader_rows
from lskel.describe.regions import BlobMap, context_layout
from lskel.describe.summary import Summary, summarize
from lskel.describe.tables import TableRecord, steps
from lskel.explain.blob import explain_blob
from lskel.explain.code import explain_code
from lskel.explain.comparison import Side, compare
from lskel.explain.ops import explain_ops
from lskel.explain.report import (
    VERSION,
    BlobRegion,
    LoaderProgram,
    Meta,
    Op,
    ProgramListing,
    Report,
    SourceKind,
)
from lskel.explain.simulation import Simulated, explain_simulation
from lskel.explain.sizes import explain_sizes
from lskel.loader.header import LightSkeleton
from lskel.loader.model import Loader
from lskel.loader.notes import Notes
from lskel.loader.verify import notes_of, undescribed
from lskel.object.model import Object
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.simulator.simulate import simulate
from lskel.replay.trust import check_trace


class ReportInput(NamedTuple):
    """The input of a report, and its loader; `problem` is why an object has none, or that the
    bytes of a bundle do not match its description.

    `file` is the name to show.
    """

    file: str
    source: Object | Loader
    loader: Loader | None
    problem: str = ""


class HeaderInput(NamedTuple):
    """A light skeleton to compare with."""

    file: str
    skeleton: LightSkeleton


class ReportExtras(NamedTuple):
    """Optional parts of the report: durations of a real replay, another loader."""

    options: Options = DEFAULTS
    measure: bool = False
    against: ReportInput | HeaderInput | None = None
    against_options: Options = DEFAULTS


_PLAIN = ReportExtras()


def explain(given: ReportInput, request: ReportExtras = _PLAIN) -> Report:
    """The report; the kernel is used only to measure durations.

    BadInput if the BTF or the records of a loader are broken. UsageError if options do not fit the
    measured loader, NoPermission if this process may not use bpf(2).
    """
    report, side = _explain(given, request.options)
    if request.measure and given.loader is not None:
        from lskel.explain.measure import measure

        check_trace(given.loader)
        measurement = measure(given.loader.trace, request.options)
        report = report._replace(measurement=measurement)
    if request.against is not None:
        other = _other(request.against, request.against_options)
        report = report._replace(against=compare(side, other))
    return report


def _explain(given: ReportInput, options: Options) -> tuple[Report, Side]:
    summary = summarize(given.source)
    # Code refers to maps by their index in this order.
    maps = tuple(sorted(summary.maps, key=lambda a_map: not a_map.autocreate))
    blob, regions, ops = None, tuple[BlobRegion, ...](), tuple[Op, ...]()
    loader, simulated, parts = None, None, None
    if given.loader is not None:
        loader = undescribed(given.loader)
        blob = explain_blob(loader)
        regions = blob.regions
        simulated = explain_simulation(given.loader, options, regions)
        parts = _parts(loader, given.loader.context_size)
        ops = explain_ops(loader.trace, regions, simulated.calls, parts.steps, parts.insns)
    image = (
        object_image(given.source, None if loader is None else loader.trace)
        if isinstance(given.source, Object)
        else read_image(given.source)
    )
    sizes = explain_sizes(regions, ops, maps, summary.programs, summary.sections)
    report = Report(
        version=VERSION,
        meta=_meta(given, summary),
        problem=given.problem,
        btf=summary.btf,
        maps=maps,
        programs=summary.programs,
        externs=summary.externs,
        inputs=summary.inputs,
        sections=summary.sections,
        blob=blob,
        loader=None if parts is None else parts.program,
        ops=ops,
        listings=tuple(explain_code(image, regions)),
        sizes=tuple(sizes),
        simulation=None if simulated is None else simulated.summary,
        measurement=None,
        against=None,
    )
    return report, _side(report, loader, simulated)


def _meta(given: ReportInput, summary: Summary) -> Meta:
    kind: SourceKind = "object" if isinstance(given.source, Object) else "bundle"
    form = given.loader.form.value if given.loader is not None else ""
    return Meta(
        summary.name, given.file, kind, summary.order, summary.license or "", form, __version__
    )


# -- the loader program -----------------------------------------------------------------------


class _Parts(NamedTuple):
    """The loader program, and its parts by the number of their operation."""

    program: LoaderProgram
    steps: dict[int, list[TableRecord]]
    insns: dict[int, tuple[int, int]]


def _parts(loader: Loader, context_size: int) -> _Parts:
    blob, notes = BlobMap(loader), notes_of(loader)
    by_op: dict[int, list[TableRecord]] = {}
    for region, step in steps(loader, blob):
        by_op.setdefault(region.op, []).append(step)
    others = [step for op, found in by_op.items() if op < 0 for step in found]
    program = LoaderProgram(
        len(loader.insns) // 8,
        context_size,
        tuple(context_layout(loader.trace)),
        len(loader.btf),
        len(loader.func_info),
        loader_rows(loader, blob, notes),
        tuple(others),
    )
    return _Parts(program, by_op, _ranges(notes, len(loader.insns) // 8))


def _ranges(notes: Notes | None, end: int) -> dict[int, tuple[int, int]]:
    """The instructions of an operation: up to the next operation or other code."""
    begins = {} if notes is None else notes.begins
    places = pairwise([*begins, end])
    return {
        op: place for op, place in zip(begins.values(), places, strict=False) if isinstance(op, int)
    }


# -- comparing --------------------------------------------------------------------------------


def _side(report: Report, loader: Loader | None, simulated: Simulated | None) -> Side:
    problem = report.problem
    if simulated is not None and simulated.replay is None and simulated.summary.failure:
        problem = simulated.summary.failure.message
    return Side(
        report.meta,
        report.maps,
        report.programs,
        report.listings,
        loader,
        None if simulated is None else simulated.replay,
        problem,
    )


def _other(given: ReportInput | HeaderInput, options: Options) -> Side:
    if isinstance(given, ReportInput):
        return _explain(given, options)[1]
    skeleton = given.skeleton
    context = bytes(skeleton.context_size)
    replay = simulate(skeleton.insns, skeleton.blob, context, skeleton.order)
    meta = Meta("", given.file, "header", skeleton.order, "", "", "")
    listings: tuple[ProgramListing, ...] = ()
    return Side(meta, (), (), listings, None, replay, "")
