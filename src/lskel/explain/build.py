"""Making the report of an object or a loader."""

from __future__ import annotations

from typing import NamedTuple

from lskel._version import __version__
from lskel.describe.image import read_image
from lskel.describe.loader_listing import LoaderCode, loader_code
from lskel.describe.regions import BlobMap
from lskel.describe.summary import Summary, summarize
from lskel.describe.tables import steps
from lskel.explain.blob import explain_blob
from lskel.explain.code import explain_code
from lskel.explain.ops import explain_ops
from lskel.explain.report import VERSION, LoaderProgram, Meta, Report, Row, SourceKind, Step
from lskel.explain.simulation import explain_simulation
from lskel.explain.sizes import explain_sizes
from lskel.loader.model import Loader
from lskel.object.model import Object
from lskel.replay.options import DEFAULTS, Options


class Explained(NamedTuple):
    """What is to be explained: an object if there is one, and its loader, or why there is none.

    `file` is the name to show.
    """

    file: str
    obj: Object | None
    loader: Loader | None
    problem: str = ""


def explain(given: Explained, options: Options = DEFAULTS) -> Report:
    """The report; no kernel is asked.

    BadInput where the BTF or the records of a loader are broken.
    """
    source = given.obj or given.loader
    assert source is not None
    loader = given.loader
    summary = summarize(source)
    image = read_image(source)
    trace = None if loader is None else loader.trace
    blob = None if loader is None else explain_blob(loader)
    regions = () if blob is None else blob.regions
    simulated = None if loader is None else explain_simulation(loader, options, regions)
    parts = None if loader is None else _parts(loader)
    # Code refers to maps by this order.
    maps = tuple(sorted(summary.maps, key=lambda a_map: not a_map.autocreate))
    ops = (
        explain_ops(trace, regions, simulated.calls, parts.steps, parts.insns)
        if trace is not None and simulated is not None and parts is not None
        else ()
    )
    return Report(
        VERSION,
        _meta(given, summary),
        given.problem,
        summary.btf,
        maps,
        summary.programs,
        summary.externs,
        summary.inputs,
        summary.sections,
        blob,
        None if parts is None else parts.program,
        ops,
        tuple(explain_code(image, trace, regions)),
        tuple(explain_sizes(regions, ops, maps, summary.programs, summary.sections)),
        None if simulated is None else simulated.summary,
        None,
        None,
    )


def _meta(given: Explained, summary: Summary) -> Meta:
    kind: SourceKind = "bundle" if given.obj is None else "object"
    form = given.loader.form.value if given.loader is not None else ""
    return Meta(summary.name, given.file, kind, summary.order, summary.license, form, __version__)


class _Parts(NamedTuple):
    """The loader program, and what of it belongs to single operations, by their number."""

    program: LoaderProgram
    steps: dict[int, list[Step]]
    insns: dict[int, tuple[int, int]]


def _parts(loader: Loader) -> _Parts:
    blob = BlobMap(loader)
    code = loader_code(loader, blob)
    by_op: dict[int, list[Step]] = {}
    for step in steps(loader, blob):
        by_op.setdefault(step.region.op, []).append(Step(step.number, step.raw, step.text))
    others = [step for op, found in by_op.items() if op < 0 for step in found]
    program = LoaderProgram(
        len(loader.insns) // 8,
        loader.context_size,
        len(loader.btf),
        len(loader.func_info),
        tuple(Row(*row, ()) for row in code.rows),
        tuple(others),
    )
    return _Parts(program, by_op, _ranges(code))


def _ranges(code: LoaderCode) -> dict[int, tuple[int, int]]:
    """From where an operation begins to where the next does, or something else."""
    begins = sorted((insn, op) for op, insn in code.begins.items())
    labelled = [row.insn for row in code.rows if row.label]
    end = len(code.rows) and code.rows[-1].insn + 1
    return {
        op: (insn, next((place for place in labelled if place > insn), end)) for insn, op in begins
    }
