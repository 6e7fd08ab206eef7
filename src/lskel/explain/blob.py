"""The blob as data: the owner of each byte, and the bytes, as far as the page has room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from lskel import budget
from lskel.describe.regions import BlobMap, parts
from lskel.explain.report import BlobContent, BlobRegion, BlobRun, BlobString, RegionUse
from lskel.loader.model import Loader

# Runs of one byte of at least this length are stored as that byte.
_RUN = re.compile(rb"(.)\1{63}", re.DOTALL)
# The bytes stored of a truncated range.
START = 4096
# C strings, in regions that may have some.
_TEXT = re.compile(rb"([\t\n\x20-\x7e]{4,})\0")
_WITH_TEXT = ("names", "values", "messages")
MAX_STRINGS, MAX_STRING = 1000, 200


def explain_blob(loader: Loader) -> BlobContent:
    """The whole blob, by region."""
    regions = tuple(_regions(loader))
    strings = islice(_strings(loader.blob, regions), MAX_STRINGS)
    content = tuple(_content(loader.blob, regions))
    return BlobContent(len(loader.blob), regions, content, tuple(strings))


def _regions(loader: Loader) -> Iterator[BlobRegion]:
    blob = BlobMap(loader)
    for part in parts(loader):
        owner = part.regions[0] if part.regions else None
        # A region that overlaps others has no parts.
        whole = owner is not None and (owner.offset, owner.size) == (part.offset, part.size)
        yield BlobRegion(
            part.offset,
            part.size,
            part.kind,
            blob.name(part.offset, -1 if owner is None else owner.op, whole=True),
            tuple(RegionUse(r.op, r.field) for r in part.regions if r.op >= 0),
            tuple(blob.spans(owner)) if owner is not None and whole else (),
        )


def _content(blob: bytes, regions: tuple[BlobRegion, ...]) -> Iterator[BlobRun]:
    """If the budget is too small, the largest ranges of bytes are truncated."""
    turns = iter(range(budget.PAGE_RUNS))
    stretches = [piece for region in regions for piece in _pieces(blob, region, turns)]
    left, cut = budget.PAGE_BYTES, set[int]()
    for piece in sorted(stretches, key=lambda piece: (len(piece.raw), piece.offset)):
        left -= len(piece.raw)
        if left < 0:
            cut.add(piece.offset)
    for piece in stretches:
        if piece.offset in cut and piece.size > START:
            yield BlobRun(piece.offset, START, piece.raw[:START])
            yield BlobRun(piece.offset + START, piece.size - START, b"")
        else:
            yield piece


def _pieces(blob: bytes, region: BlobRegion, turns: Iterator[int]) -> Iterator[BlobRun]:
    """A region as runs of one byte, as far as `turns` allow, and the bytes between them."""
    start, end = region.offset, region.offset + region.size
    for _ in turns:
        run = _RUN.search(blob, start, end)
        if run is None:
            break
        if run.start() > start:
            yield BlobRun(start, run.start() - start, blob[start : run.start()])
        # Not by the pattern itself: its memory use grows with the run.
        other = re.compile(b"[^" + re.escape(run[1]) + b"]").search(blob, run.end(), end)
        start = other.start() if other else end
        yield BlobRun(run.start(), start - run.start(), run[1])
    if start < end:
        yield BlobRun(start, end - start, blob[start:end])


def _strings(blob: bytes, regions: tuple[BlobRegion, ...]) -> Iterator[BlobString]:
    for number, region in enumerate(regions):
        if region.kind in _WITH_TEXT:
            for found in _TEXT.finditer(blob, region.offset, region.offset + region.size):
                yield BlobString(found.start(), number, found[1][:MAX_STRING].decode("ascii"))
