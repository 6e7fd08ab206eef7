"""The code of programs as data, as far as the page has room."""

from __future__ import annotations

from collections.abc import Iterator

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.enums import ProgType
from lskel.bpf.names import enum_name
from lskel.describe import listing
from lskel.describe.image import ProgramsImage
from lskel.explain.report import BlobRegion, ProgramListing


def explain_code(image: ProgramsImage, regions: tuple[BlobRegion, ...]) -> Iterator[ProgramListing]:
    """All programs of `image`."""
    code_of = {
        use.op: number
        for number, region in enumerate(regions)
        for use in region.uses
        if use.field == "insns"
    }
    left = budget.PAGE_INSTRUCTIONS
    for code in image.programs:
        problem = code.problem
        rows: tuple[listing.Row, ...] = ()
        if i.count(code.insns) <= left:
            rows = listing.rows(image, code)
            left -= i.count(code.insns)
        else:
            room = budget.PAGE_INSTRUCTIONS
            problem = problem or f"omitted: the page has room for {room} instructions"
        files = dict.fromkeys(row.source.file for row in rows if row.source is not None)
        yield ProgramListing(
            code.name,
            code.spec.name,
            enum_name(ProgType, code.type),
            problem,
            None if code.op is None else code_of.get(code.op),
            code.op,
            tuple(files),
            rows,
        )
