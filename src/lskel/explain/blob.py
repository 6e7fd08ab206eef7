"""The blob as data: whose each byte is, and the bytes themselves, as far as the page has room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from lskel import budget
from lskel.describe.regions import BlobMap, parts
from lskel.explain.report import Blob, Region, RegionUse, Stretch, Text
from lskel.loader.model import Loader

# A run of one byte that is as long, or longer, is kept as that byte.
_RUN = re.compile(rb"(.)\1{63}", re.DOTALL)
# Bytes that are kept of a stretch that is cut.
START = 4096
# Strings of C, where there may be some.
_TEXT = re.compile(rb"([\t\n\x20-\x7e]{4,})\0")
_WITH_TEXT = ("names", "values", "messages")
MAX_STRINGS, MAX_STRING = 1000, 200


def explain_blob(loader: Loader) -> Blob:
    """The whole blob, by what lies where."""
    regions = tuple(_regions(loader))
    strings = islice(_strings(loader.blob, regions), MAX_STRINGS)
    content = tuple(_content(loader.blob, regions))
    return Blob(len(loader.blob), regions, content, tuple(strings))


def _regions(loader: Loader) -> Iterator[Region]:
    blob = BlobMap(loader)
    for part in parts(loader):
        owner = part.regions[0] if part.regions else None
        # A region that others overlap has no parts of its own.
        whole = owner is not None and (owner.offset, owner.size) == (part.offset, part.size)
        yield Region(
            part.offset,
            part.size,
            part.kind,
            blob.name(part.offset, -1 if owner is None else owner.op, whole=True),
            tuple(RegionUse(r.op, r.field) for r in part.regions if r.op >= 0),
            tuple(blob.spans(owner)) if owner is not None and whole else (),
        )


def _content(blob: bytes, regions: tuple[Region, ...]) -> Iterator[Stretch]:
    """Where the budget does not do for all, the largest stretches of plain bytes are cut."""
    turns = iter(range(budget.PAGE_RUNS))
    stretches = [piece for region in regions for piece in _pieces(blob, region, turns)]
    left, cut = budget.PAGE_BYTES, set[int]()
    for piece in sorted(stretches, key=lambda piece: (len(piece.raw), piece.offset)):
        left -= len(piece.raw)
        if left < 0:
            cut.add(piece.offset)
    for piece in stretches:
        if piece.offset in cut and piece.size > START:
            yield Stretch(piece.offset, START, piece.raw[:START])
            yield Stretch(piece.offset + START, piece.size - START, b"")
        else:
            yield piece


def _pieces(blob: bytes, region: Region, turns: Iterator[int]) -> Iterator[Stretch]:
    """A region as runs of one byte, as far as it has turns, and what is between them."""
    start, end = region.offset, region.offset + region.size
    for _ in turns:
        run = _RUN.search(blob, start, end)
        if run is None:
            break
        if run.start() > start:
            yield Stretch(start, run.start() - start, blob[start : run.start()])
        # Not by the pattern itself: the memory that it takes grows with the run.
        other = re.compile(b"[^" + re.escape(run[1]) + b"]").search(blob, run.end(), end)
        start = other.start() if other else end
        yield Stretch(run.start(), start - run.start(), run[1])
    if start < end:
        yield Stretch(start, end - start, blob[start:end])


def _strings(blob: bytes, regions: tuple[Region, ...]) -> Iterator[Text]:
    for number, region in enumerate(regions):
        if region.kind in _WITH_TEXT:
            for found in _TEXT.finditer(blob, region.offset, region.offset + region.size):
                yield Text(found.start(), number, found[1][:MAX_STRING].decode("ascii"))
