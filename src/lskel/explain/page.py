"""The report as one HTML page, which needs nothing else: no network, no other file.

The page itself is built from web/ (`npm run build`); what it shows is put into it here.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Iterator
from importlib.resources import files

from lskel.describe.plain import plain
from lskel.errors import printable
from lskel.explain.report import Report

_PLACEHOLDER = re.compile(r"\{\{(title|summary|report)\}\}")


def to_json(report: Report) -> str:
    """The report as JSON, in ASCII."""
    return json.dumps(plain(report), separators=(",", ":"))


def page(report: Report) -> bytes:
    """The page, in UTF-8. The same report gives the same bytes.

    The report is in it as base64 of its gzipped JSON, in which nothing can end an element.
    """
    packed = gzip.compress(to_json(report).encode(), 9, mtime=0)
    parts = {
        "title": _text(f"{report.meta.file or report.meta.name} - lskel explain"),
        "summary": "\n".join(f"<p>{_text(line)}</p>" for line in _summary(report)),
        "report": base64.b64encode(packed).decode(),
    }
    frame = files("lskel.explain").joinpath("assets").joinpath("page.html").read_text("utf-8")
    # In one pass: what is put in may look like a placeholder.
    return _PLACEHOLDER.sub(lambda match: parts[match[1]], frame).encode()


def _text(text: str) -> str:
    """Text that is only text, whatever a file's name or the names in it are."""
    return html.escape(printable(text)).encode("utf-8", "backslashreplace").decode()


def _summary(report: Report) -> Iterator[str]:
    """What a browser without scripts shows."""
    meta = report.meta
    yield (
        f"{meta.name}: {meta.source}, {meta.order}-endian, {len(report.maps)} maps, "
        f"{len(report.programs)} programs"
    )
    if report.blob is not None and report.loader is not None:
        yield (
            f"{meta.form} loader: {report.loader.insns} instructions, {report.blob.size} bytes of "
            f"data, {len(report.ops)} operations"
        )
    yield from _problems(report)


def _problems(report: Report) -> Iterator[str]:
    if report.problem:
        yield f"Cannot be loaded: {report.problem}"
    for how, replay in (("simulator", report.simulation), ("kernel", report.measurement)):
        if replay is not None and replay.failure is not None:
            yield f"Fails in the {how}: {replay.failure.message}"
